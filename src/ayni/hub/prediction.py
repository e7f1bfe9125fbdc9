"""Use a published variant on files: numbers (.npy, .json) or images (.png, .jpg, .jpeg).

Compressed variants run in ONNX Runtime and need neither torch nor the task's code; the full model runs in
torch. Images are never resized: a picture of another size is refused, because how to cut it is the caller's
decision.

Not covered: batches (one file is one example) and sound or video.
"""

import difflib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.errors import AyniError, MissingExtraError, UserError
from ayni.hub.config import CONFIG_FILE, FULL, ModelConfig, UnusableConfigError, read_config
from ayni.hub.loading import load_model
from ayni.hub.snapshots import Snapshot

if TYPE_CHECKING:
    import numpy as np

NUM_PROBABILITIES = 5
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


class UnknownVariantError(UserError):
    """The repository has no such variant."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        super().__init__(f"There is no variant {name!r}; there are {', '.join(known)}.{hint}")


class UnreadableInputError(UserError):
    """A file to predict on is missing, of an unknown kind, or not what its name says."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(f"{path} cannot be used: {reason}. Give a .npy, .json, .png or .jpg file.")


class InputShapeError(UserError):
    """An example has another shape than the model takes."""

    def __init__(self, path: Path, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
        self.path = path
        self.found = found
        self.expected = expected
        super().__init__(
            f"{path} has the shape {list(found)} and the model takes {list(expected)}. Resize or cut it "
            "first."
        )


class InferenceFailedError(AyniError):
    """The runtime could not run the variant."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(
            f"The variant {path} could not be run: {reason}. Try `--variant {FULL}`, or another version of "
            "onnxruntime."
        )


def predict(snapshot: Snapshot, files: Sequence[Path], variant: str | None = None) -> list[dict[str, Any]]:
    """What a variant says about each file; without `variant` the one that the run chose.

    Each answer has `file`, `variant`, `prediction` (index of the likeliest class; for outputs that are no
    classes the output itself), `label` and `probabilities` (the five likeliest, label -> probability; None
    without classes). Probabilities are the softmax of the model's outputs, which are taken as logits.

    Raises:
        DamagedFileError: a published file was changed.
        UnknownVariantError, UnreadableInputError, InputShapeError: see there.
        InferenceFailedError: the runtime refused.
        MissingExtraError: numpy, onnxruntime, torch or Pillow is needed and not installed.
    """
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(extra="train", package="numpy") from error
    snapshot.verify()
    config = read_config(snapshot.folder)
    name = variant or config.chosen or FULL
    if name not in config.variants:
        raise UnknownVariantError(name, list(config.variants))
    if config.variants[name] not in snapshot.files:
        reason = f"the variant's file {config.variants[name]} is not part of the revision"
        raise UnusableConfigError(snapshot.folder / CONFIG_FILE, reason)
    examples = [read_example(Path(path), config) for path in files]
    run = _runtime(snapshot, config.variants[name])
    return [
        {"file": str(path), "variant": name, **_answer(run(example), config)}
        for path, example in zip(files, examples, strict=True)
    ]


def read_example(path: Path, config: ModelConfig) -> "np.ndarray[Any, Any]":
    """One example as an array with a batch dimension of 1, in the model's type.

    Dimensions of size 1 may be left out or added: (28, 28) is taken for (1, 28, 28).

    Raises:
        UnreadableInputError: missing, unknown suffix, damaged, not numbers, or not finite.
        InputShapeError: another shape.
    """
    import numpy as np

    if not path.is_file():
        raise UnreadableInputError(path, "there is no such file")
    values = _read_values(path, config)
    expected = config.input_shape
    if [size for size in values.shape if size != 1] != [size for size in expected if size != 1]:
        raise InputShapeError(path, values.shape, expected)
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise UnreadableInputError(path, "it holds something that is not a finite number")
    converted = values.astype(config.input_dtype).reshape(1, *expected)
    if converted.dtype.kind in "iu" and (converted.reshape(values.shape) != values).any():
        raise UnreadableInputError(path, f"the model takes whole numbers ({config.input_dtype})")
    return converted


def _read_values(path: Path, config: ModelConfig) -> "np.ndarray[Any, Any]":
    import numpy as np

    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return _read_image(path, config)
    if suffix not in (".npy", ".json"):
        raise UnreadableInputError(path, f"the suffix {path.suffix!r} is not known")
    try:
        # Without pickle: an array file must not run code.
        if suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        return np.asarray(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, OSError, EOFError, RecursionError) as error:
        raise UnreadableInputError(path, str(error).splitlines()[0] if str(error) else "damaged") from error


def _read_image(path: Path, config: ModelConfig) -> "np.ndarray[Any, Any]":
    """Pixels as (channels, height, width), scaled from 0..255 to the model's range of values."""
    import numpy as np

    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(extra="explain", package="pillow") from error
    if len(config.input_shape) != 3 or config.input_shape[0] not in (1, 3):
        raise UnreadableInputError(path, f"the model takes {list(config.input_shape)}, which is no image")
    num_channels = config.input_shape[0]
    try:
        with Image.open(path, formats=["PNG", "JPEG"]) as image:
            expected = config.input_shape[1:]
            if (image.height, image.width) != expected:
                # Before decoding, so that a picture of absurd size costs nothing.
                raise InputShapeError(path, (num_channels, image.height, image.width), config.input_shape)
            pixels = np.asarray(image.convert("L" if num_channels == 1 else "RGB"), dtype=np.float64)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableInputError(path, "it is not a readable PNG or JPEG image") from error
    low, high = config.value_range
    scaled = low + (high - low) * pixels / 255.0
    return scaled[np.newaxis] if num_channels == 1 else scaled.transpose(2, 0, 1)


def _runtime(snapshot: Snapshot, file: str) -> Callable[["np.ndarray[Any, Any]"], "np.ndarray[Any, Any]"]:
    if file.endswith(".onnx"):
        return _onnx_runtime(snapshot.folder / file)
    return _torch_runtime(snapshot)


def _onnx_runtime(path: Path) -> Callable[["np.ndarray[Any, Any]"], "np.ndarray[Any, Any]"]:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(extra="compress", package="onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # The runtime's exceptions have no common root but Exception.
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InferenceFailedError(path, str(error)) from error
    input_name = session.get_inputs()[0].name

    def run(example: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        try:
            output: np.ndarray[Any, Any] = session.run(None, {input_name: example})[0]
        except Exception as error:
            raise InferenceFailedError(path, str(error)) from error
        return output

    return run


def _torch_runtime(snapshot: Snapshot) -> Callable[["np.ndarray[Any, Any]"], "np.ndarray[Any, Any]"]:
    model = load_model(snapshot)
    import torch

    def run(example: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        with torch.no_grad():
            output: np.ndarray[Any, Any] = model(torch.from_numpy(example)).numpy()
        return output

    return run


def _answer(output: "np.ndarray[Any, Any]", config: ModelConfig) -> dict[str, Any]:
    if config.pipeline_tag == "text-generation" and output.ndim == 3:
        # (1, positions, characters): what comes after the last position.
        output = output[:, -1]
    is_classes = config.labels is not None or config.pipeline_tag.endswith(("classification", "generation"))
    if not is_classes or output.ndim != 2 or output.shape[1] < 2:
        return {"prediction": output[0].tolist(), "label": None, "probabilities": None}
    return _likeliest(output[0], config.labels)


def _likeliest(logits_C: "np.ndarray[Any, Any]", labels: tuple[str, ...] | None) -> dict[str, Any]:
    """Softmax, p[c] = exp(z[c] - max z) / sum, and the classes with the highest p."""
    import numpy as np

    exponentials_C = np.exp(logits_C.astype(np.float64) - logits_C.max())
    probabilities_C = exponentials_C / exponentials_C.sum()
    order = np.argsort(-probabilities_C, kind="stable")[:NUM_PROBABILITIES]
    names = labels if labels and len(labels) == len(logits_C) else [str(c) for c in range(len(logits_C))]
    best = int(order[0])
    return {
        "prediction": best,
        "label": names[best],
        "probabilities": {names[c]: float(probabilities_C[c]) for c in order},
    }
