"""Options that commands on hourly grid data share, and the hint that belongs to them."""

import contextlib
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import typer


class Counting(StrEnum):
    """What figures of carbon count."""

    LIFE_CYCLE = "life-cycle"
    DIRECT = "direct"


ZoneOption = Annotated[
    str | None,
    typer.Option(
        metavar="ZONE",
        help="The electricity grid, such as `DE`, `DE-LU` or `US-CAL-CISO`, as the files name it; the only "
        "zone of a file by default.",
        show_default=False,
    ),
]
CountingOption = Annotated[
    Counting | None,
    typer.Option(
        metavar="WHAT",
        help="`life-cycle` or `direct`: what the figures count. Plain tables do not say it; Electricity Maps "
        "has both, and life-cycle is taken.",
        show_default=False,
    ),
]
UnitOption = Annotated[
    str, typer.Option(metavar="UNIT", help="Unit of a plain table: `g/kWh`, `kg/MWh`, `t/MWh`, `lb/MWh` ...")
]
TimeZoneOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Of times that name no zone, such as `Europe/Berlin`.", show_default=False
    ),
]


@contextlib.contextmanager
def hint_at_file_options() -> Iterator[None]:
    """Say with an error about a grid file which options tell what the file does not."""
    from ayni.footprint.grid.grid_files import GridFileError

    try:
        yield
    except GridFileError as error:
        if error.path.is_file():
            error.add_note(
                "What a file does not say is said by --zone, --counting life-cycle|direct, --unit and "
                "--time-zone."
            )
        raise
