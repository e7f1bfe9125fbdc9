"""`ayni footprint meters|calibrate`: which meter this node has, and how to give it a better one.

Not covered: metering itself, which needs none of this.
"""

from pathlib import Path
from typing import Annotated

import typer

from ayni.cli import terminal
from ayni.cli.runs import JsonOption


def meters(
    *,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="How long to measure the power of now; 0: not.")
    ] = 1.0,
    json: JsonOption = False,
) -> None:
    """Show which meters this node has: what is used, what was tried and refused, and how to allow it.

    Nothing is changed and nothing is asked over the network.

    Example: `ayni footprint meters`
    """
    from ayni.wiring import footprint as footprint_wiring

    view = footprint_wiring.meters(seconds=seconds)
    if json:
        terminal.print_json(view)
        return
    from ayni.cli import footprint_node_parts

    for part in footprint_node_parts.meters_parts(view):
        terminal.show(part)


def calibrate(
    *,
    wall_command: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="A command that prints what the machine draws, in watts or joules. Run without a shell.",
            show_default=False,
        ),
    ] = None,
    wall_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A file that holds the same.", show_default=False),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            metavar="UNIT",
            help="Of a number without one: `W`, `mW`, `kW`, `uW`, `J`, `kJ`, `Wh`, `kWh` ...",
            show_default=False,
        ),
    ] = None,
    accuracy: Annotated[
        float, typer.Option(metavar="PERCENT", help="The wall meter's class: within so many per cent.")
    ] = 5.0,
    borrowed: Annotated[
        bool, typer.Option("--borrowed", help="The wall meter goes back afterwards: keep the model alone.")
    ] = False,
    only_setup: Annotated[
        bool, typer.Option("--only-setup", help="Write down where the wall meter is read; run no load.")
    ] = False,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", min=20.0, help="How long all loads take together.")
    ] = 120.0,
    json: JsonOption = False,
) -> None:
    """Fit this node's own power model: known loads run beside a wall meter, or beside RAPL alone.

    From then on the node has tier W2, or W1+ where RAPL was read beside the wall. Calibrate while nothing
    else runs, and again after memory, cooling or power limits were changed.

    For example:

    - `ayni footprint calibrate --wall-command "./read-plug 192.168.1.20" --unit W --borrowed`
    - `ayni footprint calibrate --wall-file /sys/class/hwmon/hwmon3/power1_average --unit uW`
    - `ayni footprint calibrate` takes the wall meter that is set up, else RAPL
    """
    from ayni.workflows.calibrate_node import CalibrateRequest

    request = CalibrateRequest(
        wall_command=wall_command,
        wall_file=wall_file,
        unit=unit,
        accuracy_percent=accuracy,
        seconds=seconds,
        is_borrowed=borrowed,
        is_only_setup=only_setup,
    )
    from ayni.wiring import footprint as footprint_wiring

    try:
        with terminal.progress("Calibrating this node: let nothing else run meanwhile") as progress:
            found = footprint_wiring.calibrate(request, progress=progress)
    except KeyboardInterrupt:
        terminal.complain("Stopped. No model was stored, and one of before stays.")
        raise
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import footprint_node_parts

    for part in footprint_node_parts.calibration_parts(found):
        terminal.show(part)
