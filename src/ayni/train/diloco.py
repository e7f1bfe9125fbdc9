"""DiLoCo's outer step: many local steps, then one Nesterov step over the merged updates, in place.

        Delta_m = theta - theta_m                 update of learner m: base minus local parameters
        Delta   = what the merge rule makes of them (merge.py), for instance their mean
        b      <- mu b + Delta
        theta  <- theta - eta (Delta + mu b)

Buffers (running means and variances) are averaged plainly, eta = 1 and mu = 0: with momentum a
variance could become negative. eta = 1, mu = 0 for the parameters too is plain averaging, and what
strategy "sync" uses, whose learners stepped together already.

Everything works on a chunk at a time (layout.py), so that beside theta and b no copy of the model is
needed.

Legend: E elements of a chunk, or of a part of it.

Source: Douillard et al., "DiLoCo: Distributed Low-Communication Training of Language Models", 2023,
algorithm 1, arXiv:2311.08105. The paper says nothing of buffers; that part is ours.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayni.train.layout import Chunk, Piece, views
from ayni.train.named_arrays import NamedArrays

# Elements that one pass works on: theta, b, Delta and the scratch of so many stay in a core's cache.
_BLOCK = 1 << 15


def nesterov_step_(
    theta_E: NDArray[Any],
    momentum_E: NDArray[Any],
    delta_E: NDArray[Any],
    *,
    learning_rate: float,
    momentum: float,
) -> None:
    """One outer step, in place on theta and the momentum; the update is only read.

    Equal to torch.optim.SGD(lr=learning_rate, momentum=momentum, nesterov=True) with Delta as gradient.
    """
    scratch_B = np.empty(min(_BLOCK, len(theta_E)), dtype=theta_E.dtype)
    for start in range(0, len(theta_E), _BLOCK):
        block = slice(start, start + _BLOCK)
        theta_B, momentum_B, delta_B = theta_E[block], momentum_E[block], delta_E[block]
        step_B = scratch_B[: len(theta_B)]
        momentum_B *= momentum
        momentum_B += delta_B
        np.multiply(momentum_B, momentum, out=step_B)
        step_B += delta_B
        step_B *= learning_rate
        theta_B -= step_B


def plain_step_(theta_E: NDArray[Any], delta_E: NDArray[Any], *, learning_rate: float = 1.0) -> None:
    """Plain descent, theta <- theta - eta Delta, in place; the update is only read."""
    if learning_rate == 1.0:
        theta_E -= delta_E
        return
    for start in range(0, len(theta_E), _BLOCK):
        theta_E[start : start + _BLOCK] -= learning_rate * delta_E[start : start + _BLOCK]


def parts_of(chunk: Chunk, delta_E: NDArray[Any]) -> Iterator[tuple[Piece, NDArray[Any]]]:
    """Each piece of a chunk with its part of the chunk's values."""
    start = 0
    for piece in chunk:
        end = start + piece.stop - piece.start
        yield piece, delta_E[start:end]
        start = end


def view_of(arrays: NamedArrays, piece: Piece) -> NDArray[Any]:
    """Flat writable view of one piece."""
    return views(arrays, (piece,))[0]


def state_of(state: NamedArrays, parameters: NamedArrays, piece: Piece) -> NDArray[Any]:
    """Flat writable view of a piece of an outer method's state, which begins as zeros.

    Zeros cost no memory before they are written: the kernel hands out pages on the first touch. Pieces of
    one tensor may be asked for in several threads.
    """
    if piece.name not in state:
        like = parameters[piece.name]
        # setdefault, because another thread may have come first.
        state.setdefault(piece.name, np.zeros(like.shape, dtype=like.dtype))
    return view_of(state, piece)


class Nesterov:
    """The outer step of strategies diloco, streaming and sync. Fulfils ayni.train.outer.OuterMethod.

    Without momentum it keeps no state.
    """

    def __init__(
        self, *, learning_rate: float, momentum: float, plain_names: frozenset[str] = frozenset()
    ) -> None:
        self._learning_rate, self._momentum, self._plain_names = learning_rate, momentum, plain_names
        self._momenta: NamedArrays = {}

    @property
    def groups(self) -> dict[str, NamedArrays]:
        """The momentum b by name."""
        return {"momentum": self._momenta}

    def begin(self, *, staleness: int = 0) -> None:
        """Nothing to prepare: the updates of a merge share one base, and each merge is a step."""

    def apply_(self, parameters: NamedArrays, chunk: Chunk, delta_E: NDArray[Any]) -> None:
        """Take the merged update of one chunk into the parameters."""
        for piece, part_E in parts_of(chunk, delta_E):
            self._step_(parameters, piece, part_E)

    def _step_(self, parameters: NamedArrays, piece: Piece, delta_E: NDArray[Any]) -> None:
        theta_E = view_of(parameters, piece)
        if piece.name in self._plain_names:
            plain_step_(theta_E, delta_E)
        elif self._momentum == 0:
            plain_step_(theta_E, delta_E, learning_rate=self._learning_rate)
        else:
            momentum_E = state_of(self._momenta, parameters, piece)
            rates = {"learning_rate": self._learning_rate, "momentum": self._momentum}
            nesterov_step_(theta_E, momentum_E, delta_E, **rates)

    def end(self) -> bool:
        """Every merge changes the model."""
        return True

    def to_json(self) -> dict[str, int]:
        """No counters."""
        return {}

    def load(self, state: Mapping[str, Any], groups: Mapping[str, NamedArrays]) -> None:
        """Go on with the momentum of a checkpoint."""
        self._momenta = groups.get("momentum", {})
