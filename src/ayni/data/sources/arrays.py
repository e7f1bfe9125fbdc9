"""Arrays of NumPy: one .npz file with inputs and labels, or a folder with inputs.npy and labels.npy.

Inputs are [N, ...]; whole numbers from 0 to 255 become 0 to 1. Images may be [N, H, W], [N, H, W, C] or
[N, C, H, W] and come out as the last. Splits are arrays such as x_train and y_train (as Keras names them).
Pickled arrays are refused: they could run code.

Not covered: memory-mapped files.
"""

import io
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayni.data.arrays_file import INPUT_NAMES, LABEL_NAMES, NUMBER_KINDS, as_fractions
from ayni.data.config import DataConfig
from ayni.data.sources.collection import Collection, SourceError, number_classes
from ayni.data.sources.file_trees import FileTree

_SPLITS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
_MOST_CHANNELS = 4


class ArraySource:
    """Fulfils `ayni.data.sources.collection.DataSource`."""

    def read(self, files: FileTree, config: DataConfig) -> Collection:
        """All examples; those of named splits in the order train, validation, test."""
        arrays, place = _arrays_of(files)
        found = list(_pairs(arrays, config.label, place))
        inputs, labels, splits, start = [], [], {}, 0
        for split, (pair_inputs, pair_labels) in found:
            _check_pair(pair_inputs, pair_labels, place)
            inputs.append(pair_inputs)
            labels.append(pair_labels.astype(np.int64))
            splits[split] = np.arange(start, start + len(pair_labels), dtype=np.int64)
            start += len(pair_labels)
        if len({each.shape[1:] for each in inputs}) > 1:
            raise SourceError(place, f"splits have inputs of shapes {[each.shape for each in inputs]}.")
        joined = np.concatenate(inputs)
        numbers = np.concatenate(labels)
        if numbers.size and numbers.min() < 0:
            row = int(np.flatnonzero(numbers < 0)[0])
            raise SourceError(
                place, f"the label of row {row} is {numbers[row]}: classes are numbered from 0."
            )
        class_numbers, classes = number_classes([str(number) for number in numbers.tolist()])
        values, is_image = _as_inputs(joined, place)
        return Collection(
            kind="images" if is_image else "table" if values.ndim == 2 else "arrays",
            inputs=values,
            labels=class_numbers,
            classes=classes,
            splits={} if set(splits) == {""} else splits,
        )


def _arrays_of(files: FileTree) -> tuple[dict[str, NDArray[Any]], str]:
    paths = [path for path in files.paths() if path.endswith((".npz", ".npy"))]
    if not paths:
        raise SourceError(files.name, "there is no .npz or .npy file in it.")
    arrays: dict[str, NDArray[Any]] = {}
    for path in paths:
        try:
            loaded = np.load(io.BytesIO(files.read(path)), allow_pickle=False)
            stem = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
            arrays |= dict(loaded) if path.endswith(".npz") else {stem: loaded}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            # NumPy's own text advises to load pickled objects, which could run code.
            place = files.name if files.name.endswith(path) else f"{files.name}, {path}"
            raise SourceError(
                place, "it holds no plain arrays of NumPy: it is damaged, or of pickled objects."
            ) from error
    return arrays, files.name


def _pairs(arrays: dict[str, NDArray[Any]], label: str, place: str) -> Any:
    """Inputs and labels of each split; of "" when there are none."""
    label_names = (label, *LABEL_NAMES)
    for split, endings in _SPLITS.items():
        for ending in endings:
            inputs = next(
                (arrays[f"{name}_{ending}"] for name in INPUT_NAMES if f"{name}_{ending}" in arrays), None
            )
            labels = next(
                (arrays[f"{name}_{ending}"] for name in label_names if f"{name}_{ending}" in arrays), None
            )
            if inputs is not None and labels is not None:
                yield split, (inputs, labels)
    if not any(f"{name}_train" in arrays for name in INPUT_NAMES):
        inputs = next((arrays[name] for name in INPUT_NAMES if name in arrays), None)
        labels = next((arrays[name] for name in label_names if name in arrays), None)
        if inputs is None or labels is None:
            raise SourceError(
                place,
                f"its arrays are {', '.join(sorted(arrays)) or 'none'}; expected inputs and labels, or "
                "x_train and y_train and the like.",
            )
        yield "", (inputs, labels)


def _check_pair(inputs: NDArray[Any], labels: NDArray[Any], place: str) -> None:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if inputs.ndim < 2 or labels.ndim != 1 or len(inputs) != len(labels):
        raise SourceError(
            place, f"inputs {inputs.shape} and labels {labels.shape} do not fit: expected [N, ...] and [N]."
        )
    if labels.dtype.kind not in "iu":
        raise SourceError(place, f"labels are {labels.dtype}, expected whole numbers.")
    if inputs.dtype.kind not in NUMBER_KINDS:
        raise SourceError(place, f"inputs are {inputs.dtype}, expected numbers.")
    if inputs.dtype.kind == "f" and inputs.size:
        bad = ~np.isfinite(inputs.reshape(len(inputs), -1)).all(axis=1)
        if bad.any():
            raise SourceError(
                place,
                f"{int(bad.sum())} inputs hold NaN or infinity, the first at row {int(np.argmax(bad))}.",
            )


def _as_inputs(inputs: NDArray[Any], place: str) -> tuple[NDArray[np.float32], bool]:
    """Float inputs, and whether they are images, which get their channels first."""
    values = as_fractions(inputs)
    is_image = inputs.ndim == 3 or (
        inputs.ndim == 4 and (inputs.shape[1] <= _MOST_CHANNELS or inputs.shape[3] <= _MOST_CHANNELS)
    )
    if inputs.ndim == 3:
        values = values[:, None]
    elif is_image and inputs.shape[1] > _MOST_CHANNELS:
        values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    return values, is_image
