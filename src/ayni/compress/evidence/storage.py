"""How large a model is: dense, stored and zipped, side by side and never mixed up.

    dense bytes     every weight as a plain number of its type, tied weights once: what computing needs
    stored bytes    the files that are shipped, as they lie on disk
    zlib bytes      the same files after zlib: what a compressing file system or download would make of them

Zeros that are stored as numbers save nothing of the first two; "effective" sizes (non-zeros times 4) are
not computed here at all. Both sides of a ratio are counted the same way, with the baseline's type beside
it, for a bfloat16 baseline halves every ratio.

Not covered: tensors inside ONNX and LiteRT files (their size is that of the file), and packed parameters
that a module does not show in its state_dict.
"""

import fnmatch
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ayni.errors import UserError

NOT_THE_MODEL = (
    *("*tokenizer*", "vocab.*", "merges.txt", "special_tokens_map.json", "added_tokens.json"),
    *("optimizer.*", "scheduler.*", "rng_state*", "training_args.bin", "*.md", ".*"),
)
"""Files that lie beside a model and are not counted, on either side: words, training state, documents."""
ZLIB_LEVEL = 6
_CHUNK_BYTES = 1 << 20


class NothingStoredError(UserError):
    """There is no file to measure."""

    def __init__(self, *, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        super().__init__(
            f"No file of a model is at {', '.join(str(path) for path in paths) or 'no path at all'} "
            f"(not counted: {', '.join(NOT_THE_MODEL)}). Give the files of the variant, or its folder."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Sizes of one variant.

    dense_bytes: None when nobody could tell (a format that is not looked into).
    zlib_bytes: None when it was not asked for.
    num_files: how many files were counted.
    """

    stored_bytes: int
    dense_bytes: int | None
    zlib_bytes: int | None
    num_files: int

    def ratio_to(self, baseline: "Storage") -> float:
        """Stored bytes after over stored bytes before: 0.25 is a quarter of the size.

        Raises:
            ValueError: the baseline has no bytes.
        """
        if baseline.stored_bytes == 0:
            raise ValueError("a baseline of 0 bytes has no ratio")
        return self.stored_bytes / baseline.stored_bytes

    def to_json(self) -> dict[str, int | None]:
        """Plain values."""
        names = ("stored_bytes", "dense_bytes", "zlib_bytes", "num_files")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Storage":
        """The sizes that `to_json` wrote."""
        return cls(
            stored_bytes=data["stored_bytes"],
            dense_bytes=data["dense_bytes"],
            zlib_bytes=data["zlib_bytes"],
            num_files=data["num_files"],
        )


def measure_storage(
    *paths: Path,
    dense_bytes: int | None = None,
    with_zlib: bool = True,
    not_counted: Sequence[str] = NOT_THE_MODEL,
) -> Storage:
    """Sizes of files and folders on disk.

    Cost: reads every byte once, about 30 MB a second with zlib; memory for one chunk.

    Args:
        paths: files, counted whatever they are called, and folders, searched to the bottom. A file that
            is reached twice counts once; a link counts as what it leads to.
        dense_bytes: what `dense_bytes_by_type` says of the model.
        with_zlib: also compress, in memory.
        not_counted: patterns of names inside folders, of files or folders, that are no part of the model.

    Raises:
        NothingStoredError: a path does not exist, or no file is left to count.
    """
    files = _files(paths, not_counted)
    return Storage(
        stored_bytes=sum(file.stat().st_size for file in files),
        dense_bytes=dense_bytes,
        zlib_bytes=sum(_zlib_bytes(file) for file in files) if with_zlib else None,
        num_files=len(files),
    )


def dense_bytes_by_type(model: nn.Module) -> dict[str, int]:
    """Bytes of a model's weights as plain arrays, by type ("float32"), the largest first.

    All that a checkpoint holds: parameters and persistent buffers. A tensor under several names counts
    once, and so does memory that several tensors look into.
    """
    extents: dict[tuple[str, Any], list[tuple[int, int]]] = {}
    own_bytes: dict[tuple[str, Any], int] = {}
    seen: set[Any] = set()
    for tensor in model.state_dict(keep_vars=True).values():
        if not isinstance(tensor, torch.Tensor) or tensor.numel() == 0:
            continue
        memory, start, end = _extent(tensor)
        view = (memory, start, tuple(tensor.shape), _strides(tensor))
        if view in seen:
            continue
        seen.add(view)
        key = (str(tensor.dtype).removeprefix("torch."), memory)
        extents.setdefault(key, []).append((start, end))
        own_bytes[key] = own_bytes.get(key, 0) + tensor.numel() * tensor.element_size()
    by_type: dict[str, int] = {}
    for (dtype, memory), spans in extents.items():
        # A view with gaps (every second column) spans more than it holds, overlapping views hold less.
        num_bytes = min(own_bytes[dtype, memory], _union(spans))
        by_type[dtype] = by_type.get(dtype, 0) + num_bytes
    return dict(sorted(by_type.items(), key=lambda entry: -entry[1]))


def dense_bytes(model: nn.Module) -> int:
    """All of `dense_bytes_by_type`."""
    return sum(dense_bytes_by_type(model).values())


def _files(paths: Sequence[Path], not_counted: Sequence[str]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise NothingStoredError(paths=[path])
        if path.is_file():
            found[path.resolve()] = None
            continue
        for file in sorted(path.rglob("*")):
            parts = file.relative_to(path).parts
            if any(fnmatch.fnmatch(part, pattern) for part in parts for pattern in not_counted):
                continue
            if file.is_file():
                found[file.resolve()] = None
    if not found:
        raise NothingStoredError(paths=paths)
    return list(found)


def _zlib_bytes(file: Path) -> int:
    compressor = zlib.compressobj(ZLIB_LEVEL)
    num_bytes = 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            num_bytes += len(compressor.compress(chunk))
    return num_bytes + len(compressor.flush())


def _extent(tensor: torch.Tensor) -> tuple[Any, int, int]:
    """Which memory a tensor looks into, and from which byte to which.

    Tensors without memory of their own (on the meta device, sparse, or packed by a library) are each their
    own memory.
    """
    num_bytes = tensor.numel() * tensor.element_size()
    is_plain = tensor.layout == torch.strided and type(tensor) in (torch.Tensor, nn.Parameter)
    if not is_plain or tensor.device.type == "meta":
        return ("object", id(tensor)), 0, num_bytes
    start = int(tensor.storage_offset()) * tensor.element_size()
    last = sum((int(size) - 1) * int(step) for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    end = start + (last + 1) * tensor.element_size()
    return (str(tensor.device), tensor.untyped_storage().data_ptr()), start, end


def _strides(tensor: torch.Tensor) -> tuple[int, ...]:
    return tensor.stride() if tensor.layout == torch.strided else ()


def _union(spans: Sequence[tuple[int, int]]) -> int:
    total = reached = 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total
