"""Use a published variant on files: numbers (.npy, .json), text (.txt, .json) or images (.png, .jpg, .jpeg).

A model that continues text says what comes next. It reads the last characters that it can see at once; its
vocabulary is in `config.json`, so that no code of the repository is needed to turn text into numbers.

Variants in ONNX need neither torch nor the task's code, those in LiteRT no code of the task; the full model
runs in what it was trained with. Images are never resized: a picture of another size is refused, because how
to cut it is the caller's decision.

Not covered: batches (one file is one example), sound or video, writing more than the next character, and
vocabularies of longer pieces than characters (give their numbers in a .json file).
"""

import difflib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.errors import AyniError, MissingExtraError, UserError
from ayni.hub.config import CONFIG_FILE, FULL, Library, ModelConfig, UnusableConfigError, read_config
from ayni.hub.loading import load_model
from ayni.hub.snapshots import Snapshot
from ayni.keras_weights import is_keras

if TYPE_CHECKING:
    import numpy as np

LoadVariant = Callable[[Snapshot, str], Any]
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
        super().__init__(
            f"{path} cannot be used: {reason}. Give a .npy, .json, .png or .jpg file, or a .txt file to a "
            "model of text."
        )


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


def predict(
    snapshot: Snapshot,
    files: Sequence[Path],
    variant: str | None = None,
    *,
    load_variant: LoadVariant | None = None,
) -> list[dict[str, Any]]:
    """What a variant says about each file; without `variant` the one that the run chose.

    Each answer has `file`, `variant`, `prediction` (index of the likeliest class; for outputs that are no
    classes the output itself), `label` and `probabilities` (the five likeliest, label -> probability; None
    without classes). Probabilities are the softmax of the model's outputs, which are taken as logits. For
    text-generation the classes are what can come next.

    `load_variant` opens variants that are neither the full model nor ONNX files; without it they are refused.

    Raises:
        DamagedFileError: a published file was changed.
        UnknownVariantError, UnreadableInputError, InputShapeError: see there.
        InferenceFailedError: the runtime refused.
        MissingExtraError: numpy, onnxruntime, torch or Pillow is needed and not installed.
    """
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(extra="predict", package="numpy") from error
    snapshot.verify()
    config = read_config(snapshot.folder)
    name = variant or config.chosen or FULL
    if name not in config.variants:
        raise UnknownVariantError(name, list(config.variants))
    if config.variants[name] not in snapshot.files:
        reason = f"the variant's file {config.variants[name]} is not part of the revision"
        raise UnusableConfigError(snapshot.folder / CONFIG_FILE, reason)
    examples = [_read(Path(path), config) for path in files]
    run = _runtime(snapshot, name, config.variants[name], config.library, load_variant)
    return [
        {"file": str(path), "variant": name, **_answer(run(example), config, last=last)}
        for path, (example, last) in zip(files, examples, strict=True)
    ]


def _read(path: Path, config: ModelConfig) -> tuple["np.ndarray[Any, Any]", int]:
    """An example, and which of its positions is the last that the file fills."""
    if config.pipeline_tag == "text-generation" and len(config.input_shape) == 1:
        return read_text(path, config)
    return read_example(path, config), -1


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


def read_text(path: Path, config: ModelConfig) -> tuple["np.ndarray[Any, Any]", int]:
    """The last symbols of a text as an array (1, T) in the model's type, and the place of the last one.

    A .txt file and a text in a .json file go through the vocabulary; lists of numbers are taken as they
    are. What is shorter than T is filled up at its end: no position of such a model sees a later one.

    Raises:
        UnreadableInputError: missing, empty, or not of the model's vocabulary.
    """
    import numpy as np

    if not path.is_file():
        raise UnreadableInputError(path, "there is no such file")
    values = _read_text_file(path) if path.suffix.lower() == ".txt" else _read_values(path, config)
    (length,) = config.input_shape
    if not isinstance(values, str) and values.ndim == 0 and values.dtype.kind == "U":
        values = str(values)
    if isinstance(values, str):
        numbers = np.asarray(_numbers_of_text(path, values[-length:], config.labels), dtype=np.int64)
    else:
        numbers = values.reshape(-1)[-length:]
    if numbers.size == 0:
        raise UnreadableInputError(path, "it is empty")
    num_symbols = len(config.labels) if config.labels else np.iinfo(np.int64).max
    if numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() >= num_symbols:
        known = f"from 0 to {len(config.labels) - 1}" if config.labels else "from 0 on"
        raise UnreadableInputError(path, f"the model takes whole numbers {known}, or a text")
    filled = np.zeros((1, length), dtype=config.input_dtype)
    filled[0, : numbers.size] = numbers
    return filled, int(numbers.size) - 1


