"""Meter a command that is no job: run it, and keep its windows, receipts and result in the home.

Not covered: limits, settling and publishing, which are for jobs.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from ayni.errors import UserError
from ayni.footprint.impacts.sci import FunctionalUnit
from ayni.footprint.measuring.recording import Request
from ayni.footprint.measuring.run_command import CommandOutcome, run_command


class NoMeasurementError(UserError):
    """A measurement was asked for that cannot be."""


def measure_command(
    command: Sequence[str],
    *,
    name: str | None = None,
    zone: str | None = None,
    pue: float = 1.0,
    functional_unit: FunctionalUnit | None = None,
    reserved_cores: int | None = None,
    uses_gpu: bool | None = None,
    grid_files: tuple[Path, ...] = (),
    home: Path | None = None,
) -> CommandOutcome:
    """Run a command to its end and meter it; `name` is its program's by default.

    Raises:
        NoMeasurementError: a name, PUE or number of cores that cannot be.
        CommandNotStartedError: the command cannot be started.
        UserError: the zone, a grid file or the home cannot be used; the command was not started.
    """
    try:
        request = Request(
            # A program may be called `[`, of which no folder could be named.
            name=name or re.sub(r"^\W+$", "command", Path(command[0]).name),
            zone=zone,
            pue=pue,
            functional_unit=functional_unit,
            reserved_cores=reserved_cores,
            uses_gpu=uses_gpu,
            grid_files=grid_files,
            home=home,
        )
    except ValueError as error:
        raise NoMeasurementError(f"{error}.") from error
    return run_command(command, request)
