"""From a Keras model to LiteRT files, in a process of its own, and each file compared with the model.

TensorFlow's converter ends its whole process where it meets a graph that it was not made for (a failed CHECK
in C++ is no exception), writes to the terminal past Python, and keeps threads and memory until the end. So it
works elsewhere. What crosses the border is a SavedModel: the other process needs none of the user's code.

litert.py has the forms, their formulas and their source.

Not covered: models that are called with several positional arguments (a list, a tuple or a mapping of arrays
is one argument); operations that only TensorFlow itself has, for LiteRT would need TensorFlow again to run
them; 16-bit activations; custom layers of a model on Keras' backend torch that are not registered with Keras.
"""

import contextlib
import hashlib
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayni.compress.keras.litert import (
    LITERT_FORMS,
    SIGNATURE,
    LiteRtFailedError,
    LiteRtForm,
    LiteRtRuntime,
    UnnamableStructureError,
    first_line,
    named,
    unnamed,
)
from ayni.compress.quiet import without_advice
from ayni.errors import AyniError, MissingExtraError, UserError
from ayni.files import explain_os_errors, read_json, write_atomically, write_json

RELATIVE_TOLERANCE = 1e-3
"""Of the float32 form against the Keras model, as for ONNX files: another order of sums, nothing else."""
TIMEOUT_SECONDS = 3600.0
"""A converter that hangs is ended; models of hundreds of megabytes take minutes."""
NUM_CHECKED_INPUTS = 2
_CHILD = (
    "import sys; sys.path.insert(0, sys.argv[2]);"
    "from ayni.compress.keras.litert_conversion import convert_saved_model;"
    "convert_saved_model(sys.argv[1])"
)
Specification = dict[str, tuple[str, tuple[int, ...]]]


