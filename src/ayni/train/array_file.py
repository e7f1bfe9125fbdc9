"""Named arrays at rest: safetensors files, written whole or not at all, read one array at a time.

Written here and read by the safetensors library. Its `save_file` would do for small models, and has
three faults for a checkpoint: a full disk becomes a SafetensorError instead of DiskFullError, an array
that is not contiguous is written with the wrong values and no word (0.8.0), and the file has to be read
again for its hash. Its reader checks a hostile header (overlaps, lengths, unknown types) before it
gives anything out.

The checksum is XXH3 with 128 bits: it tells a torn or altered file as well as SHA-256 does, and takes a
twentieth of its time, which the learners' cores are needed for. Against forgery it is no protection.

    8 bytes   length of the header, little-endian
    header    JSON: name -> dtype, shape, [start, stop) in the data; padded with spaces to 8 bytes
    data      the arrays, one after the other, largest element first

Source: the format's description, https://github.com/huggingface/safetensors#format.

Not covered: types that numpy lacks (bfloat16); arrays are float32 or float64 here.
"""

import io
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import xxhash
from numpy.typing import NDArray

from ayni.errors import AyniError
from ayni.files import explain_os_errors, flush_folder, make_folder

_DTYPES = {
    "float64": "F64",
    "int64": "I64",
    "uint64": "U64",
    "float32": "F32",
    "int32": "I32",
    "uint32": "U32",
    "float16": "F16",
    "int16": "I16",
    "uint16": "U16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
_DTYPE_NAMES = {code: name for name, code in _DTYPES.items()}
_PIECE_BYTES = 1 << 20


class DamagedArrayFileError(AyniError):
    """A file that should hold arrays is cut off, altered, or something else."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(
            f"{path} is damaged or no safetensors file: {reason}. Put it back from a backup, or use another."
        )


def save_arrays(
    path: Path, items: Mapping[str, NDArray[Any]] | Iterable[tuple[str, NDArray[Any]]], *, mode: int = 0o644
) -> str:
    """Replace a file by arrays, atomically and durably; returns the file's checksum, as `checksum_of` does.

    The arrays must stay as they are meanwhile. They are written where they lie: no copy of the model is
    made, and none of an array that is contiguous.

    Raises:
        ValueError: an array's dtype is not one of the format's, or a name is there twice.
        DiskFullError: no space left; the old file is untouched.
        NotWritableError: permission denied or read-only file system.
    """
    arrays = _by_alignment(items)
    header = _make_header(arrays)
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    digest = xxhash.xxh3_128()
    with explain_os_errors(path):
        # os.open, not tempfile: only the kernel can lessen the mode by the umask without a race.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                for piece in _pieces(header, arrays):
                    digest.update(piece)
                    _write_all(descriptor, piece)
                os.fsync(file.fileno())
            temporary.replace(path)
            flush_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    return digest.hexdigest()


def checksum_of(path: Path) -> str:
    """XXH3 of a whole file, 32 hexadecimal digits."""
    digest = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def read_arrays(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays of a file by name, in the order in which they lie there, one in memory at a time.

    The library checks the header; the data are read here, because the pages of its memory map would
    count as this process's memory until all is read.

    Raises:
        FileNotFoundError: no such file.
        DamagedArrayFileError: header and length do not agree; at the first array, before it is given
            out. The values themselves are covered by the checksum that save_arrays returned.
    """
    with path.open("rb", buffering=0) as file:
        try:
            with safetensors.safe_open(path, framework="np"):
                header_bytes = int.from_bytes(file.read(8), "little")
                entries = json.loads(file.read(header_bytes))
        except (safetensors.SafetensorError, ValueError) as error:
            raise DamagedArrayFileError(path, str(error)) from error
        entries.pop("__metadata__", None)
        for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
            if entry["dtype"] not in _DTYPE_NAMES:
                raise DamagedArrayFileError(path, f"{name} has the type {entry['dtype']}, which numpy lacks")
            array = np.empty(entry["shape"], np.dtype(_DTYPE_NAMES[entry["dtype"]]).newbyteorder("<"))
            file.seek(8 + header_bytes + entry["data_offsets"][0])
            if _read_into(file, array) < array.nbytes:
                raise DamagedArrayFileError(path, f"it ends inside {name}")
            yield name, array


def _read_into(file: io.RawIOBase, array: NDArray[Any]) -> int:
    """Fill an array; returns the bytes that were there. One read(2) gives 2 GiB at most."""
    rest = array.reshape(-1).view(np.uint8).data
    num_read = 0
    while num_read < len(rest) and (count := file.readinto(rest[num_read:])):
        num_read += count
    return num_read


def _by_alignment(
    items: Mapping[str, NDArray[Any]] | Iterable[tuple[str, NDArray[Any]]],
) -> dict[str, NDArray[Any]]:
    """By size of element, so that readers find each array at a multiple of it; then by name."""
    pairs = list(items.items() if isinstance(items, Mapping) else items)
    for name, array in pairs:
        if array.dtype.name not in _DTYPES:
            raise ValueError(f"{name} has dtype {array.dtype}, which is none of {', '.join(_DTYPES)}")
    arrays = dict(sorted(pairs, key=lambda pair: (-pair[1].itemsize, pair[0])))
    if len(arrays) < len(pairs):
        raise ValueError("two arrays have the same name")
    return arrays


def _make_header(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    entries: dict[str, dict[str, object]] = {}
    position = 0
    for name, array in arrays.items():
        offsets = [position, position + array.nbytes]
        entries[name] = {
            "dtype": _DTYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": offsets,
        }
        position += array.nbytes
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    return len(text).to_bytes(8, "little") + text


def _pieces(header: bytes, arrays: Mapping[str, NDArray[Any]]) -> Iterator[memoryview]:
    """The file's bytes in pieces of 1 MiB, so that the hash reads what the write finds in the cache."""
    yield memoryview(header)
    for array in arrays.values():
        contiguous = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        flat = contiguous.reshape(-1).view(np.uint8).data
        for start in range(0, len(flat), _PIECE_BYTES):
            yield flat[start : start + _PIECE_BYTES]


def _write_all(descriptor: int, content: memoryview) -> None:
    """On a disk that fills up, write(2) takes what fits and reports no error until it is called again."""
    while content:
        content = content[os.write(descriptor, content) :]
