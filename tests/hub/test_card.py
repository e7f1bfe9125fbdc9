import dataclasses
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from ayni.hub.card import (
    CardData,
    CardFootprint,
    CardLineage,
    CardVariant,
    ModelCard,
    card_metadata,
    code,
    model_card,
    text,
    usage_code,
)
from ayni.hub.config import ModelConfig
from ayni.hub.names import RepositoryNameError

HOSTILE = (
    "x\n---\nlicense: mit\n# Owned [link](http://evil) <script>alert(1)</script> | `code` ```\n"
    '"}: [&a *b !!python/object'
)


def card(**changed: Any) -> ModelCard:
    config = ModelConfig(
        task="task:Task",
        task_sha256="ab" * 32,
        architecture="Small",
        input_shape=(1, 2, 2),
        pipeline_tag="image-classification",
        variants={"full": "model.safetensors", "int8": "int8.onnx"},
        chosen="int8",
    )
    values: dict[str, Any] = {
        "repository": "me/digits",
        "licence": "cc-by-sa-4.0",
        "summary": "Reads digits.",
        "config": config,
        "variants": (
            CardVariant(
                name="full", file="model.safetensors", metrics={"accuracy": 0.98}, interval=(0.97, 0.985)
            ),
            CardVariant(
                name="int8",
                file="int8.onnx",
                metrics={"accuracy": 0.975, "loss": float("nan")},
                num_parameters=1234,
                stored_bytes=5678,
                latency_p50_seconds=0.00012,
                energy_joules_per_1000=0.5,
            ),
        ),
        "data": CardData(
            name="MNIST",
            licence="CC BY-SA 3.0",
            attribution="LeCun and others",
            hub_id="ylecun/mnist",
            num_rows=5000,
        ),
        "lineage": CardLineage(run="run-1", seed=7, versions={"torch": "2.13"}),
        "footprint": CardFootprint(
            energy_joules=3600.0,
            energy_low_joules=1800.0,
            energy_high_joules=7200.0,
            tier="W3",
            meter="model of CPU time",
            grams_co2e=0.381234,
            low_grams_co2e=0.2,
            high_grams_co2e=0.6,
            zone="DE",
            carbon_basis="annual average",
            pue=1.2,
        ),
        "baseline": {"logistic regression": {"accuracy": 0.91}},
        "reason": "best score within 0.01",
    }
    return ModelCard(**(values | changed))


def front_matter(content: str) -> Any:
    assert content.startswith("---\n")
    return yaml.safe_load(content.split("\n---\n", 1)[0].removeprefix("---\n"))


def test_the_metadata_are_those_of_the_hugging_face_hub() -> None:
    metadata = front_matter(model_card(card()))

    assert metadata["license"] == "cc-by-sa-4.0"
    assert metadata["datasets"] == ["ylecun/mnist"]
    assert metadata["pipeline_tag"] == "image-classification"
    assert metadata["co2_eq_emissions"] == {
        "emissions": 0.38123,
        "source": "Ayni, model of CPU time (tier W3)",
        "training_type": "pre-training",
        "geographical_location": "DE",
    }
    full, int8 = metadata["model-index"][0]["results"]
    assert full["dataset"] == {"name": "MNIST", "type": "ylecun/mnist", "split": "test"}
    assert full["metrics"] == [{"type": "accuracy", "value": 0.98, "name": "accuracy, full"}]
    # NaN is no number that a leaderboard could read.
    assert int8["metrics"] == [{"type": "accuracy", "value": 0.975, "name": "accuracy, int8"}]


