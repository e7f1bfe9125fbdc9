"""How the values of a chunk fall into blocks, each of which a codec gives a scale of its own.

A block has up to 4,096 values and never spans two tensors: a running variance of 100 beside a bias of
0.001 would otherwise cost the bias all its bits.

Shapes: E = elements of a chunk, B = blocks.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_ELEMENTS = 4096


@dataclass(frozen=True, slots=True)
class Blocks:
    """How the values of a chunk fall into blocks: `starts` and `lengths`, both [B].

    `runs` are neighbours of one length, (first block, number of blocks, first element, length): a run is
    a matrix of [blocks, length], so numpy needs one call for it.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    runs: tuple[tuple[int, int, int, int], ...]

    @property
    def num_elements(self) -> int:
        """E of the chunk."""
        return int(self.starts[-1] + self.lengths[-1])

    def matrices(self, values_E: NDArray[Any]) -> list[NDArray[Any]]:
        """The runs of values as views of [blocks, length]."""
        return [
            values_E[start : start + count * length].reshape(count, length)
            for _, count, start, length in self.runs
        ]

    def columns(self, values_B: NDArray[Any]) -> list[NDArray[Any]]:
        """One value a block, as columns that broadcast against `matrices`."""
        return [values_B[first : first + count, None] for first, count, _, _ in self.runs]


@lru_cache(maxsize=256)
def make_blocks(sizes: tuple[int, ...]) -> Blocks:
    """Blocks of tensors with these numbers of elements, one after the other."""
    runs: list[tuple[int, int, int, int]] = []
    position = num_blocks = 0
    for size in sizes:
        for count, length in ((size // BLOCK_ELEMENTS, BLOCK_ELEMENTS), (1, size % BLOCK_ELEMENTS)):
            if count and length:
                runs.append((num_blocks, count, position, length))
                num_blocks += count
                position += count * length
    lengths_B = np.repeat([run[3] for run in runs], [run[1] for run in runs]).astype(np.int64)
    return Blocks(np.cumsum(lengths_B) - lengths_B, lengths_B, tuple(runs))
