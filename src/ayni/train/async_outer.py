"""Outer steps without a barrier: each update is taken in when it comes, in place, chunk by chunk.

Learners are at work from different versions of the model, so that an update may be stale, and a momentum
that moved with every one of them would move N times too fast: plain Nesterov diverges.

Each method keeps one array beside each parameter, so that with the model itself twice the model is held.

Buffers (running means and variances) take no part in momentum or rate: each update moves them by 1/N of
its way, so that they follow the mean of the learners.

Legend: E elements of a piece of a chunk; N length of a buffer, in updates.
"""

import math
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ayni.train.diloco import parts_of, state_of, view_of
from ayni.train.layout import Chunk, Piece
from ayni.train.named_arrays import NamedArrays


class DelayedNesterov:
    """Delayed Nesterov: gradient steps at once, momentum once in N updates. Fulfils OuterMethod.

        updates 1 .. N-1:  buf <- buf + g;  theta <- theta - eta g/N
        each N-th update:  buf <- buf + g;  m <- beta m + buf/N;
                           theta <- theta - eta (g/N + beta m);  buf <- 0

    buf and m are kept as one array a, which is m at the end of each buffer: the first update of a buffer
    makes it beta a + g/N, each later one a + g/N. With beta = 0 nothing is kept, and it is plain
    asynchronous descent: theta <- theta - eta g/N.

    Source: Liu et al., "Asynchronous Local-SGD Training for Language Modeling", 2024, algorithm 3,
    arXiv:2401.09135, with c = 0. The paper keeps buf and m apart; the steps are the same.
    """

    def __init__(
        self,
        *,
        learning_rate: float,
        momentum: float,
        buffer_size: int,
        plain_names: frozenset[str] = frozenset(),
    ) -> None:
        self._learning_rate, self._momentum, self._plain_names = learning_rate, momentum, plain_names
        self._buffer_size = buffer_size
        self._num_taken = 0
        self._momenta: NamedArrays = {}

    @property
    def groups(self) -> dict[str, NamedArrays]:
        """The array a by name."""
        return {"momentum": self._momenta}

    def begin(self, *, staleness: int = 0) -> None:
        """The next update of the buffer; its staleness counts nothing here, the cap is AsyncRounds'."""
        self._num_taken = self._num_taken % self._buffer_size + 1

    def apply_(self, parameters: NamedArrays, chunk: Chunk, delta_E: NDArray[Any]) -> None:
        """Take one chunk of the update into the parameters."""
        for piece, part_E in parts_of(chunk, delta_E):
            self._step_(parameters, piece, part_E / self._buffer_size)

    def _step_(self, parameters: NamedArrays, piece: Piece, share_E: NDArray[Any]) -> None:
        """`share_E` is g/N, and ours to write into."""
        theta_E = view_of(parameters, piece)
        if piece.name in self._plain_names:
            theta_E -= share_E
            return
        if self._momentum > 0:
            momentum_E = state_of(self._momenta, parameters, piece)
            if self._num_taken == 1:
                momentum_E *= self._momentum
            momentum_E += share_E
            if self._num_taken == self._buffer_size:
                share_E += self._momentum * momentum_E
        share_E *= self._learning_rate
        theta_E -= share_E

    def end(self) -> bool:
        """Every update changes the model."""
        return True

    def to_json(self) -> dict[str, int]:
        """Updates in the buffer; N is as good as none."""
        return {"num_taken": self._num_taken}

    def load(self, state: Mapping[str, Any], groups: Mapping[str, NamedArrays]) -> None:
        """Go on in the middle of a buffer."""
        self._num_taken = int(state.get("num_taken", 0))
        self._momenta = groups.get("momentum", {})


class FedBuff:
    """Waits for K updates, then steps over their mean, old ones weighted less. Fulfils OuterMethod.

        buf <- buf + s(tau) g,  s(tau) = 1 / sqrt(1 + tau)
        each K-th update:  theta <- theta - eta buf / K;  buf <- 0

    tau is the number of versions that the model moved on since the base of the update.

    Source: Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", AISTATS 2022,
    algorithm 1 and section 5, arXiv:2106.06639. Others divide by 1 + sqrt(tau), which is not the paper's.
    """

    def __init__(
        self, *, learning_rate: float, buffer_size: int, plain_names: frozenset[str] = frozenset()
    ) -> None:
        self._learning_rate, self._plain_names = learning_rate, plain_names
        self._buffer_size = buffer_size
        self._num_taken = 0
        self._weight = 1.0
        self._sums: NamedArrays = {}

    @property
    def groups(self) -> dict[str, NamedArrays]:
        """The weighted sum of the updates in the buffer, by name."""
        return {"buffer": self._sums}

    def begin(self, *, staleness: int = 0) -> None:
        """The next update of the buffer, and how old its base is in versions."""
        if staleness < 0:
            raise ValueError(f"staleness must be at least 0, not {staleness}")
        self._num_taken = self._num_taken % self._buffer_size + 1
        self._weight = 1 / math.sqrt(1 + staleness)

    def apply_(self, parameters: NamedArrays, chunk: Chunk, delta_E: NDArray[Any]) -> None:
        """Take one chunk of the update into the buffer, and a full buffer into the parameters."""
        for piece, part_E in parts_of(chunk, delta_E):
            sum_E = state_of(self._sums, parameters, piece)
            sum_E += self._weight * part_E
            if self._num_taken == self._buffer_size:
                rate = 1.0 if piece.name in self._plain_names else self._learning_rate
                sum_E *= rate / self._buffer_size
                theta_E = view_of(parameters, piece)
                theta_E -= sum_E
                sum_E[:] = 0

    def end(self) -> bool:
        """Whether this update filled the buffer."""
        return self._num_taken == self._buffer_size

    def to_json(self) -> dict[str, int]:
        """Updates in the buffer; K is as good as none."""
        return {"num_taken": self._num_taken}

    def load(self, state: Mapping[str, Any], groups: Mapping[str, NamedArrays]) -> None:
        """Go on with a buffer that is partly full."""
        self._num_taken = int(state.get("num_taken", 0))
        self._sums = groups.get("buffer", {})
