"""Whether one kind of run takes less energy than another, or whether nobody can tell.

Both sides are runs: all those of a job by its name, or one by its id. Where all were metered on one node
by one meter, its error is in all of them alike and only how they repeat themselves is looked at, five of each
at least. Else, and with fewer, the whole intervals of their means are compared.

Not covered: runs of which a part is unknown, which are left out and named, and figures of other tools.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from ayni.errors import UserError
from ayni.footprint.impacts.comparison import MIN_REPEATS, Comparison, compare_quantities, compare_repeats
from ayni.footprint.impacts.quantities import Quantity
from ayni.footprint.sums.entries import RECEIPT, FootprintEntry
from ayni.footprint.sums.kept_footprints import KeptFootprint, read_kept_leniently
from ayni.footprint.sums.totals import total_of
from ayni.settings import Settings, read_settings
from ayni.units import MICROJOULES_PER_JOULE
from ayni.workflows.footprint_references import find_footprint, kept_folders


class NothingToCompareError(UserError):
    """No run of one side has an energy that is known and above 0."""

    def __init__(self, reference: str, num_left_out: int) -> None:
        self.reference = reference
        super().__init__(
            f"No run of {reference!r} has a known energy above 0 ({num_left_out} were looked at). Meter "
            "some, for example with `ayni footprint run --name NAME -- COMMAND`."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """The runs of one side: joules with their ends, and by which meter of which node."""

    reference: str
    energies: tuple[Quantity, ...]
    meters: frozenset[tuple[str, str, str]]
    left_out: tuple[str, ...]

    @property
    def mean(self) -> Quantity:
        """The mean run, its ends the means of theirs."""
        ends = [fmean(getattr(each, end) for each in self.energies) for end in ("value", "low", "high")]
        return Quantity(value=ends[0], low=ends[1], high=ends[2])

    def to_json(self) -> dict[str, Any]:
        return {
            "reference": self.reference,
            "runs": len(self.energies),
            "joules": self.mean.to_json(),
            "tiers": sorted({tier for _, tier, _ in self.meters}),
            "nodes": sorted({node for node, _, _ in self.meters}),
            "left_out": list(self.left_out),
        }


def compare_footprints(first: str, second: str, *, home: Path | None = None) -> dict[str, Any]:
    """How the energy of the runs of `first` compares with that of `second`; keys: docs/footprint.md.

    Each is the name of a job, or the id of a run or measurement, the beginning of one, `latest` or a path.

    Raises:
        FootprintNotFoundError: nothing has this name.
        NothingToCompareError: no run of it has a known energy.
    """
    settings = read_settings(home=home)
    sides = [_side(reference, settings) for reference in (first, second)]
    comparison = _compared(*sides)
    return {"first": sides[0].to_json(), "second": sides[1].to_json(), "comparison": comparison.to_json()}


def _compared(first: _Side, second: _Side) -> Comparison:
    is_one_meter = len(first.meters | second.meters) == 1
    if is_one_meter and min(len(first.energies), len(second.energies)) >= MIN_REPEATS:
        values = [[each.value for each in side.energies] for side in (first, second)]
        return compare_repeats(*values)
    return compare_quantities(first.mean, second.mean)


def _side(reference: str, settings: Settings) -> _Side:
    kept = _runs_of(reference, settings)
    energies, meters, left_out = [], set(), []
    for each in kept:
        entries = [entry for entry in each.entries if entry.origin == RECEIPT]
        energy = _joules(entries)
        if energy is None or each.problems or energy.low <= 0:
            left_out.append(each.name)
            continue
        energies.append(energy)
        meters |= {(entry.node, entry.tier, entry.meter) for entry in entries}
    if not energies:
        raise NothingToCompareError(reference, len(left_out))
    return _Side(
        reference=reference,
        energies=tuple(energies),
        meters=frozenset(meters),
        left_out=tuple(left_out),
    )


def _runs_of(reference: str, settings: Settings) -> list[KeptFootprint]:
    """All runs of a job of this name; else the one run that the reference means."""
    every = [read_kept_leniently(folder) for folder in kept_folders(settings)]
    of_job = [kept for kept in every if any(entry.job == reference for entry in kept.entries)]
    return of_job or [read_kept_leniently(find_footprint(reference, settings))]


def _joules(entries: Sequence[FootprintEntry]) -> Quantity | None:
    energy = total_of(entries).energy.amount if entries else None
    quantity = None if energy is None else energy.quantity()
    return None if quantity is None else quantity.times(1 / MICROJOULES_PER_JOULE)
