"""Distances between records: near copies, the distance attack, and the distance to the closest record.

Legend: S generated records, M members (the generator's training data), N non-members, A and B any.

Sources: Chen et al., "GAN-Leaks: a taxonomy of membership inference attacks against generative models",
ACM CCS 2020, arXiv:1909.03935 (distance to the nearest generated record as an attack); "The DCR delusion",
arXiv:2505.01524 (why the distance to the closest record alone is no measure of privacy).

Distances are Euclidean, of tables after each column is divided by the members' standard deviation.

Not covered: distances that know what an image shows.
"""

import numpy as np
from numpy.typing import NDArray

from ayni.data.audit.attack import Scores, Share, share_of
from ayni.data.records import Records

# 2,000 rows against 10,000 take 80 MB as float32.
_ROWS_AT_ONCE = 2000
# A near copy is closer than this share of the 5 % quantile of distances between members.
NEAR_COPY_SHARE = 0.5
NEAR_COPY_QUANTILE = 0.05


def distances_between(a: NDArray[np.float32], b: NDArray[np.float32]) -> Scores:
    """Euclidean distances [A, B] between inputs [A, ...] and [B, ...]."""
    flat_a, flat_b = (x.reshape(len(x), -1).astype(np.float64) for x in (a, b))
    squares = (flat_a**2).sum(1)[:, None] + (flat_b**2).sum(1) - 2 * flat_a @ flat_b.T
    distances: Scores = np.sqrt(np.maximum(squares, 0))
    return distances


def nearest(a: NDArray[np.float32], b: NDArray[np.float32]) -> tuple[Scores, NDArray[np.intp]]:
    """For each of A its distance to the nearest of B, and which that is."""
    distances, places = [], []
    for first in range(0, len(a), _ROWS_AT_ONCE):
        block = distances_between(a[first : first + _ROWS_AT_ONCE], b)
        places.append(block.argmin(axis=1))
        distances.append(block.min(axis=1))
    return np.concatenate(distances), np.concatenate(places)


def scaled_alike(members: Records, *others: Records) -> tuple[NDArray[np.float32], ...]:
    """Inputs of members and of the others; of tables divided by the members' deviation in each column."""
    inputs = [one.inputs for one in (members, *others)]
    if members.inputs.ndim > 2:
        return tuple(inputs)
    deviation = members.inputs.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0).astype(np.float32)
    return tuple(values / scale for values in inputs)


def copy_distance(members: NDArray[np.float32]) -> float:
    """A generated record closer to a member than this is a near copy: half of what is close among members."""
    to_next = []
    for first in range(0, len(members), _ROWS_AT_ONCE):
        block = distances_between(members[first : first + _ROWS_AT_ONCE], members)
        rows = np.arange(len(block))
        block[rows, first + rows] = np.inf
        to_next.append(block.min(axis=1))
    return NEAR_COPY_SHARE * float(np.quantile(np.concatenate(to_next), NEAR_COPY_QUANTILE))


def near_copies(to_member_S: Scores, limit: float) -> Share:
    """Share of generated records closer to a member than `limit`."""
    return share_of(int((to_member_S < limit).sum()), len(to_member_S))


def attack_scores(
    generated: NDArray[np.float32], members: NDArray[np.float32], non_members: NDArray[np.float32]
) -> tuple[Scores, Scores]:
    """Minus the distance of each member [M] and non-member [N] to the nearest generated record."""
    return -nearest(members, generated)[0], -nearest(non_members, generated)[0]


def closer_to_members(
    generated: NDArray[np.float32], members: NDArray[np.float32], non_members: NDArray[np.float32]
) -> Share:
    """Share of generated records that are closer to a member than to any of as many non-members.

    A diagnostic and no gate: a broken generator has the best values of all.
    """
    count = min(len(members), len(non_members))
    to_member, to_other = nearest(generated, members[:count])[0], nearest(generated, non_members[:count])[0]
    return share_of(int((to_member < to_other).sum()), len(generated))
