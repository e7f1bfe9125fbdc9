"""One face for all outer methods: how the coordinator's model takes merged updates in.

The coordinator says `begin`, gives each chunk of a merge to `apply_`, says `end`, and knows no formula.
Synchronous strategies merge a round; "async" calls each single update a merge.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from ayni.train.async_outer import DelayedNesterov, FedBuff
from ayni.train.config import TrainConfig
from ayni.train.diloco import Nesterov
from ayni.train.layout import Chunk
from ayni.train.named_arrays import NamedArrays


class OuterMethod(Protocol):
    """Takes updates (base minus local values, merged) into the parameters, in place."""

    @property
    def groups(self) -> dict[str, NamedArrays]:
        """Its arrays, for the checkpoint: group -> name -> array. The arrays themselves, no copies."""
        ...

    def begin(self, *, staleness: int = 0) -> None:
        """A merge begins; `staleness` is how many versions ago its base was the model."""
        ...

    def apply_(self, parameters: NamedArrays, chunk: Chunk, delta_E: NDArray[Any]) -> None:
        """Take one chunk of the merge into the parameters; `delta_E` is only read.

        Each chunk once between `begin` and `end`; with strategy "streaming" only those of a fragment.
        """
        ...

    def end(self) -> bool:
        """The merge is complete; True when it changed the parameters."""
        ...

    def to_json(self) -> dict[str, int]:
        """Its counters, for the checkpoint."""
        ...

    def load(self, state: Mapping[str, Any], groups: Mapping[str, NamedArrays]) -> None:
        """Go on from what `to_json` and `groups` said; the arrays are taken over, not copied."""
        ...


def make_outer(config: TrainConfig, *, plain_names: frozenset[str]) -> OuterMethod:
    """The outer method of a configuration; arrays in `plain_names` (buffers) are averaged plainly."""
    if config.strategy == "sync":
        # Learners that average each gradient end at the same values: those are the new model.
        return Nesterov(learning_rate=1.0, momentum=0.0, plain_names=plain_names)
    rate, options = config.outer_learning_rate, config.asynchronous
    if config.strategy != "async":
        return Nesterov(learning_rate=rate, momentum=config.outer_momentum, plain_names=plain_names)
    size = options.buffer_size or config.learners
    if options.method == "fedbuff":
        return FedBuff(learning_rate=rate, buffer_size=size, plain_names=plain_names)
    momentum = options.momentum if options.method == "delayed_nesterov" else 0.0
    return DelayedNesterov(learning_rate=rate, momentum=momentum, buffer_size=size, plain_names=plain_names)
