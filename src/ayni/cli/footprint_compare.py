"""`ayni footprint compare`: whether one kind of run takes less energy than another.

Not covered: the comparison itself (`ayni.workflows.compare_footprints`).
"""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ayni.cli import terminal
from ayni.cli.runs import JsonOption


def compare(
    first: Annotated[
        str,
        typer.Argument(
            metavar="FIRST",
            help="The name of a job or of a measurement: all its runs; or one run by its id, `latest` or a "
            "path.",
            show_default=False,
        ),
    ],
    second: Annotated[
        str, typer.Argument(metavar="SECOND", help="What it is compared with.", show_default=False)
    ],
    json: JsonOption = False,
) -> None:
    """Compare the energy of two kinds of runs, or say that nobody can tell.

    With five runs of each on one node and one meter, the meter's own error is the same in all of them and
    drops out. Run them in turns. Otherwise the whole intervals decide.

    For example:

    - `ayni footprint run --name small -- python train.py --width 64`, five times, and as often `--name large`
    - `ayni footprint compare small large`
    """
    from ayni.workflows.compare_footprints import compare_footprints

    found = compare_footprints(first, second)
    if json:
        terminal.print_json(found)
        return
    for line in comparison_lines(found):
        typer.echo(line)


def comparison_lines(found: Mapping[str, Any]) -> list[str]:
    """Both sides, and what may be said of them."""
    from ayni.reports import formats

    lines = []
    for side in (found["first"], found["second"]):
        joules = side["joules"]
        mean = formats.joules(joules["value"], joules["low"], joules["high"])
        where = f"{', '.join(side['tiers'])} on {', '.join(side['nodes'])}"
        lines.append(f"{side['reference']}: {mean} a run, of {side['runs']} ({where})")
        lines += [f"  left out, its energy is not known: {name}" for name in side["left_out"]]
    comparison = found["comparison"]
    ratio = f"{comparison['ratio']:.3g} times ({comparison['low']:.3g} to {comparison['high']:.3g})"
    verdict = "Cannot tell"
    if comparison["answer"] != "cannot tell":
        verdict = f"{found['first']['reference']} takes {comparison['answer']}"
    return [*lines, f"{verdict}: {ratio} the energy of {found['second']['reference']}.", comparison["method"]]
