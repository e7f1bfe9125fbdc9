"""What a job may ask of compression."""

import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from ayni.compress.config import CompressConfig, StepEntry
from ayni.compress.steps import DistillStep, PruneStep, QuantizeStep


def test_steps_of_a_job_become_values_with_defaults() -> None:
    config = TypeAdapter(CompressConfig).validate_python(
        {"steps": [{"prune": {"channels": 0.25}}, {"distill": {"epochs": 2}}, {"quantize": {}}]}
    )

    steps = [entry.step for entry in config.steps]

    assert steps == [PruneStep(channels=0.25), DistillStep(epochs=2), QuantizeStep(bits=8, mode="auto")]


def test_mappings_are_accepted_without_pydantic() -> None:
    config = CompressConfig(steps=({"quantize": {"mode": "dynamic"}},))  # type: ignore[arg-type]

    assert config.steps == (StepEntry(quantize=QuantizeStep(mode="dynamic")),)


def test_an_unknown_step_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="unknown compress step 'prun'; did you mean 'prune'"):
        StepEntry.from_mapping({"prun": {"channels": 0.5}})


def test_an_unknown_setting_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"prune\.chanels; did you mean 'channels'"):
        StepEntry.from_mapping({"prune": {"chanels": 0.5}})


@pytest.mark.parametrize(
    "section",
    [
        {"steps": [{"prun": {}}]},
        {"steps": [{"prune": {"chanels": 0.5}}]},
        {"steps": [{"prune": {}, "quantize": {}}]},
        {"steps": [{}]},
        {"steps": []},
        {"steps": [{"quantize": {}}, {"prune": {}}]},
        {"steps": [{"prune": {"channels": 1.0}}]},
        {"steps": [{"quantize": {"bits": 5}}]},
        {"steps": [{"distill": {"temperature": 0}}]},
        {"steps": [{"distill": {"epochs": 0}}]},
        {"steps": [{"distill": {"hard_label_weight": 1.5}}]},
        {"steps": [{"distill": {"learning_rate": 0}}]},
        {"max_accuracy_drop": -0.1},
        {"score": {}},
        {"scores": {"accuracy": 1.0}},
    ],
)
def test_a_section_that_makes_no_sense_is_refused(section: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(CompressConfig).validate_python(section)


def test_reading_a_job_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'onnx', 'onnxruntime'}"
    code = f"import sys, ayni.compress.config; print({heavy} & set(sys.modules))"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "set()"
