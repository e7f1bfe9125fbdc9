"""Which steps go with which framework."""

import pytest

from ayni.compress.frameworks import CannotCompressError, check_torch_steps, keras_steps
from ayni.compress.keras.keras_forms import all_forms, forms_of
from ayni.compress.steps import (
    DistillStep,
    HalfStep,
    PruneStep,
    QuantizeStep,
    RecoverStep,
    ShareStep,
    Step,
)


@pytest.mark.parametrize("runtime", ["litert", "keras"])
def test_runtimes_of_keras_are_refused_for_torch(runtime: str) -> None:
    step = QuantizeStep(runtime=runtime)  # type: ignore[arg-type]

    with pytest.raises(CannotCompressError, match=f"runtime: {runtime}.*onnxruntime, openvino, torch"):
        check_torch_steps([PruneStep(), step])


def test_every_other_step_passes_for_torch() -> None:
    check_torch_steps(
        [PruneStep(), DistillStep(), QuantizeStep(), QuantizeStep(runtime="packed"), HalfStep()]
    )


@pytest.mark.parametrize(
    ("step", "named"),
    [
        (PruneStep(), "`prune`"),
        (DistillStep(), "`distill`"),
        (RecoverStep(), "`recover`"),
        (ShareStep(), "`share`"),
        (QuantizeStep(runtime="onnxruntime"), "`runtime: onnxruntime`"),
        (QuantizeStep(bits=4, runtime="torch"), "`runtime: torch`"),
        (QuantizeStep(bits=3), "3 bits"),
        (QuantizeStep(bits=4, group_size=64), "`quantize.group_size`"),
        (QuantizeStep(average_bits=4.5), "`quantize.average_bits`"),
        (QuantizeStep(mode="mixed"), "`mode: mixed`"),
        (QuantizeStep(mode="smoothed"), "`mode: smoothed`"),
        (HalfStep(), "LiteRT has no bfloat16"),
    ],
)
def test_what_a_keras_model_cannot_have_is_named_beside_what_it_can(step: Step, named: str) -> None:
    with pytest.raises(CannotCompressError) as caught:
        keras_steps([QuantizeStep(), step])

    assert named in str(caught.value)
    assert "`half: {dtype: float16}`" in str(caught.value)


def test_what_a_step_leaves_open_is_litert_for_8_bits_and_keras_for_4() -> None:
    steps = keras_steps([QuantizeStep(), QuantizeStep(mode="static"), QuantizeStep(bits=4)])

    assert steps == [
        QuantizeStep(runtime="litert", mode="dynamic"),
        QuantizeStep(runtime="litert", mode="static"),
        QuantizeStep(bits=4, runtime="keras"),
    ]


def test_each_form_has_a_name_of_its_own() -> None:
    names = [
        form.name
        for form in forms_of([QuantizeStep(), QuantizeStep(runtime="litert"), HalfStep(dtype="float16")])
    ]

    assert names == ["int8", "int8-2", "float16"]
    assert [form.name for form in all_forms()] == [
        "int8",
        "int8-static",
        "float16",
        "int8-keras",
        "int4-keras",
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"runtime": "litert", "bits": 4},
        {"runtime": "litert", "mode": "weights"},
        {"runtime": "litert", "mode": "mixed"},
        {"runtime": "litert", "epochs": 2},
        {"runtime": "keras", "bits": 3},
        {"runtime": "keras", "mode": "static"},
    ],
)
def test_settings_that_a_runtime_of_keras_does_not_have_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"runtime|mode"):
        QuantizeStep(**settings)  # type: ignore[arg-type]
