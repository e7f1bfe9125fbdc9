"""Whose bids a round takes up: no more than could fill what is free several times over.

A few machines become free in a slot, and hundreds of jobs wait for them. A round sorts bids by their keys
(see `ayni.market.greedy`), so that those far down neither win nor set what a winner pays: it pays by the next
ones in the order, who are taken up. For each set of sites that bids name:

    kept while   machines of better keys that name no other sites < TIMES_FREE * machines that are free there

Members' own machines are theirs by right, whatever their bids are worth: bids of their owners are taken up
too, by their deadlines, until they could fill the machines as often.

Urgent bids are taken up all the same: they may be served by machines that become free later.

Not covered: machines that are free in some slots in sight only; they count as free.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TIMES_FREE = 3


class Candidate(NamedTuple):
    """A job that may bid. sites None = all of the pool; home None = its member has no machines.

    is_urgent: it is late, or will be if it does not get machines soon; it is always taken up.
    """

    job: int
    gang: int
    key: float
    deadline: float
    sites: frozenset[int] | None
    home: int | None
    is_urgent: bool = False


def shortlist(candidates: Sequence[Candidate], free_S: NDArray[np.int64]) -> list[Candidate]:
    """Those who are taken up, in the order given. free_S are machines by site."""
    patient = [candidate for candidate in candidates if not candidate.is_urgent]
    kept = _by_key(patient, free_S) | _by_right(patient, free_S)
    return [candidate for candidate in candidates if candidate.is_urgent or candidate.job in kept]


def _by_key(candidates: Iterable[Candidate], free_S: NDArray[np.int64]) -> set[int]:
    everywhere = frozenset(range(len(free_S)))
    named = {everywhere if each.sites is None else each.sites for each in candidates}
    most = {sites: TIMES_FREE * int(free_S[list(sites)].sum()) for sites in named}
    wider = {sites: [other for other in named if sites <= other] for sites in named}
    wanted, kept = dict.fromkeys(named, 0), set()
    for each in sorted(candidates, key=lambda each: (-each.key, each.job)):
        sites = everywhere if each.sites is None else each.sites
        if wanted[sites] < most[sites]:
            kept.add(each.job)
            for other in wider[sites]:
                wanted[other] += each.gang
    return kept


def _by_right(candidates: Iterable[Candidate], free_S: NDArray[np.int64]) -> set[int]:
    most_S, kept = (TIMES_FREE * free_S).tolist(), set()
    at_home = [
        each
        for each in candidates
        if each.home is not None
        and free_S[each.home] >= each.gang
        and (each.sites is None or each.home in each.sites)
    ]
    for each in sorted(at_home, key=lambda each: (each.deadline, each.job)):
        assert each.home is not None
        if most_S[each.home] > 0:
            kept.add(each.job)
            most_S[each.home] -= each.gang
    return kept
