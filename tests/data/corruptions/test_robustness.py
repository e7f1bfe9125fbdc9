"""Models side by side: what is kept, and which references are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ayni.data.corruptions.robustness import (
    ReferenceError,
    Robustness,
    images_sha256,
    measure_robustness,
    read_robustness,
)
from ayni.data.records import Records


def make_records(seed: int = 0) -> Records:
    rng = np.random.default_rng(seed)
    inputs = rng.random((40, 1, 8, 8)).astype(np.float32)
    return Records(inputs=inputs, labels=(inputs.mean((1, 2, 3)) > 0.5).astype(np.int64))


def is_bright(inputs: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = (inputs.reshape(len(inputs), -1).mean(1) > 0.5).astype(np.int64)
    return found


def always_one(inputs: NDArray[Any]) -> NDArray[Any]:
    return np.ones(len(inputs), dtype=np.int64)


def test_a_model_is_measured_against_a_named_one_and_survives_json() -> None:
    found = measure_robustness(
        {"bright": is_bright, "one": always_one}, make_records(), seed=3, reference="one"
    )

    assert [model.errors.model for model in found.models] == ["bright", "one"]
    assert found.reference == found.first.summary.reference == "one"
    assert found.models[1].summary.mce_percent == pytest.approx(100)
    # The reference answers the same to everything: corruption adds nothing, and no kind has a ratio.
    assert len(found.first.summary.left_out) == 15 and found.first.summary.relative_mce_percent is None
    assert Robustness.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_without_a_reference_there_is_no_ratio_and_errors_are_there_with_their_intervals() -> None:
    found = measure_robustness({"bright": is_bright}, make_records(), seed=3, note="none was named")

    summary = found.first.summary
    assert (found.reference, summary.mce_percent, summary.relative_mce_percent) == (None, None, None)
    assert set(summary.intervals) == {"clean_error", "mean_error"} and summary.left_out == ()
    assert set(summary.ce_percent.values()) == {None} and found.note == "none was named"


def test_an_earlier_result_is_a_reference_for_the_same_images_and_seed(tmp_path: Path) -> None:
    earlier = measure_robustness({"one": always_one}, make_records(), seed=3)
    (tmp_path / "robustness.json").write_text(json.dumps(earlier.to_json()))

    read = read_robustness(tmp_path / "robustness.json")
    found = measure_robustness({"one": is_bright}, make_records(), seed=3, reference=read)
    both = measure_robustness(
        {"bright": is_bright, "one": always_one}, make_records(), seed=3, reference="one"
    )

    assert found.reference == "one (earlier)"
    assert found.first.summary.mce_percent == both.first.summary.mce_percent
    # Single answers of then are not known.
    assert "mce_percent" not in found.first.summary.intervals
    with pytest.raises(ReferenceError, match="40 other images"):
        measure_robustness({"b": is_bright}, make_records(seed=1), seed=3, reference=read)
    with pytest.raises(ReferenceError, match="Give --seed 3"):
        measure_robustness({"b": is_bright}, make_records(), seed=4, reference=read)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), ("{", "no result"), ('{"models": 3}', "no result"), ("[]", "no result")],
)
def test_files_that_are_no_results_are_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "r.json").write_text(content)

    with pytest.raises(ReferenceError, match=message):
        read_robustness(tmp_path / "r.json")


def test_a_result_without_models_is_refused(tmp_path: Path) -> None:
    found = measure_robustness({"one": always_one}, make_records(), seed=3).to_json()
    (tmp_path / "r.json").write_text(json.dumps({**found, "models": []}))

    with pytest.raises(ReferenceError, match="holds no model"):
        read_robustness(tmp_path / "r.json")


def test_the_hash_tells_images_shapes_and_labels_apart() -> None:
    records = make_records()
    flat = Records(inputs=records.inputs.reshape(40, 64), labels=records.labels)
    other = Records(inputs=records.inputs, labels=1 - records.labels)

    assert len({images_sha256(each) for each in (records, flat, other, make_records(1))}) == 4
