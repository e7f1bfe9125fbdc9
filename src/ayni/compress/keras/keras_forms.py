"""The forms that a Keras model can be stored in, by the steps of a job that ask for them. Pure.

    quantize, 8 bits             int8          LiteRT, dynamic-int8
    quantize, mode static        int8-static   LiteRT, int8
    half, float16                float16       LiteRT, float16
    quantize, runtime keras      int8-keras, int4-keras    Keras' own quantization: small, and slow

Not covered: how they are made (litert_conversion.py, keras_quantize.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ayni.compress.frameworks import keras_steps
from ayni.compress.keras.keras_quantize import KerasQuantizationMode
from ayni.compress.keras.litert import LiteRtForm
from ayni.compress.steps import HalfStep, QuantizeStep, Step
from ayni.compress.variant_names import numbered


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasForm:
    """One form.

    name: of the variant. litert: the form of LiteRT, None for Keras' own quantization. mode: that of Keras'
    own, None for LiteRT. step: what asks for it, with nothing left open.
    """

    name: str
    litert: LiteRtForm | None = None
    mode: KerasQuantizationMode | None = None
    step: QuantizeStep | HalfStep

    def __post_init__(self) -> None:
        if (self.litert is None) == (self.mode is None):
            raise ValueError(f"{self.name} is either a form of LiteRT or a mode of Keras")


def forms_of(steps: Sequence[Step]) -> list[KerasForm]:
    """The form that each step asks for; a second one of the same kind is numbered.

    Raises:
        CannotCompressError: a step that models of Keras cannot have.
    """
    forms = [_form_of(step) for step in keras_steps(steps)]
    names = numbered(form.name for form in forms)
    return [replace(form, name=name) for form, name in zip(forms, names, strict=True)]


def all_forms() -> list[KerasForm]:
    """Every form, those that are faster on a CPU first."""
    return forms_of(
        [
            QuantizeStep(),
            QuantizeStep(mode="static"),
            HalfStep(dtype="float16"),
            QuantizeStep(runtime="keras"),
            QuantizeStep(bits=4),
        ]
    )


def _form_of(step: QuantizeStep | HalfStep) -> KerasForm:
    if isinstance(step, HalfStep):
        return KerasForm(name="float16", litert="float16", step=step)
    if step.runtime == "keras":
        mode: KerasQuantizationMode = "int8" if step.bits == 8 else "int4"
        return KerasForm(name=f"{mode}-keras", mode=mode, step=step)
    if step.mode == "static":
        return KerasForm(name="int8-static", litert="int8", step=step)
    return KerasForm(name="int8", litert="dynamic-int8", step=step)