def test_the_body_says_what_a_reader_needs() -> None:
    content = model_card(card(limits=("Handwriting of one century only.",)))

    for expected in (
        "| full `model.safetensors` | 0.98 (0.97 to 0.985) | ? | ? | ? | ? | ? |",
        "| **int8** `int8.onnx` | 0.975 | nan | 1234 | 5678 | 0.12 | 0.5 |",
        "| logistic regression (baseline) | 0.91 | ? |",
        "Chosen: int8. best score within 0.01",
        "3600 J (1800 to 7200 J), 0.001 kWh; tier W3",
        "0.3812 g CO2e (0.2 to 0.6 g); zone DE; annual average",
        "Licence: CC BY-SA 3.0",
        "Attribution: LeCun and others",
        "Licence of this model: cc-by-sa-4.0",
        "Run: `run-1`",
        "Seed: 7",
        "torch 2.13",
        "Handwriting of one century only.",
    ):
        assert expected in content


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    bare = dataclasses.replace(card().footprint, grams_co2e=None)
    content = model_card(card(data=CardData(name="mine"), footprint=bare, reason="none qualifies"))

    assert "co2_eq_emissions" not in front_matter(content)
    assert "datasets" not in front_matter(content)
    assert "Licence: not known" in content
    assert "Carbon: not known" in content
    assert "Not measured" in model_card(card(footprint=None))


def test_no_value_can_add_metadata_or_markup() -> None:
    honest = front_matter(model_card(card()))
    content = model_card(
        card(
            summary=HOSTILE,
            reason=HOSTILE,
            licence=HOSTILE,
            tags=(HOSTILE,),
            limits=(HOSTILE,),
            baseline={HOSTILE: {"accuracy": 1.0}},
            data=CardData(name=HOSTILE, licence=HOSTILE, source=HOSTILE, note=HOSTILE, hub_id=HOSTILE),
            lineage=CardLineage(run=HOSTILE, seed=1, versions={HOSTILE: HOSTILE}, base_model=HOSTILE),
            variants=(CardVariant(name=HOSTILE, file=HOSTILE, metrics={HOSTILE: 1.0}),),
            footprint=dataclasses.replace(card().footprint, zone=HOSTILE, meter=HOSTILE, hardware=HOSTILE),
        )
    )

    front = content.split("\n---\n", 1)[0]
    metadata = front_matter(content)
    body = content.removeprefix(front)
    assert set(metadata) == set(honest) | {"license_name", "base_model"}
    assert metadata["license"] == "other"
    assert metadata["tags"][2] == HOSTILE
    assert "<script>" not in re.sub(r"(?<!\\)`[^`\n]*`", "", body)
    assert not re.search(r"(?<!\\)\]\(http", re.sub(r"(?<!\\)`[^`\n]*`", "", body))
    assert [line for line in body.splitlines() if line.startswith("#")] == [
        line for line in model_card(card()).splitlines() if line.startswith("#")
    ]
    assert body.count("```") == model_card(card()).count("```")
    assert {line.count(" | ") for line in body.splitlines() if line.startswith("| ")} == {5}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("# a", "\\# a"),
        ("- a", "\\- a"),
        ("1. a", "1\\. a"),
        ("a_b*c", "a\\_b\\*c"),
        ("a\n\nb", "a b"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("2.5 MB", "2.5 MB"),
    ],
)
def test_text_means_only_its_characters(value: str, expected: str) -> None:
    assert text(value) == expected


def test_inline_code_cannot_be_left() -> None:
    assert code("a`b|c\nd") == "`a'b/c d`"


def test_a_bad_name_gets_no_card() -> None:
    with pytest.raises(RepositoryNameError):
        card(repository='me/x")\nimport os')


def test_a_licence_without_identifier_becomes_other_with_a_name() -> None:
    metadata = card_metadata(card(licence="Museum Terms"))

    assert (metadata["license"], metadata["license_name"]) == ("other", "museum-terms")


@pytest.mark.slow
def test_the_code_of_the_card_runs_without_ayni(published_model: Any) -> None:
    program = usage_code(card())
    assert f"```python\n{program}```" in model_card(card())
    snapshot = published_model.publish()
    forbidden = ("ayni", "onnxruntime", "onnx", "sklearn", "transformers", "dask")
    guarded = (
        "import sys\n"
        f"for name in {forbidden!r}: sys.modules[name] = None\n"
        f"{program}"
        "assert torch.equal(model.linear.bias, torch.tensor([0, 0, 0.25]))\n"
        f"assert not [name for name in {forbidden!r} if sys.modules[name]]\n"
    )

    done = subprocess.run(
        [sys.executable, "-B", "-c", guarded],
        cwd=snapshot.folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "torch.Size([1, 3])"
