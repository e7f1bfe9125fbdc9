"""Records as a file: an .npz with `inputs` [N, ...] and `labels` [N].

Pickled objects are never loaded. The names that other tools write are understood too: x and y, with or
without `_train`, `images`, `features` and `data` for inputs, `targets` and `classes` for labels.

Not covered: files of several splits; whoever has one names the arrays of one split `inputs` and `labels`.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayni.data.records import Records, RecordsError
from ayni.files import write_atomically

INPUT_NAMES = ("inputs", "x", "X", "images", "data", "features")
LABEL_NAMES = ("labels", "y", "Y", "targets", "target", "label", "classes")
# What an image file of bytes has at its brightest.
_BYTE = 255
# Floats, whole numbers with and without sign, and truth values.
NUMBER_KINDS = "fiub"


def read_records(path: Path) -> Records:
    """The records of an .npz file. Bytes (uint8) become 0 to 1, other numbers stay.

    Raises:
        RecordsError: there is no such file, it is no .npz, an array is missing or cannot be used. The file is
            named, and the row where one is to blame.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            inputs = arrays[_named(arrays.files, (*INPUT_NAMES, "x_train"), path)]
            labels = arrays[_named(arrays.files, (*LABEL_NAMES, "y_train"), path)]
    except TypeError as error:  # of `with`: a single array is no file with several
        raise RecordsError(
            f"{path} holds a single array: expected an .npz with inputs and labels."
        ) from error
    except FileNotFoundError as error:
        raise RecordsError(f"There is no file {path}.") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RecordsError(f"{path} cannot be read as an .npz of plain numbers: {error}.") from error
    if inputs.dtype.kind not in NUMBER_KINDS:
        raise RecordsError(f"The inputs of {path} are {inputs.dtype}: expected numbers.")
    if labels.dtype.kind not in "iu":
        raise RecordsError(f"The labels of {path} are {labels.dtype}: expected whole numbers.")
    try:
        return Records(inputs=as_fractions(inputs), labels=labels.astype(np.int64))
    except RecordsError as error:
        raise RecordsError(f"{path}: {error}") from error


def as_fractions(values: NDArray[Any]) -> NDArray[np.float32]:
    """Numbers as float32; bytes (uint8), which are levels of an image, as 0 to 1."""
    floats: NDArray[np.float32] = values.astype(np.float32)
    return floats / np.float32(_BYTE) if values.dtype == np.uint8 else floats


def write_records(records: Records, path: Path) -> None:
    """Write the records as an .npz, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, inputs=records.inputs, labels=records.labels)
    write_atomically(path, buffer.getvalue())


def _named(found: list[str], wanted: tuple[str, ...], path: Path) -> str:
    for name in wanted:
        if name in found:
            return name
    raise RecordsError(
        f"{path} has the arrays {', '.join(found) or 'none'}: expected one called {wanted[0]}."
    )
