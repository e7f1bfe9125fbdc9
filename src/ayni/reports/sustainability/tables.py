"""The tables of a sustainability report: sums as cells of text, with what is unknown said below the number.

Not covered: which sums there are (`view`), and how a table looks (the template).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ayni.reports import formats
from ayni.units import MICROJOULES_PER_KWH

Sum = Mapping[str, Any]
Group = Mapping[str, Any]
_MICROJOULES_PER_WATT_HOUR = MICROJOULES_PER_KWH / 1000
NOT_PUBLISHED = "not published"
AT_LEAST = "\N{GREATER-THAN OR EQUAL TO}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A line below a value."""

    text: str
    is_bad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A value as text, and what is to be said of it."""

    label: str
    text: str
    remarks: Sequence[Remark] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row: what it is about, and its cells."""

    name: str
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class SumsTable:
    """Rows of sums, and the sum of all where there are several rows."""

    first: str
    columns: Sequence[str]
    lines: Sequence[Line]
    total: Line | None


def receipts_table(first: str, key: str, groups: Sequence[Group], totals: Group) -> SumsTable:
    """Sums of receipts by month, member, job or model; `key` is the group's name in the object."""
    table = _table(first, key, groups, totals, _receipt_cells)
    # The tier of a tier would be said twice.
    return _without_last_column(table) if key == "tier" else table


def _without_last_column(table: SumsTable) -> SumsTable:
    lines = [replace(line, cells=line.cells[:-1]) for line in table.lines]
    total = None if table.total is None else replace(table.total, cells=table.total.cells[:-1])
    return replace(table, columns=table.columns[:-1], lines=lines, total=total)


def imports_table(first: str, key: str, groups: Sequence[Group], totals: Group) -> SumsTable:
    """Sums of imported figures, which have fewer."""
    return _table(first, key, groups, totals, _import_cells)


def name_of(group: Group, key: str) -> str:
    """A group's name as people read it: Mar 2026 for a month."""
    value = group[key]
    if value is None:
        return NOT_PUBLISHED
    return month_name(value) if key == "month" else str(value)


def month_name(month: str) -> str:
    """Mar 2026 for 2026-03."""
    names = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return f"{names[int(month[5:]) - 1]}{formats.NO_BREAK_SPACE}{month[:4]}"


def watt_hours(microjoules: float | None) -> float | None:
    """Energy of a sum in watt-hours."""
    return None if microjoules is None else microjoules / _MICROJOULES_PER_WATT_HOUR


def energy_text(total: Sum, *, like: float | None = None) -> str:
    """Known energy with its interval, in the unit of bills."""
    value, low, high = (watt_hours(end) for end in _known(total))
    return at_least(total) + formats.watt_hours(value, low, high, like=like)


def grams_text(total: Sum, *, like: float | None = None) -> str:
    """Known grams with their interval."""
    return at_least(total) + formats.grams(*_known(total), like=like)


def litres_text(total: Sum, *, like: float | None = None) -> str:
    """Known litres with their interval."""
    return at_least(total) + formats.litres(*_known(total), like=like)


def at_least(total: Sum) -> str:
    """A sign before what is known of a sum with unknown parts."""
    return AT_LEAST if total["num_unknown"] and total["num_known"] else ""


def remarks_of(total: Sum) -> list[Remark]:
    """How many parts of a sum are unknown, where any are and any are not."""
    unknown, known = total["num_unknown"], total["num_known"]
    if not at_least(total):
        return []
    text = f"{formats.count(unknown)} of {formats.count(unknown + known)} unknown"
    return [Remark(text=text, is_bad=True)]


def largest(groups: Sequence[Group], pick: Callable[[Group], Sum | None]) -> float | None:
    """The largest known value of a column, whose unit the column takes."""
    sums = [total for group in groups if (total := pick(group)) is not None]
    return max((total["known"]["value"] for total in sums if total["known"]), default=None)


def carbon_of(group: Group, basis: str) -> Sum | None:
    """A group's sum on a basis; None when it has none."""
    return next((each["grams_co2e"] for each in group["carbon"] if each["basis"] == basis), None)


