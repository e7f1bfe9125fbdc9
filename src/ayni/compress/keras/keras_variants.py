"""The forms of a trained Keras model side by side: as it is, its own int8 and int4, and LiteRT.

    keras            the weights as safetensors; run by Keras, compiled
    keras-int8, -int4       Keras' own quantization: smaller, not faster      keras_quantize.py
    litert-float32, ...     what deserves to be deployed on a CPU             litert_conversion.py

All sizes are without the optimizer's state. Each variant is a file, and opened as a callable from numpy
arrays to numpy arrays, which is what a Keras task's `evaluate` takes for its model. The baseline is compiled,
as `model.predict` does it: an eager model spends a millisecond on Python alone, and beside it any form looks
fast.

Not covered: measuring speed (measure.py), distillation and pruning of Keras models (tfmot_steps.py prunes
those of tf_keras), JAX and OpenVINO as backends.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from ayni.compress.calibration import NoModelInputError, spread
from ayni.compress.keras.keras_quantize import (
    KERAS_QUANTIZATION_MODES,
    CannotQuantizeKerasError,
    KerasQuantizationFailedError,
    KerasQuantizationMode,
    load_quantized,
    quantize_keras,
    save_keras_weights,
)
from ayni.compress.keras.litert import LITERT_FORMS, LiteRtForm, LiteRtRuntime
from ayni.compress.keras.litert_conversion import CannotConvertError, convert_keras
from ayni.errors import AyniError
from ayni.files import make_folder, sha256_of_file
from ayni.keras_weights import load_weights
from ayni.task import Task, TaskFailedError
from ayni.train.keras_batches import batches

NUM_CALIBRATION_EXAMPLES = 128
"""Ranges of activations settle with some hundred examples; each more costs one run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasVariant:
    """One form of the model and its file.

    ratio: bytes of this file over bytes of the trained weights, both without an optimizer.
    """

    name: str
    file: Path
    sha256: str
    runtime: Literal["keras", "litert"]
    stored_bytes: int
    ratio: float
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasVariants:
    """What was made, the trained model first; for each form that was not made the reason."""

    made: tuple[KerasVariant, ...]
    refused: Mapping[str, str]

    def variant(self, name: str) -> KerasVariant:
        """The variant of a name.

        Raises:
            KeyError: it was not made.
        """
        found = {variant.name: variant for variant in self.made}
        return found[name]


class KerasRuntime:
    """A Keras 3 model in evaluation mode: a callable on numpy arrays, compiled where the backend can."""

    training = False

    def __init__(self, model: Any) -> None:
        import keras

        self._model = model
        self._run = _compiled(model) if keras.backend.backend() == "tensorflow" else self._run_eagerly
        self._convert = keras.tree.map_structure

    def __call__(self, inputs: Any, *, training: bool = False) -> Any:
        """The model's output for a batch, as numpy arrays.

        Raises:
            ValueError: training mode is asked for.
        """
        if training:
            raise ValueError("a variant computes in evaluation mode only")
        return self._convert(_as_numpy, self._run(inputs))

    def _run_eagerly(self, inputs: Any) -> Any:
        import torch

        with torch.inference_mode():
            return self._model(inputs, training=False)

    def __getattr__(self, name: str) -> Any:
        # A task may ask its own model for more than a call.
        return getattr(self._model, name)

    def eval(self) -> Self:
        """Already in evaluation mode."""
        return self


def make_keras_variants(
    task: Task,
    weights: Path,
    folder: Path,
    *,
    forms: Sequence[LiteRtForm] = LITERT_FORMS,
    modes: Sequence[KerasQuantizationMode] = KERAS_QUANTIZATION_MODES,
    num_calibration_examples: int = NUM_CALIBRATION_EXAMPLES,
) -> KerasVariants:
    """Make the forms of a task's trained model that its layers allow.

    Args:
        task: builds the model; its train split gives calibration inputs.
        weights: safetensors file of the trained model, as training and publishing write it.
        folder: gets one file for each variant; existing ones are replaced.
        forms: of LiteRT. One that the converter refuses is reported, not raised.
        modes: of Keras' own quantization, likewise.
        num_calibration_examples: at most so many, evenly spaced.

    Cost: two TensorFlow processes' worth of memory at most, and some seconds for each form.

    Raises:
        DamagedWeightsError: the weights are not those of the task's model.
        TaskFailedError: the task raised.
        NoModelInputError: the task's evaluate never called its model with one input.
    """
    make_folder(folder)
    model = build_trained(task, weights)
    stored = save_keras_weights(model, folder / "keras.safetensors")
    made = [_variant("keras", folder / "keras.safetensors", stored, stored, "as trained, run by Keras")]
    refused: dict[str, str] = {}
    for mode in modes:
        try:
            made.append(_quantized(task, weights, folder, mode, stored))
        except (CannotQuantizeKerasError, KerasQuantizationFailedError) as error:
            refused[f"keras-{mode}"] = str(error)
    if forms:
        calibration = (
            keras_inputs(task, model, split="train", num_examples=num_calibration_examples)
            if "int8" in forms
            else []
        )
        targets = {form: folder / f"litert-{form}.tflite" for form in forms}
        try:
            conversion = convert_keras(model, task.example_input(), targets, calibration=calibration)
        except CannotConvertError as error:
            refused.update({f"litert-{form}": error.reason for form in forms})
        else:
            refused.update({f"litert-{form}": conversion.refused[form] for form in conversion.refused})
            for form, each in conversion.made.items():
                note = f"LiteRT, output differs by {each.largest_difference:.2g} of its scale"
                made.append(_variant(f"litert-{form}", each.file, each.stored_bytes, stored, note))
    return KerasVariants(made=tuple(made), refused=refused)


