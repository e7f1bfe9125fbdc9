"""`ayni runs list|show|open|remove`: look at what was run."""

from typing import Annotated

import typer

from ayni.cli import terminal

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="Look at runs: list, show, open, remove."
)

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or `latest`.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]


@app.command("list")
def list_runs(json: JsonOption = False) -> None:
    """List all runs, the newest first.

    Example: `ayni runs list`
    """
    from ayni import wiring

    summaries = wiring.runs_list()
    if json:
        terminal.print_json(summaries)
    elif not summaries:
        typer.echo("There are no runs yet. Start one with: ayni run job.yaml")
    else:
        from ayni.cli import tables

        terminal.show(tables.runs_table(summaries))


@app.command("show")
def show_run(run: RunArgument = "latest", json: JsonOption = False) -> None:
    """Show the result of a run, as far as it got.

    For example:

    - `ayni runs show`
    - `ayni runs show latest --json` prints one object; `docs/run-object.md` names its keys
    """
    from ayni import wiring

    view = wiring.runs_show(run)
    if json:
        terminal.print_json(view)
        return
    from ayni.cli import tables

    for part in tables.run_parts(view):
        terminal.show(part)


@app.command("open")
def open_report(
    run: RunArgument = "latest",
    print_path: Annotated[bool, typer.Option("--print", help="Print the path only.")] = False,
) -> None:
    """Open the report of a run in the browser.

    Example: `ayni runs open latest`
    """
    from ayni import wiring

    path = wiring.runs_report_path(run)
    typer.echo(str(path))
    if not print_path:
        import webbrowser

        if not webbrowser.open(path.as_uri()):
            terminal.complain("No browser was found here. Open the file above in one.")


@app.command("remove")
def remove_run(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id or the beginning of it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a run and its files. What it published stays, and so does what it paid.

    Example: `ayni runs remove 20261122-093000`
    """
    from ayni import wiring

    summaries = wiring.runs_list()
    matches = summaries[:1] if run == "latest" else [one for one in summaries if one["run"].startswith(run)]
    # None or several: the call below says so, and deletes nothing.
    if len(matches) == 1:
        run = matches[0]["run"]
        question = f"Delete the run {run} ({matches[0]['status']}) with its receipts and its report?"
        if not yes and not terminal.ask(question):
            terminal.complain("Nothing was deleted. `--yes` deletes without asking.")
            raise typer.Exit(2)
    wiring.runs_remove(run)
    typer.echo(f"Deleted {run}.")
