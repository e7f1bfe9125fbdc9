"""LiteRT, once called TensorFlow Lite: what its files are, and the small interpreter that runs them.

    form           weights                          activations                     made with
    float32        as trained                       float32                         -
    float16        rounded to half precision        float32                         -
    dynamic-int8   q = round(w / s)                 float32 between the layers      -
    int8           q = round(w / s)                 q = round(x / s) + z            calibration inputs

        weights       s = max|w| / 127 for each output channel
        activations   s = (hi - lo) / 255 and z = round(-128 - lo / s), with lo <= 0 <= hi, for each tensor

Inputs and outputs are float32 (or the model's integers) in every form, so that one caller serves all. Only
the int8 forms can be faster on a CPU; float16 halves the file, and its weights are widened when it is opened.
litert_conversion.py makes the files.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", CVPR 2018, arXiv:1712.05877; LiteRT's 8-bit specification (symmetric int8 weights, affine int8
activations), https://ai.google.dev/edge/litert/models/quantization_spec.

Not covered: files of other programs whose signatures are named otherwise; axes other than the batch that
change their length; inputs within inputs; text; accelerators.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np

from ayni.errors import AyniError, MissingExtraError, UserError
from ayni.files import sha256_of_file

LiteRtForm = Literal["float32", "float16", "dynamic-int8", "int8"]
LITERT_FORMS: tuple[LiteRtForm, ...] = get_args(LiteRtForm)
SIGNATURE = "serving_default"


class LiteRtFailedError(AyniError):
    """The interpreter could not open or run a file."""

    def __init__(self, *, file: Path, reason: str) -> None:
        self.file = file
        self.reason = reason
        super().__init__(
            f"LiteRT cannot use {file.name}: {reason}. "
            "Remove the file to have it made again, or report the model as unsupported."
        )


class UnnamableStructureError(UserError, ValueError):
    """Inputs or outputs that are no array, and no list, tuple or mapping of arrays."""


class LiteRtRuntime:
    """A LiteRT file in an interpreter on the CPU: a callable on numpy arrays, as a Keras task calls it.

    Inputs have the structure that the model was converted with: an array, or a list, tuple or mapping of
    arrays. The batch may have any length; another one than the last time makes the interpreter plan its
    memory anew. Outputs are an array, a tuple or a dict. Not for two threads at once.

    The interpreter trusts the file: one that was cut off or altered ends the whole process (a segmentation
    fault, seen with 4 of 6 cuts). So give the SHA-256 that LiteRtFile carries; without it only the first
    bytes are checked.

    The interpreter is that of the package ai_edge_litert where it is installed (no TensorFlow is needed
    then), else TensorFlow's own copy.

    Raises:
        LiteRtFailedError: no LiteRT file, another one than `sha256` says, or one without our signature.
        MissingExtraError: neither package is installed.
    """

    training = False

    def __init__(self, file: Path, *, num_threads: int = 1, sha256: str | None = None) -> None:
        self._file = file
        try:
            with file.open("rb") as content:
                if content.read(8)[4:] != b"TFL3":
                    raise ValueError("it is no LiteRT file")
            if sha256 is not None and sha256_of_file(file) != sha256:
                raise ValueError(f"its SHA-256 is not {sha256}, so it was damaged or replaced")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # TensorFlow says that its copy of the interpreter will go.
                self._interpreter = _import_interpreter()(model_path=str(file), num_threads=num_threads)
            self._inputs, self._outputs = _places(self._interpreter)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, OSError) as error:
            raise LiteRtFailedError(file=file, reason=first_line(error)) from error
        self._shapes = dict(self._inputs.shapes)

    def __call__(self, *args: Any, training: bool = False, **kwargs: Any) -> Any:
        """The model's output for a batch, in evaluation mode.

        Several positional inputs count as a list, named ones as a mapping.

        Raises:
            ValueError: training mode is asked for.
            LiteRtFailedError: the inputs do not fit.
        """
        if training:
            raise ValueError("a LiteRT file computes in evaluation mode only")
        interpreter = self._interpreter
        inputs = args[0] if len(args) == 1 else args or kwargs
        try:
            self._set(named(inputs, "input"))
            interpreter.invoke()
            outputs = {name: interpreter.get_tensor(index) for name, index in self._outputs.indices.items()}
        except (ValueError, RuntimeError, TypeError) as error:
            raise LiteRtFailedError(file=self._file, reason=first_line(error)) from error
        return unnamed(outputs, "output")

    def _set(self, values: Mapping[str, Any]) -> None:
        """Copy the inputs in. Widening is allowed (uint8 to float32); a fraction never becomes an integer."""
        if values.keys() != self._inputs.indices.keys():
            raise ValueError(f"it takes {sorted(self._inputs.indices)}, and got {sorted(values)}")
        arrays = {
            name: np.asarray(value).astype(self._inputs.dtypes[name], casting="same_kind", copy=False)
            for name, value in values.items()
        }
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes != self._shapes:
            self._resize(shapes)
        for name, array in arrays.items():
            self._interpreter.set_tensor(self._inputs.indices[name], array)

    def _resize(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        for name, shape in shapes.items():
            expected = self._inputs.shapes[name]
            # The interpreter takes any shape here and may end the process where a kernel trips over it.
            if len(shape) != len(expected) or shape[1:] != expected[1:] or 0 in shape:
                raise ValueError(f"{name} has the shape {shape}, the file takes {('batch', *expected[1:])}")
        self._shapes = {}  # Until it has worked, no shape is the interpreter's.
        for name, shape in shapes.items():
            self._interpreter.resize_tensor_input(self._inputs.indices[name], shape)
        self._interpreter.allocate_tensors()
        self._shapes = dict(shapes)

    def eval(self) -> Self:
        """A LiteRT file has no training mode."""
        return self


class _Places:
    """Where the named inputs or outputs of a signature are, and what they are."""

    def __init__(self, details: Mapping[str, Mapping[str, Any]]) -> None:
        self.indices = {name: int(each["index"]) for name, each in details.items()}
        self.dtypes = {name: np.dtype(each["dtype"]) for name, each in details.items()}
        self.shapes = {name: tuple(int(size) for size in each["shape"]) for name, each in details.items()}


def _places(interpreter: Any) -> tuple[_Places, _Places]:
    """Of inputs and outputs. While a signature runner lives, the interpreter refuses to plan its memory."""
    signature = interpreter.get_signature_runner(SIGNATURE)
    return _Places(signature.get_input_details()), _Places(signature.get_output_details())


def named(value: Any, prefix: str) -> dict[str, Any]:
    """A structure as arrays by name, which is how a LiteRT file knows them.

    x -> {"input": x}, [x, y] -> {"input_0": x, "input_1": y}, {"age": x} -> {"input_of_age": x}

    Raises:
        UnnamableStructureError: it is something else, or a key is no identifier.
    """
    if isinstance(value, Mapping):
        if strangers := [key for key in value if not str(key).isidentifier()]:
            raise UnnamableStructureError(
                f"the {prefix} {strangers[0]!r} has a name that a LiteRT file cannot keep"
            )
        arrays = {f"{prefix}_of_{key}": item for key, item in value.items()}
    elif isinstance(value, list | tuple):
        arrays = {f"{prefix}_{index}": item for index, item in enumerate(value)}
    else:
        arrays = {prefix: value}
    for name, item in arrays.items():
        if not hasattr(item, "shape"):
            raise UnnamableStructureError(f"{name} is of type {type(item).__name__}, not an array")
    return arrays


def unnamed(arrays: Mapping[str, Any], prefix: str) -> Any:
    """The structure that `named` took apart; lists come back as tuples."""
    if prefix in arrays:
        return arrays[prefix]
    if all(name.startswith(f"{prefix}_of_") for name in arrays):
        return {name.removeprefix(f"{prefix}_of_"): item for name, item in arrays.items()}
    return tuple(arrays[f"{prefix}_{index}"] for index in range(len(arrays)))


def first_line(error: BaseException) -> str:
    """What an exception of TensorFlow or Keras says first; the rest are traces of other languages."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()


def _import_interpreter() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            import tensorflow as tf
        except ImportError as error:
            raise MissingExtraError(extra="keras", package="tensorflow") from error
        return tf.lite.Interpreter
    return Interpreter
