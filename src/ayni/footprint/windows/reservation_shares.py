"""Whose the idle power and the GPUs of a node are when several meters reserve parts of it.

At every instant, for meter i with r_i cores among meters that reserve S together, on a node of R cores:

    idle_i     = I * r_i / max(R, S)
    unreserved = I * (R - S) / R        or 0, where S > R
    neighbours = I - idle_i - unreserved

A meter whose process descends from that of another one is inside it: what it measures, the outer one measures
as well. Its reservation is part of the outer one's and divides that in the same way; only the outer one
counts towards S. An outer reservation is at least as large as the largest inside it. GPUs that several meters
hold are divided alike: each holder has one part.

Reservations begin and end within windows. A window is cut there and each piece is divided by itself, as if
the energy came evenly; the parts are integers of microjoules that add up exactly, and meters that look at the
same pieces agree to the microjoule.

Not covered: which of several GPUs each meter's job uses; processes that left the tree of an outer meter
(double fork) before their own meter began.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ayni.footprint.windows.reservations import Reservation, was_there
from ayni.units import split_exactly

# Parts of a core, and of a GPU, as integers that can be split exactly.
_PARTS = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    """A meter around this one: its job, and whether it counts the GPUs as well."""

    job: str
    has_devices: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for a window's line."""
        return {"run": self.job, "devices": self.has_devices}


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """An amount of energy as one meter sees it: its own job's, other reservations', and nobody's."""

    own: int
    neighbours: int
    unreserved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one meter stands among the reservations of its node in one window [since, until)."""

    own: Reservation
    others: Sequence[Reservation]
    since_seconds: float
    until_seconds: float
    num_cores: int
    _pieces: tuple["_Piece", ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pieces", _pieces_of(self))

    def split_idle(self, microjoules: int) -> Portion:
        """Idle energy of the node, by reserved cores."""
        return self._split(microjoules, capacity=self.num_cores, size=lambda each: each.cores)

    def split_devices(self, microjoules: int) -> Portion:
        """Energy of the node's GPUs, one part for each that holds them."""
        return self._split(microjoules, capacity=1, size=lambda each: int(each.has_devices))

    @property
    def cores(self) -> float:
        """How many of the node's cores are this job's own, after sharing, on average over the window."""
        return self.split_idle(self.num_cores * _PARTS).own / _PARTS

    @property
    def device_share(self) -> float:
        """How much of the GPUs that this job holds is its own, after sharing, on average over the window."""
        return self.split_devices(_PARTS).own / _PARTS

    @property
    def outers(self) -> tuple[Outer, ...]:
        """The meters around this one at any time in the window, the nearest first."""
        found: dict[str, Outer] = {}
        for piece in self._pieces:
            outer = piece.tree.outer_of[self.own.holder]
            while outer is not None:
                found.setdefault(outer.holder, Outer(job=outer.job, has_devices=outer.has_devices))
                outer = piece.tree.outer_of[outer.holder]
        return tuple(found.values())

    def _split(self, microjoules: int, *, capacity: int, size: Callable[[Reservation], int]) -> Portion:
        own = unreserved = 0
        amounts = [microjoules]
        if len(self._pieces) > 1:
            amounts = split_exactly(microjoules, [piece.seconds for piece in self._pieces])
        for amount, piece in zip(amounts, self._pieces, strict=True):
            by_holder, rest = _split_among(amount, piece.tree, capacity=capacity, size=size)
            own, unreserved = own + by_holder[self.own.holder], unreserved + rest
        return Portion(own=own, neighbours=microjoules - own - unreserved, unreserved=unreserved)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    """Who is there at one instant, and who is inside whom; `inner` of None are those inside nobody."""

    outer_of: Mapping[str, Reservation | None]
    inner: Mapping[str | None, Sequence[Reservation]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A part of a window in which nobody came or went."""

    seconds: float
    tree: _Tree


def _pieces_of(standing: Standing) -> tuple[_Piece, ...]:
    since, until = standing.since_seconds, standing.until_seconds
    ends = [end for each in standing.others for end in (each.entered_seconds, each.left_seconds)]
    inside = sorted({end for end in ends if end is not None and since < end < until})
    return tuple(
        _Piece(
            seconds=max(0.0, stop - start),
            tree=_tree_of(
                (standing.own, *(each for each in standing.others if was_there(each, start, stop)))
            ),
        )
        for start, stop in itertools.pairwise([since, *inside, until])
    )


# Window after window it is the same few.
@functools.lru_cache(maxsize=64)
def _tree_of(present: tuple[Reservation, ...]) -> _Tree:
    outer_of = outer_reservations(present)
    inner: dict[str | None, list[Reservation]] = {None: []}
    # In the order of their names, so that every meter comes to the same integers.
    for each in sorted(present, key=lambda each: each.holder):
        outer = outer_of[each.holder]
        inner.setdefault(None if outer is None else outer.holder, []).append(each)
    return _Tree(outer_of=outer_of, inner=inner)


def split_among(
    microjoules: int, reservations: Sequence[Reservation], *, capacity: int
) -> tuple[dict[str, int], int]:
    """What each holder has of the idle energy of `capacity` cores at one instant, and what nobody reserved.

    Those that are in no other, and the rest, add up to the amount exactly; those inside one add up to at
    most what that one has.
    """
    tree = _tree_of(tuple(reservations))
    return _split_among(microjoules, tree, capacity=capacity, size=lambda each: each.cores)


def _split_among(
    microjoules: int, tree: _Tree, *, capacity: int, size: Callable[[Reservation], int]
) -> tuple[dict[str, int], int]:
    shares: dict[str, int] = {}

    def sized(each: Reservation) -> int:
        if each.holder not in tree.inner:
            return size(each)
        return max(size(each), *map(sized, tree.inner[each.holder]))

    def divide(amount: int, among: Sequence[Reservation], room: int) -> int:
        wanted = [sized(each) for each in among]
        *parts, rest = split_exactly(amount, [*wanted, max(0, room - sum(wanted))])
        for each, part, reserved in zip(among, parts, wanted, strict=True):
            shares[each.holder] = part
            if each.holder in tree.inner:
                divide(part, tree.inner[each.holder], reserved)
        return rest

    return shares, divide(microjoules, tree.inner[None], capacity)


def outer_reservations(reservations: Sequence[Reservation]) -> Mapping[str, Reservation | None]:
    """For each holder the reservation nearest around it, of those that are there at the same instant.

    Of several in one process, which all count the whole of it, the later is inside the earlier.
    """
    of_process: dict[str, list[Reservation]] = {}
    for each in sorted(reservations, key=_came):
        of_process.setdefault(each.lineage[0], []).append(each)
    found = {each.holder: _outer_of(each, of_process) for each in reservations}
    for holder in found:
        if _leads_back(holder, found):
            found[holder] = None
    return found


def _outer_of(each: Reservation, of_process: Mapping[str, list[Reservation]]) -> Reservation | None:
    own_process, *ancestors = each.lineage
    if earlier := [other for other in of_process[own_process] if _came(other) < _came(each)]:
        return earlier[-1]
    return next((of_process[process][-1] for process in ancestors if process in of_process), None)


def _leads_back(holder: str, outer_of: Mapping[str, Reservation | None]) -> bool:
    """Whether a reservation is inside itself, as only files that somebody wrote by hand can say."""
    seen = {holder}
    outer = outer_of[holder]
    while outer is not None:
        if outer.holder in seen:
            return True
        seen.add(outer.holder)
        outer = outer_of[outer.holder]
    return False


def _came(reservation: Reservation) -> tuple[float, str]:
    return reservation.entered_seconds, reservation.holder
