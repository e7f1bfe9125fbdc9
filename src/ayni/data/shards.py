"""Which examples go where: splits and shards, the same for the same seed on every machine.

Legend: N examples, S shards.

Not covered: groups of examples that must stay together (variants of one source record: split the records
first), and time.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def split_rows(labels_N: Rows, shares: Mapping[str, float], *, seed: int) -> dict[str, Rows]:
    """Rows of each named share, and of "train" the rest; every class is cut in the same proportion.

    A class gives each share at least one example when it has more than there are shares, so that no class is
    missing where results are judged.

    Raises:
        ValueError: shares are negative or reach 1.
    """
    if any(share < 0 for share in shares.values()) or sum(shares.values()) >= 1:
        raise ValueError(f"shares are 0 or more and together below 1, not {dict(shares)}")
    rng = np.random.default_rng(seed)
    parts: dict[str, list[Rows]] = {name: [] for name in (*shares, "train")}
    asked = {name: share for name, share in shares.items() if share > 0}
    for label in np.unique(labels_N):
        rows = rng.permutation(np.flatnonzero(labels_N == label)).astype(np.int64)
        start = 0
        for name, share in asked.items():
            wanted = round(share * len(rows))
            if len(rows) > len(asked):
                wanted = max(wanted, 1)
            # The last example of a class is for training.
            wanted = min(wanted, len(rows) - 1 - start)
            parts[name].append(rows[start : start + wanted])
            start += wanted
        parts["train"].append(rows[start:])
    empty = np.empty(0, dtype=np.int64)
    return {name: np.sort(np.concatenate([empty, *found])) for name, found in parts.items()}


def stratified_shards(labels_N: Rows, num_shards: int, *, seed: int) -> list[Rows]:
    """S shards with the same mix of classes, each row in one; sizes differ by at most the number of classes.

    Raises:
        ValueError: fewer than one shard, or more than there are rows.
    """
    _check(len(labels_N), num_shards)
    rng = np.random.default_rng(seed)
    # Dealt like cards, class after class, so that no shard gets more than one example more of any class.
    order = np.concatenate(
        [rng.permutation(np.flatnonzero(labels_N == label)) for label in np.unique(labels_N)]
    )
    return [np.sort(order[shard::num_shards]).astype(np.int64) for shard in range(num_shards)]


def dirichlet_shards(labels_N: Rows, num_shards: int, *, alpha: float, seed: int) -> list[Rows]:
    """S shards with different mixes of classes, each row in one: members whose data differ.

    For each class the shards' shares are drawn from Dirichlet(alpha, ..., alpha): 100 is nearly even, 0.1
    gives most members a few classes each. Every shard gets at least one row.

    Source: Hsu, Qi & Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
    Classification", 2019, arXiv:1909.06335. Theirs draws a mix of classes for each client of equal size; ours
    draws shares of each class, so that sizes differ too and no row is left over (as Li et al. 2021 do).

    Raises:
        ValueError: alpha is not above 0, fewer than one shard, or more than there are rows.
    """
    _check(len(labels_N), num_shards)
    if alpha <= 0:
        raise ValueError(f"alpha is above 0, not {alpha}")
    rng = np.random.default_rng(seed)
    parts: list[list[Rows]] = [[] for _ in range(num_shards)]
    for label in np.unique(labels_N):
        rows = rng.permutation(np.flatnonzero(labels_N == label)).astype(np.int64)
        shares = rng.dirichlet(np.full(num_shards, alpha))
        ends = np.round(np.cumsum(shares)[:-1] * len(rows)).astype(np.int64)
        for part, piece in zip(parts, np.split(rows, ends), strict=True):
            part.append(piece)
    shards = [np.concatenate(part) for part in parts]
    for shard in range(num_shards):
        while not len(shards[shard]):
            largest = max(range(num_shards), key=lambda other: len(shards[other]))
            shards[shard], shards[largest] = shards[largest][:1], shards[largest][1:]
    return [np.sort(shard) for shard in shards]


def _check(num_rows: int, num_shards: int) -> None:
    if not 1 <= num_shards <= num_rows:
        raise ValueError(f"{num_rows} rows cannot be cut into {num_shards} shards")
