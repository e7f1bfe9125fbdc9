"""Keras' own weight quantization: a smaller file, and on a CPU a slower model.

    int8   q = round(w * 127 / max|w|)     for each output channel (each row of an embedding); Dense layers
                                           also round their inputs to int8, row by row
    int4   q = round(w / s) + z            for each group of 128 along the input, two codes in a byte

On a CPU the model then runs at a part of its speed, because weights are widened in every call (measured on
the MNIST network 784-128-10, compiled, Keras 3.15 on TensorFlow: 0.85 and 0.54 with int8 for batches of 1 and
32, 0.42 and 0.50 with int4). What makes a Keras model faster is LiteRT
(litert_conversion.py). Keras' mode float8 is left out: it adds scales and keeps the float32 weights, so that
the file grows by 4 %.

Sizes are those of one safetensors file of `keras_weights.named_weights`, before and after. A `.keras` file of
a compiled model carries the optimizer's moments, with Adam twice the weights, and makes any form look good
beside it; `optimizer_bytes` says how much of such a file that is.

Source: Keras' guide to quantization, https://keras.io/guides/quantization_overview, and its quantizers.py.

Not covered: convolutions, which Keras leaves as they are; its modes gptq and awq, which need the structure of
a language model; subclasses of the four kinds of layers, which Keras refuses.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import safetensors
import safetensors.numpy

from ayni.errors import AyniError, MissingExtraError, UserError
from ayni.files import write_atomically
from ayni.keras_weights import array_of, is_keras, load_weights, named_weights

KerasQuantizationMode = Literal["int8", "int4"]
KERAS_QUANTIZATION_MODES: tuple[KerasQuantizationMode, ...] = get_args(KerasQuantizationMode)
QUANTIZABLE_LAYERS = ("Dense", "EinsumDense", "Embedding", "ReversibleEmbedding")
KERAS_SUFFIX = ".keras.safetensors"
"""Of files with Keras' quantized weights."""
_RECIPE = "ayni.keras_quantization"


class CannotQuantizeKerasError(UserError):
    """The model cannot be quantized, and was not touched."""

    def __init__(self, reason: str, remedy: str) -> None:
        self.reason = reason
        super().__init__(f"This Keras model cannot be quantized: {reason}. {remedy}")


class KerasQuantizationFailedError(AyniError):
    """Keras stopped in the middle, and left some layers quantized and others not."""

    def __init__(self, *, mode: str, layer: str, reason: str) -> None:
        self.layer = layer
        super().__init__(
            f"Keras could not quantize the layer {layer} to {mode}: {reason}. The model is spoiled now: "
            f"build it again and pass skip=[{layer!r}]."
        )


class DamagedKerasFileError(AyniError):
    """A file cannot be used as what it should be."""

    def __init__(self, file: Path, reason: str) -> None:
        self.file = file
        super().__init__(f"{file.name} cannot be read: {reason}. Make it again from the trained model.")


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasQuantization:
    """What was done, and why other layers with weights were left as they are.

    layers: Keras' names; places: where they stand among all layers of the model, which is the same in every
    process, as the names are not.
    """

    mode: KerasQuantizationMode
    layers: tuple[str, ...]
    places: tuple[int, ...]
    skipped: Mapping[str, str]


def quantize_keras(model: Any, mode: KerasQuantizationMode, *, skip: Sequence[str] = ()) -> KerasQuantization:
    """Quantize the weights of a Keras 3 model in place.

    Args:
        model: has its weights already (was called or built).
        mode: see the module.
        skip: patterns (fnmatch) of names of layers that stay as they are.

    Raises:
        CannotQuantizeKerasError: no model of Keras 3, without weights, with nothing to quantize, quantized
            already, or not finite. The model is as it was.
        KerasQuantizationFailedError: Keras raised in the middle.
    """
    if mode not in KERAS_QUANTIZATION_MODES:
        raise ValueError(f"unknown mode {mode!r}; there are {', '.join(KERAS_QUANTIZATION_MODES)}")
    _check_model(model)
    reasons = {
        place: _reason_to_skip(layer, mode, skip)
        for place, layer in enumerate(model._flatten_layers())
        if not layer._layers and layer.weights
    }
    return _quantize(model, mode, reasons)


def _check_model(model: Any) -> None:
    if not is_keras(model):
        remedy = "Models of tf_keras go through tfmot_steps.py, models of torch through other steps."
        raise CannotQuantizeKerasError(f"{type(model).__name__} is no class of Keras 3", remedy)
    if not model.weights:
        raise CannotQuantizeKerasError("it has no weights yet", "Call it once with an input.")
    for layer in model._flatten_layers():
        if layer.quantization_mode is not None:
            reason = f"the layer {layer.name} is in {layer.quantization_mode} already"
            raise CannotQuantizeKerasError(reason, "Start from the trained model.")
    for weight in model.weights:
        if not np.isfinite(array_of(weight)).all():
            remedy = "Mend the training: a smaller learning rate, or data without such values."
            raise CannotQuantizeKerasError(f"{weight.path} is not finite everywhere", remedy)


def _reason_to_skip(layer: Any, mode: KerasQuantizationMode, skip: Sequence[str]) -> str | None:
    """Why a layer stays as it is; None when it is to be quantized."""
    kind = type(layer)
    if any(fnmatchcase(layer.name, pattern) for pattern in skip):
        return "asked for"
    if kind.__name__ not in QUANTIZABLE_LAYERS or kind.__module__.split(".")[0] != "keras":
        return f"Keras has no quantization for {kind.__name__}"
    if getattr(layer, "lora_enabled", False):
        return "it carries a LoRA adapter"
    if mode == "int8" and layer.compute_dtype == "float16":
        return "Keras has no int8 for layers that compute in float16"
    return None