def _known(total: Sum) -> tuple[float | None, float | None, float | None]:
    known = total["known"]
    return (None, None, None) if known is None else (known["value"], known["low"], known["high"])


def _table(
    first: str,
    key: str,
    groups: Sequence[Group],
    totals: Group,
    make_cells: Callable[[Group, Sequence[Group]], list[Cell]],
) -> SumsTable:
    lines = [Line(name=name_of(group, key), cells=make_cells(group, groups)) for group in groups]
    # The total takes its own units: it may be larger than every row by far.
    total = Line(name="All", cells=make_cells(totals, [totals])) if len(lines) > 1 else None
    columns = [cell.label for cell in (lines[0].cells if lines else ())]
    return SumsTable(first=first, columns=columns, lines=lines, total=total)


def _receipt_cells(group: Group, groups: Sequence[Group]) -> list[Cell]:
    return [
        Cell(label="Receipts", text=formats.count(group["entries"])),
        *_energy_cells(group, groups),
        *_carbon_cells(group, groups),
        _sum_cell("Embodied, CO2e", group["embodied_grams_co2e"], grams_text, groups, "embodied_grams_co2e"),
        _water_cell(group, groups),
        _cost_cell(group["cost"]),
        Cell(label="Tier", text=group["tier"]),
    ]


def _import_cells(group: Group, groups: Sequence[Group]) -> list[Cell]:
    return [
        Cell(label="Figures", text=formats.count(group["entries"])),
        *_energy_cells(group, groups),
        *_carbon_cells(group, groups),
    ]


def _energy_cells(group: Group, groups: Sequence[Group]) -> list[Cell]:
    columns = (
        ("Energy of the machines", "energy_microjoules"),
        ("Energy of the facility", "facility_energy_microjoules"),
    )
    machines, facility = (_sum_cell(label, group[key], _energy_like, groups, key) for label, key in columns)
    # The same entries are unknown in both.
    return [machines, replace(facility, remarks=())]


def _energy_like(total: Sum, *, like: float | None) -> str:
    return energy_text(total, like=watt_hours(like))


def _carbon_cells(group: Group, groups: Sequence[Group]) -> list[Cell]:
    """One column a basis, so that no column adds what must not be added."""
    bases = bases_of(groups)
    cells = []
    for basis in bases:
        label = "Carbon, CO2e" if len(bases) == 1 else f"Carbon, CO2e: {basis}"
        total = carbon_of(group, basis)
        if total is None:
            cells.append(Cell(label=label, text=formats.DASH))
            continue
        like = largest(groups, partial(carbon_of, basis=basis))
        cells.append(Cell(label=label, text=grams_text(total, like=like), remarks=remarks_of(total)))
    return cells


def bases_of(groups: Sequence[Group]) -> list[str]:
    """The bases of carbon that any of these has."""
    return sorted({each["basis"] for group in groups for each in group["carbon"]})


def _sum_cell(label: str, total: Sum, written: Callable[..., str], groups: Sequence[Group], key: str) -> Cell:
    like = largest(groups, lambda each: each[key])
    return Cell(label=label, text=written(total, like=like), remarks=remarks_of(total))


def _water_cell(group: Group, groups: Sequence[Group]) -> Cell:
    off, on = group["off_site_water_litres"], group["on_site_water_litres"]
    like = largest(groups, lambda each: each["off_site_water_litres"])
    on_site = Remark(text=f"on site {litres_text(on).partition(' (')[0]}")
    return Cell(label="Water", text=litres_text(off, like=like), remarks=[*remarks_of(off), on_site])


def _cost_cell(cost: Mapping[str, Any]) -> Cell:
    if cost["total_microcredits"] is not None:
        return Cell(label="Cost", text=formats.credits(cost["total_microcredits"]))
    remark = Remark(text=f"{formats.count(cost['num_unknown'])} unknown", is_bad=True)
    return Cell(label="Cost", text=formats.credits(known_cost(cost)), remarks=[remark])


def known_cost(cost: Mapping[str, Any]) -> int:
    """Micro-credits of what has a price: all machine time, and the electricity that is known."""
    known: int = cost["known_electricity_microcredits"] + cost["machine_microcredits"]
    return known
