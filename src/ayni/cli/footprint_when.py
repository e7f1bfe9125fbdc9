"""`ayni footprint when`: when to run, and what such waiting was worth.

Not covered: the waiting and the start.
"""

from pathlib import Path
from typing import Annotated, Any

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

NEEDS_DATA = 2


def when(
    *,
    hours: Annotated[float, typer.Option(metavar="HOURS", help="How long the work takes.", min=0.01)],
    within: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="When it must be done, from now: `24h`, `2d`, or a number of hours."
        ),
    ] = "24h",
    zone: ZoneOption = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="SERIES",
            help="Hourly data of the zone: Electricity Maps, ENTSO-E, NESO or a plain table. May be given "
            "several times: years, and a forecast.",
            show_default=False,
        ),
    ] = None,
    not_before: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Earliest start: `2026-11-23T06:00`, `06:00` (this machine's clock), or `3h` from now.",
            show_default=False,
        ),
    ] = None,
    waiting_share: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            min=0.0,
            max=1.0,
            help="What the machines draw while they wait, over what they draw at work: 0 where others use "
            "them or they sleep, about 0.3 for a server that idles. It is charged to the job.",
        ),
    ] = 0.0,
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="Ask Electricity Maps over the network, with the token in `AYNI_ELECTRICITY_MAPS_TOKEN`. "
            "Without this nothing is ever asked.",
        ),
    ] = False,
    counting: CountingOption = None,
    unit: UnitOption = "g/kWh",
    time_zone: TimeZoneOption = None,
    now: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Ask as of another time, to look back.", show_default=False),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the hours and the past savings, as SVG.", show_default=False),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say when to run: in which hours the same work weighs least, and whether such waiting ever paid.

    The rule that chooses is replayed over all hours of the files, so that beside the saving that is promised
    stands what such promises were worth: the mean, the spread over single jobs, and the share that got
    worse. Where that is below 5 % the answer is "no use". Exit code 2 when hourly data are missing.

    For example:

    - `ayni footprint when --hours 4 --within 24h --zone DE --file DE_2026_hourly.csv`
    - `ayni footprint when --hours 4 --zone US-CAL-CISO` needs no file: what is usual there is shipped
    - `ayni footprint when --hours 2 --within 2d --zone FR --live --plot when.svg`
    """
    from ayni.wiring import footprint as footprint_wiring
    from ayni.workflows.advise_start import StartRequest

    request = StartRequest(
        hours=hours,
        within=within,
        zone=zone,
        files=tuple(file or ()),
        not_before=not_before,
        counting=None if counting is None else counting.value,
        unit=unit,
        time_zone=time_zone,
        waiting_share=waiting_share,
    )
    with hint_at_file_options():
        view = footprint_wiring.when(request, live=live, now=now)
    if plot is not None:
        _draw(view, plot)
    if json:
        terminal.print_json(view)
    else:
        from ayni.cli import footprint_when_parts

        for part in footprint_when_parts.when_parts(view):
            terminal.show(part)
    if view["verdict"] == "needs data":
        raise typer.Exit(NEEDS_DATA)


def _draw(view: dict[str, Any], path: Path) -> None:
    from ayni.wiring import footprint as footprint_wiring

    if footprint_wiring.draw_when(view, path):
        terminal.complain(f"Drawn: {path}")
    else:
        terminal.complain(f"{path} was not drawn: no hour to come is known.")
