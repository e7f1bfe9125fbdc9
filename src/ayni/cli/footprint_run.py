"""`ayni footprint run -- COMMAND ...`: meter any command.

Standard input and output belong to the command, and so does its exit code. What Ayni has to say is one line
on standard error.

Not covered: the work itself, which `ayni.workflows.measure_command` tells.
"""

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ayni.cli import terminal
from ayni.errors import AyniError, UserError

if TYPE_CHECKING:
    from ayni.footprint.impacts.sci import FunctionalUnit
    from ayni.footprint.measuring.run_command import CommandOutcome

# As with env, timeout and docker run: so a failure of ours is none of the command's.
NOT_MEASURED = 125
# What stands behind the command's name is the command's.
CONTEXT_SETTINGS = {"allow_interspersed_args": False, "ignore_unknown_options": False}


class FunctionalUnitError(UserError):
    """`--unit` does not name a functional unit with its number."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"--unit {text!r}: {reason}. For example: --unit '1k images=2500' for 2,500 images.")


def run(
    command: Annotated[
        list[str],
        typer.Argument(metavar="COMMAND", help="The command with its arguments.", show_default=False),
    ],
    *,
    zone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE",
            help="Where the electricity comes from, such as `DE` or `US-CA`; not given is unknown.",
            show_default=False,
        ),
    ] = None,
    pue: Annotated[
        float,
        typer.Option(metavar="PUE", help="Energy of the building over energy of its machines.", min=1.0),
    ] = 1.0,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="What receipts call it; the program by default.", show_default=False
        ),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            metavar="UNIT=NUMBER",
            help="What the command does, for carbon per unit: `run`, `epoch`, `1k images`, `1k tokens` or "
            "`1k requests`, with how many it does: `1k images=2500` for 2,500 images.",
            show_default=False,
        ),
    ] = None,
    reserved_cores: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Cores that the command keeps from others, whose idle power is its own; all that it may use "
            "by default.",
            show_default=False,
        ),
    ] = None,
    gpu: Annotated[
        bool | None,
        typer.Option(
            "--gpu/--no-gpu",
            help="Whether the GPUs of this machine are the command's; found out by default.",
            show_default=False,
        ),
    ] = None,
    grid: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Hourly carbon intensities of the grid. May be given again.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Say the result as one line of JSON on standard error.")
    ] = False,
) -> None:
    """Run a command, and say what it drew: energy with its interval, carbon, and where its receipt is.

    Every process that the command starts is counted, dead ones included. Its input, output, signals and
    exit code are as if you had run it yourself (127 not found, 126 not executable, 128 + n ended by signal
    n); 125 means that it was not started, because it could not be measured.

    For example:

    - `ayni footprint run -- python train.py --epochs 3`
    - `ayni footprint run --zone DE --pue 1.2 --name nightly -- make test`
    - `ayni footprint run --unit "1k images=2500" -- ./classify photos/`
    """
    from ayni.footprint.measuring.command_signals import die_as_interrupted
    from ayni.footprint.measuring.run_command import CommandNotStartedError

    try:
        outcome = _measured(
            command,
            name=name,
            zone=zone,
            pue=pue,
            functional_unit=None if unit is None else functional_unit(unit),
            reserved_cores=reserved_cores,
            uses_gpu=gpu,
            grid_files=tuple(grid or ()),
        )
    except CommandNotStartedError as error:
        terminal.complain(f"ayni: {error}")
        raise typer.Exit(error.shell_exit_code) from error
    except AyniError as error:
        terminal.complain(f"ayni: {error}")
        raise typer.Exit(NOT_MEASURED) from error
    terminal.complain(_as_json(outcome) if json else summary_line(outcome))
    if outcome.ended_by_signal == signal.SIGINT:
        die_as_interrupted()
    raise typer.Exit(outcome.exit_code)


def functional_unit(text: str) -> "FunctionalUnit":
    """`1k images=2500` as a value.

    Raises:
        FunctionalUnitError: not a unit, or not a number.
    """
    from ayni.footprint.impacts.sci import FunctionalUnit

    name, equals, number = text.rpartition("=")
    if not equals:
        raise FunctionalUnitError(text, "it lacks = and a number")
    try:
        return FunctionalUnit(name=name.strip(), count=float(number))
    except ValueError as error:
        raise FunctionalUnitError(text, str(error)) from error


def summary_line(outcome: "CommandOutcome") -> str:
    """The one line that a person sees."""
    parts = [f"ayni: {outcome.footprint or 'no receipt could be written'}"]
    if outcome.footprint is not None:
        wall, cpu = outcome.footprint.wall_seconds, outcome.footprint.cpu_seconds
        parts += [f"{wall:.3g} s", f"{cpu:.3g} s of CPU"]
    if outcome.num_left_running:
        parts += [f"{outcome.num_left_running} of its processes still run, not measured further"]
    return "; ".join([", ".join(parts), *outcome.problems, f"kept in {outcome.folder}"])


def _as_json(outcome: "CommandOutcome") -> str:
    from ayni.files import read_json

    value: dict[str, Any] = {"folder": str(outcome.folder), "problems": list(outcome.problems)}
    return json.dumps({**value, **read_json(outcome.folder / "result.json")})


def _measured(command: list[str], **request: Any) -> "CommandOutcome":
    from ayni.workflows.measure_command import measure_command

    return measure_command(command, **request)
