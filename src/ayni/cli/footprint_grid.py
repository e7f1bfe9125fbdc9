"""`ayni footprint grid`: what a file of hourly grid data is, or what the network says of the last days.

Not covered: prices.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ayni.cli import terminal
from ayni.cli.grid_options import (
    CountingOption,
    TimeZoneOption,
    UnitOption,
    ZoneOption,
    hint_at_file_options,
)
from ayni.cli.runs import JsonOption

if TYPE_CHECKING:
    from ayni.footprint.grid.basis import Counting


def grid(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Hourly data: Electricity Maps (CSV, JSON), ENTSO-E (CSV, XML), NESO (CSV, JSON), or a "
            "table with a column of times and one for each zone. May end in `.gz`.",
            show_default=False,
        ),
    ] = None,
    *,
    zone: ZoneOption = None,
    counting: CountingOption = None,
    unit: UnitOption = "g/kWh",
    time_zone: TimeZoneOption = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="Instead of a file, ask Electricity Maps over the network, with the token in "
            "`AYNI_ELECTRICITY_MAPS_TOKEN`. Without this nothing is ever asked.",
        ),
    ] = False,
    days: Annotated[
        int, typer.Option(metavar="DAYS", min=1, max=366, help="With `--live`: how many days back.")
    ] = 30,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With `--live`: keep the answer as a file for later.", show_default=False
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say what a file of hourly carbon intensity is: publisher, zones, basis, span, holes, and its usual day.

    For example:

    - `ayni footprint grid DE_2026_hourly.csv`
    - `ayni footprint grid table.csv --zone DE-LU --counting direct --unit kg/MWh`
    - `ayni footprint grid --live --zone FR --days 30 --out fr.json`
    """
    from ayni.wiring import footprint as footprint_wiring

    kind: Counting | None = None if counting is None else counting.value
    if live:
        if file is not None or zone is None:
            raise typer.BadParameter("--live takes --zone and no file.")
        view = footprint_wiring.live_grid(zone, num_days=days, counting=kind, out=out)
    elif file is None:
        raise typer.BadParameter("Which FILE? (Or --live --zone ZONE.)")
    elif out is not None:
        raise typer.BadParameter("--out belongs to --live.")
    else:
        with hint_at_file_options():
            view = footprint_wiring.grid(file, zone=zone, counting=kind, unit=unit, time_zone=time_zone)
    _show(view, as_json=json)


def _show(view: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        terminal.print_json(view)
        return
    from ayni.cli import footprint_grid_parts

    for part in footprint_grid_parts.grid_parts(view):
        terminal.show(part)
