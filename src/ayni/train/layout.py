"""How a model is cut into chunks, the unit in which arrays are encoded, sent, merged and stepped.

One chunk at a time is what keeps memory small: merging n updates holds n chunks, never n models. Both
ends cut the same manifest (named_arrays.make_manifest) by the same rule, so a chunk needs no name: its
number is enough.

    small tensors share a chunk      [ norm.weight | norm.bias | head.bias ]
    a tensor that fits is not cut    [ head.weight ]
    a big one is cut                 [ embedding 0:2**20 ] [ embedding 2**20:2**21 ] [ rest | next ... ]

Not covered: arrays that are not contiguous in C order, which cannot be changed in place piece by piece.

Shapes: E = elements of a chunk.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

# 4 MiB of float32: as large as fits a core's cache, so that the passes of a codec are not bound by memory.
MAX_CHUNK_ELEMENTS = 2**20

Manifest: TypeAlias = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Piece:
    """Elements [start, stop) of one tensor, flattened in C order.

    `shape` is that of the whole tensor; None when only the range matters to the holder.
    """

    name: str
    start: int
    stop: int
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"piece [{self.start}, {self.stop}) of {self.name} holds nothing")

    @property
    def num_elements(self) -> int:
        """Its length, at least 1."""
        return self.stop - self.start


Chunk: TypeAlias = tuple[Piece, ...]


def make_chunks(manifest: Manifest, *, max_elements: int = MAX_CHUNK_ELEMENTS) -> tuple[Chunk, ...]:
    """Cut all tensors of a manifest into chunks of at most max_elements, in the manifest's order.

    Each element is in exactly one chunk; tensors without elements are in none. A tensor of at most
    max_elements is never cut, and a bigger one is cut at multiples of max_elements.

    Raises:
        ValueError: max_elements is below 1.
    """
    if max_elements < 1:
        raise ValueError(f"max_elements must be at least 1, not {max_elements}")
    chunks: list[list[Piece]] = []
    room = 0
    for name, (shape, *_) in manifest.items():
        for piece in _cut(name, tuple(shape), max_elements):
            if piece.num_elements > room:
                chunks.append([])
                room = max_elements
            chunks[-1].append(piece)
            room -= piece.num_elements
    return tuple(tuple(chunk) for chunk in chunks)


def _cut(name: str, shape: tuple[int, ...], max_elements: int) -> list[Piece]:
    size = math.prod(shape)
    return [
        Piece(name, start, min(start + max_elements, size), shape) for start in range(0, size, max_elements)
    ]


def num_elements(chunk: Chunk) -> int:
    """E of a chunk."""
    return sum(piece.num_elements for piece in chunk)


def take_chunk(arrays: Mapping[str, NDArray[Any]], chunk: Chunk) -> NDArray[np.float32]:
    """The values of a chunk as float32 [E].

    A *view* when the chunk is one piece of a float32 array, else a copy: read it, never write to it
    (put_chunk_ and add_chunk_ write).
    """
    flat = views(arrays, chunk)
    if len(flat) == 1:
        view: NDArray[np.float32] = flat[0].astype(np.float32, copy=False)
        return view
    taken_E = np.empty(num_elements(chunk), np.float32)
    for target, source in zip(_split(taken_E, chunk), flat, strict=True):
        np.copyto(target, source, casting="same_kind")
    return taken_E


def put_chunk_(arrays: Mapping[str, NDArray[Any]], chunk: Chunk, values_E: NDArray[Any]) -> None:
    """Overwrite a chunk in place.

    Raises:
        ValueError: values_E has another number of elements, or an array does not fit the chunk.
    """
    for target, source in zip(views(arrays, chunk), _split(values_E, chunk), strict=True):
        np.copyto(target, source, casting="same_kind")


def add_chunk_(arrays: Mapping[str, NDArray[Any]], chunk: Chunk, values_E: NDArray[Any]) -> None:
    """Add to a chunk in place.

    Raises:
        ValueError: values_E has another number of elements, or an array does not fit the chunk.
    """
    for target, source in zip(views(arrays, chunk), _split(values_E, chunk), strict=True):
        np.add(target, source, out=target, casting="same_kind")


def views(arrays: Mapping[str, NDArray[Any]], chunk: Chunk) -> list[NDArray[Any]]:
    """Each piece of a chunk as a flat view of its array; writing to it writes to the array.

    Raises:
        ValueError: an array is missing, shorter than the chunk says, of another shape or not contiguous.
    """
    return [_view(arrays, piece) for piece in chunk]


def _view(arrays: Mapping[str, NDArray[Any]], piece: Piece) -> NDArray[Any]:
    array = arrays.get(piece.name)
    if array is None:
        raise ValueError(f"there is no array {piece.name}")
    fits = array.size >= piece.stop if piece.shape is None else array.shape == piece.shape
    if not fits:
        raise ValueError(f"{piece.name} has shape {array.shape}, and the chunk expects {piece}")
    if not array.flags.c_contiguous:  # reshape would make a copy, and writes to it would be lost
        raise ValueError(f"{piece.name} is not contiguous: use np.ascontiguousarray")
    return array.reshape(-1)[piece.start : piece.stop]


def _split(values_E: NDArray[Any], chunk: Chunk) -> list[NDArray[Any]]:
    """Values of a chunk as one view for each piece."""
    if values_E.shape != (num_elements(chunk),):
        raise ValueError(f"values have shape {values_E.shape}, and the chunk {num_elements(chunk)} elements")
    parts: list[NDArray[Any]] = []
    position = 0
    for piece in chunk:
        parts.append(values_E[position : position + piece.num_elements])
        position += piece.num_elements
    return parts
