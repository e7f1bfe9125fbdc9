"""Which steps go with a model of torch, and which with one of Keras. Light: no torch, no Keras.

    torch    every step; quantize with the runtimes onnxruntime, openvino, torch, packed
    Keras    quantize with the runtimes litert and keras, half with float16

Not covered: whether the model itself allows a step (`compress.trial`, `compress.keras.keras_trial`).
"""

from collections.abc import Sequence
from dataclasses import MISSING, fields, replace

from ayni.compress.config import step_name
from ayni.compress.steps import HalfStep, QuantizeStep, Step
from ayni.errors import UserError

KERAS_RUNTIMES = ("litert", "keras")
_WITH_TORCH = (
    "A model of torch is quantized with the runtimes onnxruntime, openvino, torch or packed; leave `runtime` "
    "out for the usual one"
)
_WITH_KERAS = (
    "A model of Keras can have these steps: `quantize: {}` (LiteRT, 8 bits; also with `mode: static`), "
    "`half: {dtype: float16}` (LiteRT), and `quantize: {bits: 8, runtime: keras}` or `{bits: 4, runtime: "
    "keras}`, which make the file smaller and the model slower. For the first alone write `compress: {steps: "
    "[{quantize: {}}]}`, to try them all `compress: {search: {}}`"
)
_SETTINGS_OF_KERAS = ("bits", "runtime", "mode")


class CannotCompressError(UserError):
    """The job asks for a step that models of its framework cannot have."""

    def __init__(self, reason: str, remedy: str) -> None:
        self.reason = reason
        super().__init__(f"This job cannot compress its model as it asks: {reason}. {remedy}.")


def check_torch_steps(steps: Sequence[Step]) -> None:
    """Refuse what only a model of Keras can have.

    Raises:
        CannotCompressError: a runtime of Keras models.
    """
    for step in steps:
        if isinstance(step, QuantizeStep) and step.runtime in KERAS_RUNTIMES:
            reason = f"`runtime: {step.runtime}` goes with models of Keras, and this is one of torch"
            raise CannotCompressError(reason, _WITH_TORCH)


def keras_steps(steps: Sequence[Step]) -> list[QuantizeStep | HalfStep]:
    """The steps of a job whose model is one of Keras, with what they leave open filled in.

    Raises:
        CannotCompressError: a step or setting that models of Keras cannot have; all that they can is named.
    """
    return [_keras_step(step) for step in steps]


def _keras_step(step: Step) -> QuantizeStep | HalfStep:
    if isinstance(step, HalfStep):
        if step.dtype != "float16":
            raise CannotCompressError(f"LiteRT has no {step.dtype}", _WITH_KERAS)
        return step
    if not isinstance(step, QuantizeStep):
        raise _for_torch(f"`{step_name(step)}`")
    runtime = step.runtime or ("litert" if step.bits == 8 else "keras")
    if runtime not in KERAS_RUNTIMES:
        raise _for_torch(f"`runtime: {runtime}`")
    if step.bits not in (8, 4):
        raise _for_torch(f"`quantize` with {step.bits} bits")
    if strangers := [name for name in _settings(step) if name not in _SETTINGS_OF_KERAS]:
        raise _for_torch(f"`quantize.{strangers[0]}`")
    if step.mode in ("smoothed", "mixed", "weights"):
        raise _for_torch(f"`quantize` with `mode: {step.mode}`")
    if runtime == "litert" and step.mode == "auto":
        return replace(step, runtime=runtime, mode="dynamic")
    return replace(step, runtime=runtime)


def _for_torch(what: str) -> CannotCompressError:
    return CannotCompressError(f"{what} goes with models of torch, and this is one of Keras", _WITH_KERAS)


def _settings(step: QuantizeStep) -> list[str]:
    """Names of the settings that are not the usual ones."""
    return [
        field.name
        for field in fields(step)
        if field.default is not MISSING and getattr(step, field.name) != field.default
    ]
