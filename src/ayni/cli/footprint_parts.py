"""The footprint of a home as two tables and what is to be said of it, for a terminal of 80 columns or more.

Numbers are written by the same functions as on the page, so that both say the same.

Not covered: everything that is known. The page and `--json` have it all.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from ayni.cli.tables import plain_table
from ayni.reports import formats
from ayni.reports.sustainability.headline import lede, title
from ayni.reports.sustainability.tables import (
    bases_of,
    carbon_of,
    energy_text,
    grams_text,
    known_cost,
    name_of,
    watt_hours,
)

Json = Mapping[str, Any]
# Longer ones would leave no room for intervals in 80 columns.
_NAME_WIDTH = 18


def report_parts(view: Json, path: Path | None) -> list[RenderableType]:
    """The report in short; the path of the page is the last line."""
    parts: list[RenderableType] = [title(view), " ".join(lede(view))]
    for key in ("month", "member"):
        if view["entries"]:
            parts += ["", sums_table(key, view[f"by_{key}"])]
    bases = bases_of([view["totals"]])
    if len(bases) > 1:
        parts += ["", *(f"carbon {number}: {basis}" for number, basis in enumerate(bases, start=1))]
    if view["imported_entries"]:
        totals = view["imported"]["totals"]
        parts += ["", f"Imported, in no sum above: {energy_text(totals['energy_microjoules'])}"]
    parts += [f"Not as signed: {problem}" for problem in view["checks"]["problems"]]
    parts += [f"Left out: {problem}" for problem in view["left_out"]]
    return [*parts, "", f"Report: {path}"] if path is not None else parts


def sums_table(key: str, groups: list[Any]) -> Table:
    """Energy, carbon by basis, embodied carbon and cost, a row a group."""
    bases = bases_of(groups)
    carbon = (
        ["carbon"] if len(bases) == 1 else [f"carbon {number}" for number, _ in enumerate(bases, start=1)]
    )
    table = plain_table(key, "energy", *carbon, "embodied", "cost", "tier", gap=1)
    for group in groups:
        table.add_row(_cut(name_of(group, key)), *_cells(group, bases))
    return table


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 1]}\N{HORIZONTAL ELLIPSIS}"


def _cells(group: Json, bases: Iterable[str]) -> Iterable[str]:
    yield energy_text(group["energy_microjoules"])
    for basis in bases:
        total = carbon_of(group, basis)
        yield formats.DASH if total is None else grams_text(total)
    yield grams_text(group["embodied_grams_co2e"]).partition(" (")[0]
    yield formats.credits(known_cost(group["cost"])).replace(f"{formats.NO_BREAK_SPACE}credits", "")
    yield group["tier"]


def import_parts(found: Json) -> list[RenderableType]:
    """What was imported, and what is to be known of it."""
    energy = formats.watt_hours(watt_hours(found["energy_microjoules"]))
    return [
        f"{found['entries']} figures of {found['tool']}: {energy} at the machines, "
        f"{formats.grams(found['grams_co2e'])} CO2e.",
        found["statement"],
        *(f"- {note}" for note in found["notes"]),
        f"Kept as {found['import']}. Reports show it apart; see: ayni footprint report",
    ]
