"""Synthetic examples from a file or a task to the hub and to a partner, through the real hub of a home."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ayni.data.arrays_file import read_records, write_records
from ayni.data.records import Records
from ayni.hub.loading import load_model, load_task
from ayni.settings import read_settings
from ayni.wiring.data_generate import GenerateArgumentsError, GenerateRequest, find_generator, generate
from ayni.wiring.installation import Installation
from ayni.workflows.generate_data import AuditForbidsPublishingError
from ayni.workflows.progress import RecordedProgress

pytest.importorskip("sklearn")
pytest.importorskip("PIL")
TASK = """
import torch
class Spots:
    def build_model(self): return torch.nn.Linear(4, 2)
    def dataset(self, split):
        generator = torch.Generator().manual_seed({"train": 0, "validation": 1, "test": 2}[split])
        return [(torch.randn(1, 2, 2, generator=generator) + 3 * (i % 2), i % 2) for i in range(300)]
    def loss(self, model, batch): raise NotImplementedError
    def evaluate(self, model, batches): raise NotImplementedError
    def example_input(self): return torch.zeros(1, 4)
    def data_card(self): return {"name": "two spots", "licence": "mit"}
"""


def records(seed: int, *, num: int = 300) -> Records:
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % 2
    inputs = rng.normal(size=(num, 4, 5)) + 3 * labels[:, None, None]
    return Records(inputs=inputs.astype(np.float32), labels=labels)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_records(records(0), tmp_path / "mine.npz")
    write_records(records(1), tmp_path / "other.npz")
    return tmp_path / "mine.npz"


def request(source: Path, **others: Any) -> GenerateRequest:
    settings = {"kind": "gaussian", "per_class": 20, "output": source.parent / "made", **others}
    return GenerateRequest(source=str(source), **settings)


def test_examples_generator_sheet_and_card_are_written(source: Path) -> None:
    progress = RecordedProgress()

    found = generate(request(source, of="spots | <b>"), home=source.parent / "home", progress=progress)

    folder = source.parent / "made"
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "generator.json", "model.safetensors", "samples.npz", "samples.png"}
    assert len(read_records(folder / "samples.npz")) == found["num_samples"] == 40
    assert (folder / "samples.png").read_bytes().startswith(b"\x89PNG")
    card = (folder / "README.md").read_text()
    assert "These examples are synthetic" in card
    assert "300 records, `spots / <b>`" in card
    assert "No leak audit was run" in card


def test_an_audit_against_unseen_records_is_on_the_card(source: Path) -> None:
    found = generate(request(source, unseen=source.parent / "other.npz"), home=source.parent / "home")

    audit = found["generator"]["audit"]
    assert audit["verdict"]["kind"] == "pass"
    assert "The audit **passed**" in (source.parent / "made" / "README.md").read_text()
    assert "pairs" not in audit


@pytest.mark.slow
def test_a_partner_takes_a_revision_of_a_published_network_and_samples_the_same(source: Path) -> None:
    home = source.parent / "home"
    asked = request(source, kind="flow", steps=60, publish="ada/spots")

    found = generate(asked, home=home)

    published = found["published"]
    generator = find_generator(f"ada/spots@{published['revision'][:10]}", home=home)
    again = generator.sample(num_per_class=20, seed=0)
    np.testing.assert_array_equal(again.inputs, read_records(Path(found["samples"])).inputs)
    # It is a model of the hub too: noise and a class in, an example out.
    snapshot = Installation(read_settings(home=home)).hub.find("ada/spots")
    snapshot.verify()
    assert load_model(snapshot)(load_task(snapshot).example_input()).shape == (1, 20)


def test_a_published_generator_is_a_source_and_needs_no_records(source: Path) -> None:
    home = source.parent / "home"
    generate(request(source, publish="ada/spots"), home=home)

    more = GenerateRequest(source="ada/spots", per_class=3, output=source.parent / "partner")
    found = generate(more, home=home)

    assert found["num_samples"] == 6
    with pytest.raises(GenerateArgumentsError, match="Leave out --kind"):
        generate(GenerateRequest(source="ada/spots", kind="vae"), home=home)


def test_samples_alone_can_be_published(source: Path) -> None:
    found = generate(request(source, publish="ada/spots", samples_only=True), home=source.parent / "home")

    names = {path.name for path in Path(found["published"]["folder"]).iterdir()}
    assert names == {".gitattributes", "README.md", "samples.npz", "samples.png"}


def test_what_fails_the_audit_is_not_published_unless_somebody_insists(source: Path) -> None:
    """Six identical rows in a class leave a generator nothing but copies to make."""
    rng = np.random.default_rng(0)
    few = rng.normal(size=(300, 2, 3)).astype(np.float32)
    copied = Records(inputs=few, labels=np.arange(300) // 2)
    write_records(copied, source)
    write_records(
        Records(inputs=rng.normal(size=(300, 2, 3)).astype(np.float32), labels=copied.labels),
        source.parent / "other.npz",
    )
    asked = {"unseen": source.parent / "other.npz", "publish": "ada/copies", "shrinkage": 0.0}

    with pytest.raises(AuditForbidsPublishingError, match="Nothing was published"):
        generate(request(source, **asked), home=source.parent / "home")
    found = generate(request(source, **asked, publish_anyway=True), home=source.parent / "home")

    assert "The audit **FAILED**" in (Path(found["published"]["folder"]) / "README.md").read_text()


def test_a_task_is_a_source_with_its_own_card_and_its_test_split_apart(tmp_path: Path) -> None:
    (tmp_path / "spots.py").write_text(TASK)

    found = generate(
        GenerateRequest(source=str(tmp_path / "spots.py:Spots"), kind="gaussian", output=tmp_path / "made"),
        home=tmp_path / "home",
    )

    assert found["generator"]["trained_on"]["source"] == "two spots"
    assert found["generator"]["trained_on"]["licence"] == "mit"
    assert found["generator"]["audit"]["verdict"]["kind"] in ("pass", "warn")


def test_a_file_of_another_kind_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(GenerateArgumentsError, match=r"rows\.csv is no source"):
        generate(GenerateRequest(source="rows.csv"), home=tmp_path)