def _quantized(
    task: Task, weights: Path, folder: Path, mode: KerasQuantizationMode, original_bytes: int
) -> KerasVariant:
    model = build_trained(task, weights)
    done = quantize_keras(model, mode)
    file = folder / f"keras-{mode}.safetensors"
    stored = save_keras_weights(model, file, quantization=done)
    left = f", {len(done.skipped)} layers as they were" if done.skipped else ""
    note = f"{len(done.layers)} layers in {mode}{left}; for size, not for speed"
    return _variant(f"keras-{mode}", file, stored, original_bytes, note)


def _variant(name: str, file: Path, stored_bytes: int, original_bytes: int, note: str) -> KerasVariant:
    return KerasVariant(
        name=name,
        file=file,
        sha256=sha256_of_file(file),
        runtime="litert" if name.startswith("litert") else "keras",
        stored_bytes=stored_bytes,
        ratio=stored_bytes / original_bytes,
        note=note,
    )


class DamagedWeightsError(AyniError):
    """The weights are not those of the task's model."""

    def __init__(self, file: Path, reason: str) -> None:
        self.file = file
        super().__init__(
            f"{file.name} does not hold the weights of the task's model: {reason}. "
            "Use the task that it was trained with, or train again."
        )


def build_trained(task: Task, weights: Path) -> Any:
    """The task's model with trained weights.

    Raises:
        TaskFailedError: build_model or example_input raised.
        DamagedWeightsError: the file does not fit.
    """
    with _failure_of("build_model"):
        model = task.build_model()
    with _failure_of("example_input"):
        example = task.example_input()
    try:
        load_weights(model, weights, example=example)
    except (ValueError, OSError) as error:
        raise DamagedWeightsError(weights, str(error)) from error
    return model


def open_variant(task: Task, variant: KerasVariant, *, num_threads: int = 1) -> Any:
    """A variant ready for inference: a callable from numpy arrays to numpy arrays.

    `num_threads` is LiteRT's; TensorFlow takes its number once in a process, before its first operation.

    Raises:
        LiteRtFailedError, DamagedKerasFileError, DamagedWeightsError: the file is not what it was.
    """
    if variant.runtime == "litert":
        return LiteRtRuntime(variant.file, num_threads=num_threads, sha256=variant.sha256)
    if variant.name == "keras":
        return KerasRuntime(build_trained(task, variant.file))
    with _failure_of("build_model"):
        model = task.build_model()
    load_quantized(model, variant.file, example=task.example_input())
    return KerasRuntime(model)


def evaluate_variant(task: Task, runtime: Any, split: str) -> dict[str, float]:
    """The task's metrics of a variant over a split; batches are numpy arrays.

    Raises:
        TaskFailedError: the task's evaluate raised.
    """
    with _failure_of("evaluate"):
        metrics = task.evaluate(runtime, batches(task.dataset(split))).items()
        found = {str(name): float(value) for name, value in metrics}
    return found


def keras_inputs(task: Task, model: Any, *, split: str, num_examples: int, batch_size: int = 32) -> list[Any]:
    """What the task's evaluate gives to its model for evenly spaced examples of a split.

    A batch may be anything that the task understands, so the task takes it apart itself and the model's
    inputs are noted. The twin of calibration.model_inputs for Keras.

    Raises:
        NoModelInputError: evaluate never called the model with one input.
        TaskFailedError: the task raised.
    """
    seen: list[Any] = []

    def noting(*inputs: Any, **options: Any) -> Any:
        if len(inputs) == 1:
            seen.append(inputs[0])
        return model(*inputs, **{"training": False, **options})

    with _failure_of("evaluate"):
        dataset = task.dataset(split)
        examples = [dataset[index] for index in spread(len(dataset), num_examples)]
        task.evaluate(_Noted(model, noting), batches(examples, batch_size))
    if not seen:
        raise NoModelInputError(split)
    return seen


class _Noted:
    """The model with another call."""

    training = False

    def __init__(self, model: Any, call: Callable[..., Any]) -> None:
        self._model = model
        self._call = call

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self._call(*inputs, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def _compiled(model: Any) -> Callable[[Any], Any]:
    import tensorflow as tf

    # Without retracing for each batch size; numpy arrays would be taken for constants, so they are converted.
    run = tf.function(lambda inputs: model(inputs, training=False), autograph=False, reduce_retracing=True)
    return lambda inputs: run(tf.nest.map_structure(tf.convert_to_tensor, inputs))


def _as_numpy(tensor: Any) -> Any:
    return np.asarray(tensor.detach().cpu() if hasattr(tensor, "detach") else tensor)


@contextlib.contextmanager
def _failure_of(method: str) -> Iterator[None]:
    """Turn what the task's own code raises into an error that names the method."""
    try:
        yield
    except AyniError:
        raise
    except Exception as error:
        raise TaskFailedError(method=method, cause=error) from error
