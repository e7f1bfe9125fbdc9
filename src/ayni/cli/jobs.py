"""`ayni jobs submit|list|withdraw|explain`: jobs that wait for machines of the pool.

Not covered: running them. `ayni run` works on this machine, at once.
"""

from pathlib import Path
from typing import Annotated

import typer

from ayni.cli import terminal
from ayni.cli.offers import JsonOption
from ayni.cli.run import JobArgument, SetOption

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Jobs that wait for machines of a pool: submit, list, withdraw, explain.",
)


@app.command("submit")
def submit_job(
    job: JobArgument,
    *,
    worth: Annotated[
        float | None,
        typer.Option(
            metavar="CREDITS",
            help="What the result is worth to you: no price is above it. By default bid.worth, else "
            "limits.credits.",
            show_default=False,
        ),
    ] = None,
    work: Annotated[
        float | None,
        typer.Option(
            metavar="HOURS",
            help="Work of all machines together, in hours of one V100. By default the plan's hours times "
            "site.throughput, which tries a few steps of training.",
            show_default=False,
        ),
    ] = None,
    set_: SetOption = None,
    id_: Annotated[
        str | None,
        typer.Option(
            "--id", metavar="ID", help="What it is called; after the job by default.", show_default=False
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Submit a job to the pool: it waits for a round with what it is worth and within which limits.

    The budget is limits.credits, the carbon cap limits.carbon_grams; the rest is below `bid` in the job.

    For example:

    - `ayni jobs submit job.yaml --work 12 --worth 20`
    - `ayni jobs submit job.yaml --set bid.done_within=6h --set site.throughput=0.05`
    """
    with terminal.progress(f"Submitting {job}"):
        from ayni.wiring import market as wiring
        from ayni.workflows.submit_job import SubmitRequest

        request = SubmitRequest(work_reference_hours=work, worth_credits=worth, id=id_)
        found = wiring.pool().submit(Path(job), tuple(set_ or ()), request)
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import pool_tables

    for part in pool_tables.submitted_parts(found):
        terminal.show(part)


@app.command("list")
def list_jobs(
    all_: Annotated[bool, typer.Option("--all", help="Also those that are withdrawn, late or done.")] = False,
    json: JsonOption = False,
) -> None:
    """List the jobs of the pool, the oldest first.

    For example:

    - `ayni jobs list`
    - `ayni jobs list --all --json`
    """
    from ayni.wiring import market as wiring

    current = ("waiting", "placed", "running")
    jobs = [each for each in wiring.pool().jobs() if all_ or each["state"] in current]
    if json:
        terminal.print_json(jobs)
    elif not jobs:
        typer.echo("No job waits. Submit one with: ayni jobs submit job.yaml --work HOURS --worth CREDITS")
    else:
        from ayni.cli import pool_tables

        terminal.show(pool_tables.jobs_table(jobs))


@app.command("withdraw")
def withdraw_job(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The id of the job.")],
    json: JsonOption = False,
) -> None:
    """Take a job back. It stays in the list of all, with the time.

    Example: `ayni jobs withdraw digits`
    """
    from ayni.wiring import market as wiring

    found = wiring.pool().withdraw_job(job)
    if json:
        terminal.print_json(found)
    else:
        typer.echo(f"Withdrawn: {found['id']}.")


@app.command("explain")
def explain_job(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The id of the job.")],
    json: JsonOption = False,
) -> None:
    """Say what a job would get in a round now and why: who goes before it, and what would change that.

    Of a job that has a place, or is done, say what the place was expected to save of carbon, and has saved.

    For example:

    - `ayni jobs explain digits`
    - `ayni jobs explain digits --json`
    """
    from ayni.wiring import market as wiring

    found = wiring.pool().explain(job)
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import pool_tables

    for part in pool_tables.explanation_parts(found):
        terminal.show(part)
