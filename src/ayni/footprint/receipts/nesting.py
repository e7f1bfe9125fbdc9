"""Receipts that lie within others, so that a sum counts each microjoule once.

A training that measures itself inside a command that is measured is in both receipts. Which part of the
inner one the outer one holds as well stands in it (`within`); it is left out where the outer one is summed
too, and counted where that is not at hand.

    counted energy = energy - within.energy_microjoules     when a receipt of an outer run overlaps it in time

Not covered: how much of an overlap in time is covered by the outer receipts at hand; one that overlaps is
taken to hold all of it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from ayni.footprint.receipts.receipt import Receipt

# Two meters read their node at moments of their own.
_TOLERANCE = 1.02
_CLOCK = timedelta(seconds=1)


def counted_microjoules(receipts: Sequence[Receipt]) -> list[int | None]:
    """The energy of each receipt that a sum over all of them counts; None where it is unknown."""
    spans: dict[str, list[tuple[datetime, datetime]]] = {}
    for receipt in receipts:
        spans.setdefault(receipt["run"], []).append(_span(receipt))
    return [_counted(receipt, spans) for receipt in receipts]


def counted_share(receipt: Receipt, counted: int | None) -> float:
    """The part of a receipt's other figures (carbon, water, cost) that goes with its counted energy, 0 to 1.

    Where the energy is unknown it is all, or nothing of what an outer receipt holds.
    """
    energy = receipt["energy_microjoules"]
    if counted is None or (energy == 0 and counted == 0):
        return 1.0
    return counted / energy if energy else 0.0


def outer_runs(receipt: Receipt) -> tuple[str, ...]:
    """The runs that a receipt lies within, nearest first."""
    within = receipt["within"]
    return () if within is None else tuple(within["runs"])


def exceeds(inner: Receipt, outer: Sequence[Receipt]) -> bool:
    """Whether more of a receipt is said to lie within a run than that run drew in the same time and longer.

    False where the outer receipts do not reach from its beginning to its end, or energy is unknown.
    """
    inside = inner["within"]["energy_microjoules"]
    drawn = total_microjoules(receipt["energy_microjoules"] for receipt in outer)
    if not outer or inside is None or drawn is None:
        return False
    started, ended = _span(inner)
    spans = [_span(receipt) for receipt in outer]
    first, last = min(first for first, _ in spans), max(last for _, last in spans)
    reaches = first - _CLOCK <= started and ended <= last + _CLOCK
    return bool(reaches and inside > drawn * _TOLERANCE)


def total_microjoules(counted: Iterable[int | None]) -> int | None:
    """The sum; None as soon as one part is unknown."""
    total = 0
    for part in counted:
        if part is None:
            return None
        total += part
    return total


def _counted(receipt: Receipt, spans: dict[str, list[tuple[datetime, datetime]]]) -> int | None:
    energy: int | None = receipt["energy_microjoules"]
    if receipt["within"] is None or not _is_covered(receipt, spans):
        return energy
    inside: int | None = receipt["within"]["energy_microjoules"]
    # An outer run that cannot tell its own energy makes the sum unknown by itself.
    return 0 if energy is None or inside is None else energy - inside


def _is_covered(receipt: Receipt, spans: dict[str, list[tuple[datetime, datetime]]]) -> bool:
    started, ended = _span(receipt)
    return any(
        first < ended and started < last for run in outer_runs(receipt) for first, last in spans.get(run, ())
    )


def _span(receipt: Receipt) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(receipt["started_at"]), datetime.fromisoformat(receipt["ended_at"])
