import dataclasses
import re
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
)
from ayni.hub.config import ModelConfig
from ayni.hub.names import RepositoryNameError
from ayni.hub.usage_code import model_code, onnx_code

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
                name="full",
                file="model.safetensors",
                metrics={"accuracy": 0.98},
                interval=(0.97, 0.985),
                stored_bytes=20000,
            ),
            CardVariant(
                name="int8",
                file="int8.onnx",
                metrics={"accuracy": 0.975, "loss": float("nan")},
                runtime="onnxruntime",
                drop=0.004,
                num_parameters=1234,
                stored_bytes=5678,
                latency_p50_seconds=0.00012,
                energy_joules_per_1000=0.5,
                break_even="31,000 (14,000 to 86,000)",
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
        "| full `model.safetensors` | 0.98 (0.97 to 0.985) | ? | ? | ? | ? | 20000 | 100 % | ? | ? |  |",
        "| **int8** `int8.onnx` | 0.975 | nan | 0.004 | onnxruntime | 1234 | 5678 | 28.4 % | 0.12 | 0.5 "
        "| 31,000 (14,000 to 86,000) |",
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
            pays=HOSTILE,
            variants=(
                CardVariant(
                    name=HOSTILE,
                    file=f"{HOSTILE}.onnx",
                    metrics={HOSTILE: 1.0},
                    runtime=HOSTILE,
                    break_even=HOSTILE,
                ),
            ),
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
    # No code is written for variants whose names are not those that compression gives.
    assert body.count("```") == model_card(card(variants=card().variants[:1])).count("```")
    assert {line.count(" | ") for line in body.splitlines() if line.startswith("| ")} == {9}


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


def test_a_latency_that_is_not_to_be_quoted_says_so_and_whether_it_pays_stands_below_the_choice() -> None:
    doubtful = dataclasses.replace(card().variants[1], latency_problem="the machine was busy")

    content = model_card(card(variants=(card().variants[0], doubtful), pays="Making int8 is paid back."))

    assert "| 0.12 (not to be quoted) |" in content
    assert "best score within 0.01\n\nMaking int8 is paid back.\n" in content


def test_the_card_shows_how_to_load_the_chosen_variant_with_and_without_ayni() -> None:
    content = model_card(card())

    assert 'model = ayni.load("me/digits", variant="int8")' in content
    assert f"```python\n{onnx_code(card().config, 'int8.onnx')}```" in content
    assert f"```python\n{model_code(card().config, task_is_built=False)}```" in content


def test_of_several_graphs_the_chosen_one_is_shown() -> None:
    exported = CardVariant(name="full-onnx", file="full-onnx.onnx", metrics={"accuracy": 0.98})
    full, int8 = card().variants

    content = model_card(card(variants=(full, exported, int8)))

    assert "there are `full-onnx`, `int8`" in content
    assert "InferenceSession('int8.onnx')" in content


def test_without_variants_the_card_shows_how_to_load_the_model_alone() -> None:
    config = dataclasses.replace(card().config, variants={"full": "model.safetensors"}, chosen=None)

    content = model_card(card(config=config, variants=card().variants[:1]))

    assert "variant=" not in content
    assert "onnxruntime" not in content


def test_forms_of_the_variants_are_tags() -> None:
    full, int8 = card().variants
    graph = dataclasses.replace(int8, file="int8-openvino.xml")

    assert card_metadata(card())["tags"] == ["ayni", "safetensors", "onnx"]
    assert card_metadata(card(variants=(full, graph)))["tags"] == ["ayni", "safetensors", "openvino"]


def test_the_library_of_the_hugging_face_hub_reads_the_metadata() -> None:
    library = pytest.importorskip("huggingface_hub")

    data = library.ModelCard(model_card(card())).data

    assert (data.license, data.pipeline_tag) == ("cc-by-sa-4.0", "image-classification")
    assert [(result.metric_name, result.metric_value) for result in data.eval_results] == [
        ("accuracy, full", 0.98),
        ("accuracy, int8", 0.975),
    ]
