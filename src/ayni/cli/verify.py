"""`ayni verify`: check a run's signatures, chain, sums and files from the files alone."""

from typing import Annotated

import typer

from ayni.cli import terminal


def verify(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run's id, the beginning of it, `latest`, or a run's folder."),
    ] = "latest",
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Check that nothing of a run was changed: signatures, chain of receipts, sums, hashes of files.

    Needs only the run's files. Exit code 1 when a check fails.

    Example: `ayni verify latest`
    """
    from ayni import wiring

    found = wiring.verify(run)
    if json:
        terminal.print_json(found)
    else:
        for check in found["checks"]:
            mark, colour = ("ok", "green") if check["ok"] else ("FAILED", "red")
            typer.secho(f"{mark:<7}", fg=colour, nl=False)
            typer.echo(f"{check['name']}: {check['detail']}" if check["detail"] else check["name"])
        num_failed = sum(not check["ok"] for check in found["checks"])
        if found["ok"]:
            typer.echo(f"The run {found['run']} is as it was written.")
        else:
            terminal.complain(f"{num_failed} of {len(found['checks'])} checks of {found['run']} failed.")
    if not found["ok"]:
        raise typer.Exit(1)
