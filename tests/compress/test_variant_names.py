"""Names of variants."""

from ayni.compress.config import CompressConfig, StepEntry
from ayni.compress.proposals import Traits, ladders_for
from ayni.compress.steps import (
    DistillStep,
    FactorizeStep,
    HalfStep,
    PruneStep,
    QuantizeStep,
    RecoverStep,
    ShareStep,
    Step,
)
from ayni.compress.variant_names import pipeline_name, variant_names


def names(*steps: Step) -> list[str]:
    return variant_names(CompressConfig(steps=tuple(StepEntry.of(step) for step in steps)))


def test_a_variant_is_called_by_what_was_done_last() -> None:
    assert names(PruneStep(), RecoverStep(), QuantizeStep()) == ["pruned", "recovered", "int8"]
    assert names(PruneStep(heads=0.5), PruneStep(weights=0.5)) == ["fewer-heads", "sparse"]
    assert names(ShareStep(), HalfStep()) == ["shared", "bfloat16"]


def test_a_repeated_name_is_numbered() -> None:
    assert names(DistillStep(), DistillStep(epochs=1)) == ["distilled", "distilled-2"]


def test_forms_of_the_same_bits_have_names_of_their_own() -> None:
    forms = (
        QuantizeStep(bits=4),
        QuantizeStep(bits=4, runtime="packed"),
        QuantizeStep(bits=4, runtime="onnxruntime"),
        QuantizeStep(runtime="openvino"),
        QuantizeStep(mode="weights"),
        QuantizeStep(average_bits=4.5),
    )

    assert names(*forms) == [
        "int4",
        "int4-packed",
        "int4-onnx",
        "int8-openvino",
        "int8-weights",
        "mixed-bits",
    ]


def test_a_pipeline_is_called_by_all_of_its_steps_and_their_strength() -> None:
    steps = (PruneStep(channels=0.25), FactorizeStep(ratio=0.5), QuantizeStep())

    assert pipeline_name(steps) == "pruned25-low-rank50-int8"
    assert pipeline_name((PruneStep(pattern="2:4"),)) == "sparse2of4"


def test_8_bits_with_ranges_for_each_block_are_not_called_like_those_without() -> None:
    assert pipeline_name([QuantizeStep()]) == "int8"
    assert pipeline_name([QuantizeStep(mode="mixed")]) == "int8-mixed"
    assert pipeline_name([QuantizeStep(mode="smoothed")]) == "int8-smoothed"


def test_no_two_pipelines_of_a_search_have_one_name() -> None:
    traits = Traits(
        num_layers=9,
        has_convolutions=True,
        has_attention=True,
        gives_scores=True,
        has_examples=True,
        can_train=True,
    )

    found = [rung.name for ladder in ladders_for(traits) for rung in ladder.rungs]

    assert len(set(found)) == len(found)
