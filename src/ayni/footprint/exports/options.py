"""What an export may be told beyond its receipts, and the errors that exports share.

Not covered: guessing. What nobody says is left out or said to be unknown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ayni.errors import UserError
from ayni.footprint.impacts.sci import UNIT_SIZES, FunctionalUnit
from ayni.footprint.sums.entries import THIRD_PARTY, FootprintEntry, without_nested

RUN_UNIT = "run"


class NothingToExportError(UserError):
    """Figures of another tool were to be exported as if they had been metered here."""

    def __init__(self) -> None:
        super().__init__(
            "These figures were imported from another tool and are not exported: their reader would take "
            "them for metered ones. Use the file that they came from."
        )


class UnknownFigureError(UserError):
    """A form needs a number that is unknown."""

    def __init__(self, form: str, figure: str, parts: Sequence[str]) -> None:
        self.figure = figure
        self.parts = tuple(parts)
        super().__init__(
            f"{form} needs a number, and the {figure} of {', '.join(parts[:5])} is unknown: no counter could "
            "tell. Choose --as sci or --as prometheus, which can leave it out."
        )


class UnitError(UserError):
    """A functional unit is not one, or receipts count by different ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What only the user knows; None is not said.

    Attributes:
        unit: what the work is counted by.
        training_type: of a model card, `pre-training` or `fine-tuning`.
        hardware: what the work ran on, in words.
        stage, family: of a BoAmps report, such as `training` and `image classification`.
        confidentiality: of a BoAmps report.
    """

    unit: FunctionalUnit | None = None
    training_type: str | None = None
    hardware: str | None = None
    stage: str | None = None
    family: str | None = None
    confidentiality: str = "internal"


def parse_unit(text: str) -> FunctionalUnit:
    """`1k images=2500` -> 2,500 images, counted in thousands.

    Raises:
        UnitError: not a unit and its count.
    """
    name, equals, count = text.partition("=")
    try:
        if not equals:
            raise ValueError(f"{text!r} has no count")
        return FunctionalUnit(name=name.strip(), count=float(count))
    except ValueError as error:
        raise UnitError(
            f"{error}. Write a functional unit as '1k images=2500': one of {', '.join(UNIT_SIZES)}, and how "
            "many runs, epochs, images, tokens or requests there were."
        ) from error


def to_export(entries: Iterable[FootprintEntry]) -> list[FootprintEntry]:
    """The entries that an export adds up: metered here, and none within another.

    Raises:
        NothingToExportError: another tool measured them.
    """
    given = list(entries)
    if any(entry.origin == THIRD_PARTY for entry in given):
        raise NothingToExportError
    return without_nested(given)[0]


def unit_of(entries: Sequence[FootprintEntry], options: ExportOptions) -> FunctionalUnit:
    """The unit that was asked for, else the one that receipts declare, their counts added; else the runs.

    Raises:
        UnitError: receipts count by different units.
    """
    if options.unit is not None:
        return options.unit
    declared = [entry.unit for entry in entries if entry.unit is not None]
    names = sorted({unit.name for unit in declared})
    if len(names) > 1:
        raise UnitError(
            f"These receipts count by {' and by '.join(names)}. Say which, with its count: "
            f"--unit '{names[0]}=...'"
        )
    if not declared:
        return FunctionalUnit(name=RUN_UNIT, count=len({entry.run for entry in entries}))
    return FunctionalUnit(name=names[0], count=sum(unit.count for unit in declared))


def rounded(value: float, significant: int) -> str:
    """A number with so many significant digits and without powers of ten: 1900, 0.00012."""
    return f"{float(f'{value:.{significant}g}'):.15g}"


def hardware_of(entries: Sequence[FootprintEntry], options: ExportOptions) -> str:
    """What the work ran on: as the user says, else the devices whose making is on the receipts."""
    if options.hardware is not None:
        return options.hardware
    names = dict.fromkeys(str(device["name"]) for entry in entries for device in entry.devices)
    return ", ".join(names) or "unknown"
