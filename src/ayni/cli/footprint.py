"""`ayni footprint ...`: what work drew and weighs, and when to do it.

    footprint_run         meter any command
    footprint_verify      check receipts and windows from files alone
    footprint_compare     whether one kind of run takes less energy than another
    footprint_report      receipts for others, figures of others, and the report of a home
    footprint_when        when to run
    footprint_node        which meter this node has, and how to calibrate it
    footprint_grid        what a file of the grid holds

This file only joins the commands to one group.
"""

import typer

from ayni.cli import (
    footprint_compare,
    footprint_grid,
    footprint_node,
    footprint_report,
    footprint_run,
    footprint_verify,
    footprint_when,
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Know what work draws and weighs: energy, carbon, water and cost.",
)


@app.callback()
def _group() -> None:
    """Know what work draws and weighs: energy, carbon, water and cost."""


app.command("run", context_settings=footprint_run.CONTEXT_SETTINGS)(footprint_run.run)
app.command("verify")(footprint_verify.verify)
app.command("compare")(footprint_compare.compare)
app.command("report")(footprint_report.report)
app.command("export")(footprint_report.export)
app.command("import")(footprint_report.import_figures)
app.command("when")(footprint_when.when)
app.command("meters")(footprint_node.meters)
app.command("calibrate")(footprint_node.calibrate)
app.command("grid")(footprint_grid.grid)