class CannotConvertError(UserError):
    """The Keras model has no LiteRT form that computes the same, or the request makes no sense."""

    def __init__(
        self, reason: str, *, remedy: str = "Replace what is named, or keep the Keras model."
    ) -> None:
        self.reason = reason
        super().__init__(f"This model cannot be converted to LiteRT: {reason}. {remedy}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteRtFile:
    """One form of a model.

    largest_difference: of its output from the Keras model's on the checked inputs, as a share of the
    output's scale: max|a - b| / max(1, max|b|).
    """

    form: LiteRtForm
    file: Path
    sha256: str
    stored_bytes: int
    largest_difference: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteRtConversion:
    """What was made, and the reason for each form that was not."""

    made: Mapping[LiteRtForm, LiteRtFile]
    refused: Mapping[LiteRtForm, str]


def convert_keras(
    model: Any,
    example: Any,
    targets: Mapping[LiteRtForm, Path],
    *,
    calibration: Sequence[Any] = (),
    shown: Sequence[Any] = (),
) -> LiteRtConversion:
    """Write LiteRT forms of a Keras 3 or tf_keras model; a file is there whole and checked, or not at all.

    The float32 form is made in any case, for it alone must agree with the model to RELATIVE_TOLERANCE; it is
    kept only if it has a target. A form that the converter refuses leaves the others whole.

    Args:
        model: on Keras' backend TensorFlow or torch, or of tf_keras. Its weights are not changed.
        example: one input as the model is called with it: an array, or a list, tuple or mapping of arrays,
            each with the batch as its first axis.
        targets: where each form goes; existing files are replaced.
        calibration: inputs of the same kind, for the ranges of int8; some hundred examples do.
        shown: real inputs, on which each file is compared with the model beside the example.

    Cost: a process that imports TensorFlow (some 7 CPU seconds and 500 MB), then about a second for each
    form of a small model, and one run over the calibration inputs, example by example.

    Raises:
        CannotConvertError: the inputs are not of a kind that LiteRT knows, calibration inputs are missing or
            not finite, or there is no float32 form that computes the same.
        MissingExtraError: TensorFlow is not installed.
    """
    specification = _checked(example, targets, calibration)
    forms: list[LiteRtForm] = ["float32", *(form for form in targets if form != "float32")]
    with tempfile.TemporaryDirectory(prefix="ayni-litert-") as name:
        folder = Path(name)
        with explain_os_errors(folder), _explained():
            outputs = [
                _called(model, inputs) for inputs in (example, *shown, *calibration)[:NUM_CHECKED_INPUTS]
            ]
            _write_source(model, specification, folder)
            _write_calibration(calibration if "int8" in forms else (), folder)
        write_json(folder / "request.json", {"forms": forms, "specification": specification})
        refused = _convert_in_own_process(folder, forms)
        made: dict[LiteRtForm, LiteRtFile] = {}
        for form in forms:
            if form not in refused:
                try:
                    difference = _largest_difference(folder / f"{form}.tflite", outputs)
                    limit = RELATIVE_TOLERANCE if form == "float32" else sys.float_info.max
                    if difference > limit:
                        refused[form] = f"the file's output differs by {difference:.2g} of its scale"
                except LiteRtFailedError as error:
                    refused[form] = f"the file cannot be run: {error.reason}"
            if form == "float32" and form in refused:
                raise CannotConvertError(refused[form])
            if form in targets and form not in refused:
                made[form] = _kept(form, folder, targets[form], difference)
    return LiteRtConversion(made=made, refused=refused)


def _kept(form: LiteRtForm, folder: Path, target: Path, difference: float) -> LiteRtFile:
    content = (folder / f"{form}.tflite").read_bytes()
    write_atomically(target, content)
    return LiteRtFile(
        form=form,
        file=target,
        sha256=hashlib.sha256(content).hexdigest(),
        stored_bytes=len(content),
        largest_difference=difference,
    )


def _checked(example: Any, targets: Mapping[LiteRtForm, Path], calibration: Sequence[Any]) -> Specification:
    if unknown := [form for form in targets if form not in LITERT_FORMS]:
        raise ValueError(f"unknown form {unknown[0]!r}; there are {', '.join(LITERT_FORMS)}")
    specification = _specification(example)
    if "int8" in targets and not calibration:
        remedy = "Give some hundred inputs of the training data, or take dynamic-int8, which needs none."
        raise CannotConvertError("int8 needs calibration inputs, and there are none", remedy=remedy)
    for index, inputs in enumerate(calibration):
        if _specification(inputs) != specification:
            raise CannotConvertError(f"calibration input {index} has another form than the example")
        for name, array in _arrays(inputs).items():
            if not np.isfinite(array).all():
                raise CannotConvertError(f"{name} of calibration input {index} is not finite everywhere")
    return specification


def _specification(inputs: Any) -> Specification:
    """Name -> type and shape without the batch."""
    found = {}
    for name, array in _arrays(inputs).items():
        if array.dtype.kind not in "fiub":
            raise CannotConvertError(f"{name} has the type {array.dtype}, which is no number")
        if array.ndim == 0 or len(array) == 0:
            raise CannotConvertError(f"{name} has the shape {array.shape}; its first axis must be the batch")
        found[name] = (_dtype_of(array).name, array.shape[1:])
    return found


def _arrays(inputs: Any) -> dict[str, NDArray[Any]]:
    try:
        return {name: np.asarray(value) for name, value in named(inputs, "input").items()}
    except UnnamableStructureError as error:
        raise CannotConvertError(str(error)) from error


def _dtype_of(array: NDArray[Any]) -> np.dtype[Any]:
    """float64 becomes float32, as in Keras; half precision too, for hardly a kernel takes it."""
    return np.dtype(np.float32) if array.dtype.kind == "f" else array.dtype


def _write_source(model: Any, specification: Specification, folder: Path) -> None:
    """The model as a SavedModel; on Keras' other backends as a .keras file, which the other process opens."""
    if _is_legacy(model):
        _write_legacy_saved_model(model, specification, folder / "saved_model")
        return
    import keras

    if keras.backend.backend() == "tensorflow":
        _write_saved_model(model, specification, folder / "saved_model")
    else:
        model.save(folder / "model.keras")


def _is_legacy(model: Any) -> bool:
    return any(base.__module__.split(".")[0] == "tf_keras" for base in type(model).__mro__)


def _write_saved_model(model: Any, specification: Specification, folder: Path) -> None:
    import keras

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", _served(model, specification)[0])
    archive.write_out(str(folder), verbose=False)


def _write_legacy_saved_model(model: Any, specification: Specification, folder: Path) -> None:
    import tensorflow as tf

    holder = tf.Module()
    holder.model = model
    holder.serve, traced = _served(model, specification)
    tf.saved_model.save(holder, str(folder), signatures={SIGNATURE: traced})


def _served(model: Any, specification: Specification) -> tuple[Any, Any]:
    """A function from named inputs to named outputs, and its trace with an open batch axis."""
    import tensorflow as tf

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def serve(**tensors: Any) -> dict[str, Any]:
        return named(_call(model, unnamed(tensors, "input")), "output")

    traced = serve.get_concrete_function(
        **{
            name: tf.TensorSpec((None, *shape), dtype, name=name)
            for name, (dtype, shape) in specification.items()
        }
    )
    return serve, traced


def _call(model: Any, inputs: Any) -> Any:
    return model(list(inputs) if isinstance(inputs, tuple) else inputs, training=False)


def _called(model: Any, inputs: Any) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Inputs and what the model answers, as named arrays."""
    arrays = {name: array.astype(_dtype_of(array)) for name, array in _arrays(inputs).items()}
    outputs = named(_call(model, unnamed(arrays, "input")), "output")
    found = {
        name: np.asarray(getattr(value, "detach", lambda v=value: v)()) for name, value in outputs.items()
    }
    if not all(np.isfinite(array).all() for array in found.values()):
        remedy = "Mend the training: a smaller learning rate, or data without values that are not finite."
        raise CannotConvertError("its own output is not finite", remedy=remedy)
    return inputs, found


def _largest_difference(file: Path, outputs: Sequence[tuple[Any, dict[str, NDArray[Any]]]]) -> float:
    """See LiteRtFile; infinite for other shapes and for values that are not finite."""
    worst, runtime = 0.0, LiteRtRuntime(file)
    for inputs, expected in outputs:
        actual = named(runtime(inputs), "output")
        for name, value in expected.items():
            if name not in actual or actual[name].shape != value.shape:
                return math.inf
            scale = max(1.0, float(np.abs(value).max()))
            difference = float(np.abs(actual[name].astype(np.float64) - value).max()) / scale
            worst = max(worst, difference) if math.isfinite(difference) else math.inf
    return worst


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """The model's own code runs inside: what it raises says that, and Keras has no word about its files."""
    try:
        with without_advice():
            yield
    except (AyniError, OSError):
        raise
    except ImportError as error:
        raise MissingExtraError(extra="keras", package=error.name or "keras") from error
    except Exception as error:
        raise CannotConvertError(f"it cannot be traced ({first_line(error)})") from error


def _write_calibration(calibration: Sequence[Any], folder: Path) -> None:
    """One file for each input name, all examples below each other."""
    batches = [_arrays(inputs) for inputs in calibration]
    for name in batches[0] if batches else ():
        columns = [batch[name].astype(_dtype_of(batch[name]), copy=False) for batch in batches]
        np.save(folder / f"{name}.npy", np.concatenate(columns), allow_pickle=False)


def _convert_in_own_process(folder: Path, forms: Sequence[LiteRtForm]) -> dict[LiteRtForm, str]:
    """Have the files made; returns the reasons for those that were not."""
    source = str(Path(__file__).parents[3])
    # Nothing is computed here that a GPU would be faster at.
    variables = ["KERAS_BACKEND=tensorflow", "CUDA_VISIBLE_DEVICES=-1", "TF_CPP_MIN_LOG_LEVEL=2"]
    try:
        done = subprocess.run(
            ["env", *variables, sys.executable, "-c", _CHILD, str(folder), source],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        end = f"the converter ended with code {done.returncode} ({last})"
    except subprocess.TimeoutExpired:
        end = f"the converter was ended after {TIMEOUT_SECONDS:g} seconds"
    reasons = read_json(folder / "refused.json") if (folder / "refused.json").exists() else {}
    return {form: reasons.get(form, end) for form in forms if not (folder / f"{form}.tflite").exists()}


def convert_saved_model(folder_name: str) -> None:
    """What the other process does: each form that request.json asks for, as FORM.tflite in the same folder.

    Reasons of forms that failed go to refused.json at once, because the next one may end the process.
    """
    folder = Path(folder_name)
    request, refused = read_json(folder / "request.json"), {}
    if (folder / "model.keras").exists():
        _open_keras_file(folder, request["specification"])
    for form in request["forms"]:
        try:
            content = _converted(folder, form, list(request["specification"]))
        except Exception as error:  # Whatever the converter's passes met.
            refused[form] = _reason(error)
            write_json(folder / "refused.json", refused)
        else:
            write_atomically(folder / f"{form}.tflite", content)


def _open_keras_file(folder: Path, specification: Specification) -> None:
    import keras

    # Not safe mode: the model comes from the process that asked, so whatever code is in it ran there already.
    model = keras.saving.load_model(folder / "model.keras", compile=False, safe_mode=False)
    _write_saved_model(model, specification, folder / "saved_model")


def _converted(folder: Path, form: LiteRtForm, inputs: Sequence[str]) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved_model"))
    if form != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if form == "int8":
        columns = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in inputs}
        converter.representative_dataset = lambda: _one_by_one(columns)
    content: bytes = converter.convert()
    return content


def _one_by_one(columns: Mapping[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[Any]]]:
    """The converter plans its memory for the first batch and takes none of another size."""
    for index in range(len(next(iter(columns.values())))):
        yield {name: column[index : index + 1] for name, column in columns.items()}


def _reason(error: Exception) -> str:
    """The operations without a kernel, which stand far down in the converter's message; or its first line."""
    operations = sorted(set(re.findall(r"\btf\.[A-Z]\w+", str(error))))
    if "TF Select ops" in str(error) and operations:
        return f"LiteRT has no kernel for {', '.join(operations)}"
    return f"{type(error).__name__}: {first_line(error)}"
