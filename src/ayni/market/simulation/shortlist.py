"""Whose bids a round takes up: no more than could fill what is free several times over.

A few machines become free in a slot, and hundreds of jobs wait for them. A round sorts bids by their keys
(see `ayni.market.greedy`), so that those far down neither win nor set what a winner pays: it pays by the next
ones in the order, who are taken up. For each set of sites that bids name:

    kept while   machines of better keys that name no other sites < TIMES_FREE * machines that are free there

Members' own machines are theirs by right, whatever their bids are worth: bids of their owners are taken up
too, by their deadlines, until they could fill the machines as often.

Urgent bids are taken up all the same: they may be served by machines that become free later.

Shapes: N candidates, S sites.

Not covered: machines that are free in some slots in sight only; they count as free.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Sites = frozenset[int] | None
"""The sites that a bid names; None = all of the pool."""

TIMES_FREE = 3


class Candidates(NamedTuple):
    """Jobs that may bid. home_N -1 = the member has no machines.

    is_urgent_N: it is late, or will be if it does not get machines soon; it is always taken up.
    """

    job_N: Integers
    gang_N: Integers
    key_N: Floats
    deadline_N: Floats
    sites: Sequence[Sites]
    home_N: Integers
    is_urgent_N: Flags


def shortlist(candidates: Candidates, free_S: Integers) -> Integers:
    """The places in the list of those who are taken up, in its order. free_S are machines by site."""
    is_taken_N = candidates.is_urgent_N.copy()
    # Both look at patient ones alone, so urgent ones push nobody out.
    by_key, by_right = _by_key(candidates, free_S), _by_right(candidates, free_S)
    is_taken_N[[*by_key, *by_right]] = True
    return np.flatnonzero(is_taken_N)


def _by_key(candidates: Candidates, free_S: Integers) -> list[int]:
    order = np.lexsort((candidates.job_N, -candidates.key_N))
    order = order[~candidates.is_urgent_N[order]]
    everywhere = frozenset(range(len(free_S)))
    sites_of = [everywhere if sites is None else sites for sites in candidates.sites]
    named = {sites_of[number] for number in order.tolist()}
    left = {sites: TIMES_FREE * int(free_S[list(sites)].sum()) for sites in named}
    wider = {sites: [other for other in named if sites <= other] for sites in named}
    kept = []
    for number, gang in zip(order.tolist(), candidates.gang_N[order].tolist(), strict=True):
        if left[sites_of[number]] > 0:
            kept.append(number)
            for other in wider[sites_of[number]]:
                left[other] -= gang
    return kept


def _by_right(candidates: Candidates, free_S: Integers) -> list[int]:
    left_S, home_N = (TIMES_FREE * free_S).tolist(), candidates.home_N
    is_at_home_N = (home_N >= 0) & (free_S[home_N] >= candidates.gang_N) & ~candidates.is_urgent_N
    order = np.lexsort((candidates.job_N, candidates.deadline_N))
    order = order[is_at_home_N[order]]
    kept = []
    columns = (order.tolist(), home_N[order].tolist(), candidates.gang_N[order].tolist())
    for number, home, gang in zip(*columns, strict=True):
        sites = candidates.sites[number]
        if left_S[home] > 0 and (sites is None or home in sites):
            kept.append(number)
            left_S[home] -= gang
    return kept