def _read_text_file(path: Path) -> str:
    try:
        # Editors end a file with a line break that nobody typed.
        return path.read_text(encoding="utf-8").removesuffix("\n")
    except (UnicodeDecodeError, OSError) as error:
        raise UnreadableInputError(path, "it is not text in UTF-8") from error


def _numbers_of_text(path: Path, text: str, vocabulary: tuple[str, ...] | None) -> list[int]:
    if not vocabulary or any(len(symbol) != 1 for symbol in vocabulary):
        reason = (
            "the model's config.json names no single characters as its vocabulary, so give numbers in .json"
        )
        raise UnreadableInputError(path, reason)
    numbers = {symbol: number for number, symbol in enumerate(vocabulary)}
    if strangers := sorted(set(text) - set(numbers)):
        shown = ", ".join(repr(character) for character in strangers[:5])
        raise UnreadableInputError(path, f"the model does not know the characters {shown}")
    return [numbers[character] for character in text]


def _read_values(path: Path, config: ModelConfig) -> "np.ndarray[Any, Any]":
    import numpy as np

    suffix = path.suffix.lower()
    if suffix == ".txt":
        raise UnreadableInputError(path, f"the model takes {list(config.input_shape)} and no text")
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
    """Pixels as the model takes them, scaled from 0..255 to its range of values.

    (channels, height, width), or with the channels last, as models of Keras have them.
    """
    import numpy as np

    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(extra="predict", package="pillow") from error
    is_last = config.library == "keras"
    place = 2 if is_last else 0
    if len(config.input_shape) != 3 or config.input_shape[place] not in (1, 3):
        raise UnreadableInputError(path, f"the model takes {list(config.input_shape)}, which is no image")
    num_channels = config.input_shape[place]
    try:
        with Image.open(path, formats=["PNG", "JPEG"]) as image:
            size = (image.height, image.width)
            found = (*size, num_channels) if is_last else (num_channels, *size)
            if found != config.input_shape:
                # Before decoding, so that a picture of absurd size costs nothing.
                raise InputShapeError(path, found, config.input_shape)
            if image.has_transparency_data:
                reason = "it has transparent parts, whose colour nobody can see; put it on a background"
                raise UnreadableInputError(path, reason)
            pixels = np.asarray(image.convert("L" if num_channels == 1 else "RGB"), dtype=np.float64)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableInputError(path, "it is not a readable PNG or JPEG image") from error
    low, high = config.value_range
    scaled = low + (high - low) * pixels / 255.0
    pixels_HWC = scaled[..., np.newaxis] if num_channels == 1 else scaled
    return pixels_HWC if is_last else pixels_HWC.transpose(2, 0, 1)


def _runtime(
    snapshot: Snapshot, name: str, file: str, library: Library, load_variant: LoadVariant | None
) -> Callable[["np.ndarray[Any, Any]"], "np.ndarray[Any, Any]"]:
    import numpy as np

    if file.endswith(".onnx"):
        return _onnx_runtime(snapshot.folder / file)
    if name == FULL:
        return _callable(load_model(snapshot))
    if load_variant is None:
        raise InferenceFailedError(Path(file), "nothing here can open a file of this kind")
    model = load_variant(snapshot, name)
    if library == "keras":
        # LiteRT files and Keras' quantized weights are called with arrays, as the model is.
        return lambda example: np.asarray(model(example))
    return _callable(model)


def _onnx_runtime(path: Path) -> Callable[["np.ndarray[Any, Any]"], "np.ndarray[Any, Any]"]:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(extra="predict", package="onnxruntime") from error
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


def _callable(model: Any) -> Callable[["np.ndarray[Any, Any]"], "np.ndarray[Any, Any]"]:
    """A model of torch or of Keras, or a variant that is called like one of torch, from array to array."""
    import numpy as np

    if is_keras(model):
        import keras

        return lambda example: np.asarray(keras.ops.convert_to_numpy(model(example, training=False)))
    import torch

    def run(example: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        with torch.no_grad():
            output = model(torch.from_numpy(example))
        return np.asarray(output)

    return run


def _answer(output: "np.ndarray[Any, Any]", config: ModelConfig, *, last: int) -> dict[str, Any]:
    if config.pipeline_tag == "text-generation" and output.ndim == 3:
        # (1, positions, characters): what comes after the last position that the file fills.
        output = output[:, last]
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
