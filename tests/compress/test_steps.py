"""What a step may be asked for."""

from typing import Any

import pytest

from ayni.compress.steps import (
    DistillStep,
    FactorizeStep,
    PruneStep,
    QuantizeStep,
    RecoverStep,
    ShareStep,
    Step,
    looks_at_data,
)


@pytest.mark.parametrize(
    ("made", "settings", "named"),
    [
        (PruneStep, {"channels": 0.5, "heads": 0.5}, "channels and heads"),
        (PruneStep, {"weights": 1.0}, "prune.weights"),
        (PruneStep, {"pattern": "4:2"}, "n:m"),
        (PruneStep, {"pattern": "2-4"}, "n:m"),
        (PruneStep, {"threshold": 0.0}, "prune.threshold"),
        (FactorizeStep, {"energy": 0.9, "ratio": 0.5}, "not both"),
        (FactorizeStep, {"ratio": 1.5}, "factorize.ratio"),
        (RecoverStep, {"sparsity": 1.0}, "recover.sparsity"),
        (RecoverStep, {"epochs": 0}, "at least 1 epoch"),
        (DistillStep, {"features": [("a",)]}, "pairs"),
        (DistillStep, {"new_tokens": 4, "features": [("a", "b")]}, "not with new_tokens"),
        (ShareStep, {"values": 1}, "share.values"),
        (QuantizeStep, {"bits": 5}, "8, 4, 3 or 2"),
        (QuantizeStep, {"bits": 3, "runtime": "onnxruntime"}, "runtime: torch"),
        (QuantizeStep, {"bits": 4, "mode": "dynamic"}, "one of 8 bits"),
        (QuantizeStep, {"runtime": "torch", "mode": "static"}, "onnxruntime, openvino and litert"),
        (QuantizeStep, {"runtime": "openvino", "mode": "mixed"}, "onnxruntime"),
        (QuantizeStep, {"runtime": "packed", "epochs": 2}, "runtime: torch"),
        (QuantizeStep, {"average_bits": 1.0}, "average_bits"),
        (QuantizeStep, {"embedding_bits": 4}, "embedding_bits"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    made: type[Step], settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        made(**settings)


def test_pruning_takes_half_of_the_channels_when_nothing_is_named() -> None:
    assert PruneStep().channels == 0.5
    assert not PruneStep().makes_masks
    assert PruneStep(pattern="2:4").makes_masks


def test_eight_bits_run_in_onnxruntime_and_fewer_in_torch() -> None:
    assert QuantizeStep().torch_runtime == "onnxruntime"
    assert QuantizeStep(bits=4).torch_runtime == "torch"
    assert QuantizeStep(average_bits=4.5).torch_runtime == "torch"
    assert QuantizeStep(epochs=1).torch_runtime == "torch"


def test_a_plan_knows_which_steps_look_at_data() -> None:
    assert looks_at_data(PruneStep(weights=0.5))
    assert looks_at_data(QuantizeStep(bits=4))
    assert not looks_at_data(PruneStep(weights=0.5, method="magnitude"))
    assert not looks_at_data(QuantizeStep(bits=4, method="nearest"))
    assert not looks_at_data(PruneStep(threshold=0.1))