def _quantize(
    model: Any, mode: KerasQuantizationMode, reasons: Mapping[int, str | None]
) -> KerasQuantization:
    layers = model._flatten_layers()
    places = tuple(place for place, reason in reasons.items() if reason is None)
    if not places:
        remedy = "LiteRT (dynamic-int8) quantizes convolutions too."
        raise CannotQuantizeKerasError(
            f"it has none of the layers {', '.join(QUANTIZABLE_LAYERS)} to change", remedy
        )
    for place in places:
        # Not model.quantize: that takes an AttributeError for a layer that has nothing to quantize.
        try:
            layers[place].quantize(mode)
        except Exception as error:
            raise KerasQuantizationFailedError(
                mode=mode, layer=layers[place].name, reason=f"{type(error).__name__}: {error}"
            ) from error
    _forget_compiled(model)
    return KerasQuantization(
        mode=mode,
        layers=tuple(layers[place].name for place in places),
        places=places,
        skipped={layers[place].name: reason for place, reason in reasons.items() if reason is not None},
    )


def _forget_compiled(model: Any) -> None:
    """Compiled functions hold the old weights, and so does torch's list of parameters."""
    for name in ("train_function", "test_function", "predict_function"):
        if hasattr(model, name):
            setattr(model, name, None)
    if hasattr(model, "_post_quantize"):
        model._post_quantize(None)


def save_keras_weights(model: Any, file: Path, *, quantization: KerasQuantization | None = None) -> int:
    """Write a model's weights, without the optimizer, as one safetensors file; returns its bytes.

    With `quantization` the file says how it was made, so that `load_quantized` can do the same again.

    Raises:
        DiskFullError: no space left; an old file is untouched.
    """
    arrays = {name: np.ascontiguousarray(array_of(weight)) for name, weight in named_weights(model).items()}
    metadata = None
    if quantization is not None:
        recipe = {"mode": quantization.mode, "places": quantization.places, "keras": keras_version()}
        metadata = {_RECIPE: json.dumps(recipe)}
    content = safetensors.numpy.save(arrays, metadata)
    write_atomically(file, content)
    return len(content)


def load_quantized(model: Any, file: Path, *, example: Any) -> KerasQuantization:
    """Fill a newly built model from a file of `save_keras_weights`, after quantizing the same layers.

    Args:
        model: of the same architecture as the saved one, not quantized.
        file: its recipe is checked before the model is changed.
        example: one input; many models have weights only when they have seen one.

    Raises:
        CannotQuantizeKerasError: the model is not one that `quantize_keras` takes.
        DamagedKerasFileError: no such file, one of another model, or of another version of Keras, which may
            pack int4 codes in another order.
    """
    mode, places = _read_recipe(file)
    model(example, training=False)
    _check_model(model)
    layers = model._flatten_layers()
    for place in places:
        if place >= len(layers) or _reason_to_skip(layers[place], mode, ()) is not None:
            raise DamagedKerasFileError(file, f"layer {place} of this model cannot be quantized to {mode}")
    done = _quantize(model, mode, dict.fromkeys(places))
    try:
        load_weights(model, file, example=example)
    except ValueError as error:
        raise DamagedKerasFileError(file, str(error)) from error
    return done


def _read_recipe(file: Path) -> tuple[KerasQuantizationMode, list[int]]:
    try:
        with safetensors.safe_open(file, framework="np") as opened:
            recipe = json.loads((opened.metadata() or {})[_RECIPE])
        mode, places, version = recipe["mode"], recipe["places"], recipe["keras"]
        is_ours = mode in KERAS_QUANTIZATION_MODES and len(places) == len(set(places)) > 0
        is_ours = is_ours and all(type(place) is int and place >= 0 for place in places)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedKerasFileError(file, f"{type(error).__name__}: {error}") from error
    if not is_ours:
        raise DamagedKerasFileError(file, "its recipe is not one of ours")
    if version != keras_version():
        raise DamagedKerasFileError(file, f"Keras {version} made it, and this is Keras {keras_version()}")
    return mode, places


def keras_version() -> str:
    """The first two numbers of Keras' version; the third brings no other layout.

    Raises:
        MissingExtraError: Keras is not installed.
    """
    try:
        import keras
    except ImportError as error:
        raise MissingExtraError(extra="keras", package="keras") from error
    return ".".join(keras.__version__.split(".")[:2])


def optimizer_bytes(file: Path) -> int:
    """Bytes of the optimizer's state inside a `.keras` or `.weights.h5` file, which no size should count.

    Raises:
        DamagedKerasFileError: it is neither.
        MissingExtraError: h5py, which Keras brings along, is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(extra="keras", package="h5py") from error
    try:
        if not zipfile.is_zipfile(file):
            with h5py.File(file, "r") as weights:
                return _bytes_below(weights, "optimizer")
        with (
            zipfile.ZipFile(file) as archive,
            archive.open("model.weights.h5") as inside,
            h5py.File(inside, "r") as weights,
        ):
            return _bytes_below(weights, "optimizer")
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedKerasFileError(file, str(error)) from error


def _bytes_below(weights: Any, name: str) -> int:
    sizes: list[int] = []
    if name in weights:
        weights[name].visititems(lambda _path, item: sizes.append(getattr(item, "nbytes", 0)))
    return sum(sizes)
