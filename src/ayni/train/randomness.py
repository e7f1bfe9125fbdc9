"""Random generators: seeds derived from parts, and states that are given back.

A task may draw from Python's, numpy's or torch's global generator. Training sets all three before
user code runs, and leaves the caller's generators as they were.
"""

import contextlib
import hashlib
import random
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import torch

RandomStates: TypeAlias = tuple[Any, Any, torch.Tensor]


def derive_seed(*parts: object) -> int:
    """A 63-bit seed that differs whenever a part differs."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_everything(seed: int) -> None:
    """Set Python's, numpy's and torch's generator, the latter on all devices."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_states() -> RandomStates:
    """States of the three generators (of torch's, the one on the CPU)."""
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def set_random_states(states: RandomStates) -> None:
    """Put the three generators into states that `random_states` returned."""
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


@contextlib.contextmanager
def seeded(*parts: object) -> Iterator[None]:
    """Run the block with generators set from the parts; the caller's states come back afterwards."""
    before = random_states()
    seed_everything(derive_seed(*parts))
    try:
        yield
    finally:
        set_random_states(before)
