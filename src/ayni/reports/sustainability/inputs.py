"""What a sustainability report is made from, and which of it a period takes.

An entry counts in the month of UTC in which it began.

Not covered: reading a home (`ayni.workflows.footprint_report`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ayni.errors import UserError
from ayni.footprint.sums.entries import FootprintEntry, without_nested
from ayni.footprint.sums.kept_footprints import KeptFootprint
from ayni.footprint.sums.third_party import ImportedFile, without_repeats

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


class PeriodError(UserError):
    """A period is not one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """From the first to the last month, both included, as 2026-03; None is open."""

    first: str | None = None
    last: str | None = None

    def __post_init__(self) -> None:
        for month in (self.first, self.last):
            if month is not None and not _MONTH.fullmatch(month):
                raise PeriodError(f"{month!r} is not a month. Write it as 2026-03.")
        if self.first is not None and self.last is not None and self.first > self.last:
            raise PeriodError(f"The period begins in {self.first}, after it ends in {self.last}.")

    def holds(self, month: str) -> bool:
        """Whether a month lies in it."""
        # Months of this form sort as text.
        return (self.first or month) <= month <= (self.last or month)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInputs:
    """Everything of a home, unfiltered.

    Attributes:
        kept: runs and measurements.
        imports: figures of other tools; `import_problems` are sentences on those that cannot be read.
        models: run -> the repository that it published.
        public_key: of this home; None when it has none.
        member: whose entries the report is about; None is everybody's.
    """

    kept: Sequence[KeptFootprint]
    made_at: datetime
    imports: Sequence[ImportedFile] = ()
    import_problems: Sequence[str] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    public_key: str | None = None
    period: Period = Period()
    member: str | None = None
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The entries that a report is about.

    Attributes:
        counted: receipts that are added up.
        nested: receipts within another run, whose energy holds theirs.
        imported: figures of other tools, each run once.
        num_repeats: imported figures that stand in several imports.
    """

    counted: list[FootprintEntry]
    nested: list[FootprintEntry]
    imported: list[FootprintEntry]
    num_repeats: int


def select(inputs: ReportInputs) -> Selection:
    """Take what lies in the period and belongs to the member; oldest first."""
    entries = [
        replace(entry, model=inputs.models.get(entry.run)) for kept in inputs.kept for entry in kept.entries
    ]
    # Whether one lies within another is asked of all: the outer run may have begun in another month.
    counted, nested = without_nested(entries)
    imported, num_repeats = without_repeats(entry for each in inputs.imports for entry in each.entries)
    return Selection(
        counted=_taken(counted, inputs),
        nested=_taken(nested, inputs),
        imported=_taken(imported, inputs),
        num_repeats=num_repeats,
    )


def _taken(entries: Sequence[FootprintEntry], inputs: ReportInputs) -> list[FootprintEntry]:
    taken = [
        entry
        for entry in entries
        if inputs.period.holds(entry.month) and inputs.member in (None, entry.member)
    ]
    return sorted(taken, key=lambda entry: (entry.started_at, entry.run, entry.step))
