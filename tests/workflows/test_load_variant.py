"""Published variants are opened by their names, and answer as the model does."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from ayni.hub.config import UnusableConfigError
from ayni.hub.loading import load_model
from ayni.hub.prediction import InferenceFailedError, UnknownVariantError, predict
from ayni.hub.snapshots import DamagedFileError, Snapshot
from ayni.jobs.loading import load_job
from ayni.workflows.house import House
from ayni.workflows.load_variant import load_variant
from ayni.workflows.progress import SilentProgress
from ayni.workflows.run_job import run_job

from .conftest import open_house, write_job

COMPRESS = (
    "compress={max_accuracy_drop: 1.0, steps: [{prune: {weights: 0.5}}, "
    "{quantize: {bits: 4, group_size: 2}}, {quantize: {mode: dynamic}}, {half: {}}]}"
)
POINTS = torch.tensor([[0.1, 0.9], [0.9, 0.1], [0.5, 0.4]])


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A house with a published model and four variants. Look, do not touch."""
    folder = tmp_path_factory.mktemp("published")
    house = open_house(folder / "home")
    job = load_job(write_job(folder / "job"), [COMPRESS, "train.rounds=2"])
    run = house.runs.create(job)
    with run.lock():
        run_job(run, house, progress=SilentProgress(), approve=None, yes=True)
    return house


@pytest.fixture
def snapshot(published: House) -> Snapshot:
    return published.hub.find("me/points")


def test_every_form_is_a_file_of_the_repository_and_answers_nearly_as_the_model(snapshot: Snapshot) -> None:
    variants: Mapping[str, str] = json.loads((snapshot.folder / "config.json").read_text())["ayni"][
        "variants"
    ]
    expected = load_model(snapshot)(POINTS)

    assert variants == {
        "full": "model.safetensors",
        "full-onnx": "full-onnx.onnx",
        "sparse": "sparse.packed.safetensors",
        "int4": "int4.packed.safetensors",
        "int8": "int8.onnx",
        "bfloat16": "bfloat16.packed.safetensors",
    }
    for name in variants:
        with torch.no_grad():
            answer = load_variant(snapshot, name)(POINTS)
        limit = 0.05 if name in ("full", "full-onnx", "bfloat16") else 3.0
        assert float((answer - expected).abs().max()) < limit


def test_files_are_answered_by_every_variant(snapshot: Snapshot, tmp_path: Path) -> None:
    file = tmp_path / "point.npy"
    np.save(file, np.array([0.05, 0.95], dtype=np.float32))

    for variant in ("full", "int8", "int4", "bfloat16"):
        (answer,) = predict(snapshot, [file], variant, load_variant=load_variant)
        assert answer["variant"] == variant
        assert len(answer["prediction"]) == 2

    with pytest.raises(InferenceFailedError, match="nothing here can open"):
        predict(snapshot, [file], "int4")


def test_an_unknown_variant_is_refused_with_those_that_there_are(snapshot: Snapshot) -> None:
    with pytest.raises(UnknownVariantError, match="Did you mean int8"):
        load_variant(snapshot, "int88")


def test_a_variant_whose_file_is_missing_or_altered_is_refused(
    snapshot: Snapshot, published: House, tmp_path: Path
) -> None:
    without = Snapshot(
        repository=snapshot.repository,
        revision=snapshot.revision,
        folder=snapshot.folder,
        files={name: entry for name, entry in snapshot.files.items() if name != "int4.packed.safetensors"},
    )
    with pytest.raises((UnusableConfigError, DamagedFileError)):
        load_variant(without, "int4")
    file = snapshot.folder / "int4.packed.safetensors"
    good = file.read_bytes()
    file.chmod(0o644)
    try:
        file.write_bytes(good[:-1] + b"?")
        with pytest.raises(DamagedFileError):
            load_variant(snapshot, "int4")
    finally:
        file.write_bytes(good)
