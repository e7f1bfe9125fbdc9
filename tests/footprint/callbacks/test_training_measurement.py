import sys
from pathlib import Path

import pytest

from ayni.footprint import callbacks
from ayni.footprint.callbacks.training_measurement import TrainingMeasurement
from ayni.footprint.measuring.measurement_folder import read_result


def test_each_epoch_is_a_step_and_counts_as_one(home: Path) -> None:
    training = TrainingMeasurement("training", save=False)
    training.begin()
    for epoch in (1, 2):
        training.begin_epoch(epoch)
    training.end()
    training.end()

    assert training.measurement is not None
    assert [(receipt["step"], receipt["functional_unit"]) for receipt in training.measurement.receipts] == [
        ("run", None),
        ("epoch-1", {"name": "epoch", "count": 1.0}),
        ("epoch-2", {"name": "epoch", "count": 1.0}),
    ]


def test_a_training_that_never_ended_is_ended_by_the_next(home: Path) -> None:
    training = TrainingMeasurement("training")
    training.begin()
    first = training.measurement
    training.begin()
    training.end()

    assert first is not None and first.folder is not None
    assert read_result(first.folder)["status"] == "failed"
    assert training.measurement is not first


def test_events_without_a_training_do_nothing(home: Path) -> None:
    training = TrainingMeasurement("training")
    training.begin_epoch(1)
    training.end()

    assert training.measurement is None


def test_an_argument_that_cannot_be_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        TrainingMeasurement("training", pue=0.5)


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # As Python marks a module that is not there.
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "ayni.footprint.callbacks.transformers_callback", raising=False)

    with pytest.raises(callbacks.MissingFrameworkError, match="pip install transformers"):
        _ = callbacks.TransformersCallback


def test_the_callbacks_are_all_that_the_package_offers() -> None:
    assert dir(callbacks) == ["KerasCallback", "LightningCallback", "TransformersCallback"]
    with pytest.raises(AttributeError):
        _ = callbacks.TorchCallback  # type: ignore[attr-defined]


def test_importing_the_callbacks_imports_no_library() -> None:
    import subprocess

    heavy = "{'keras', 'tensorflow', 'torch', 'transformers', 'lightning', 'numpy'}"
    code = f"import sys, ayni.footprint.callbacks; print(sorted(set(sys.modules) & {heavy}))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout == "[]\n"
