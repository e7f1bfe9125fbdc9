"""`ayni run`, `ayni plan` and `ayni resume`: a job from its file to its result.

Not covered: the work itself, which `ayni.workflows.run_job` tells.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ayni.cli import terminal
from ayni.errors import UserError

INTERRUPTED = 130

JobArgument = Annotated[Path, typer.Argument(help="The job file.", metavar="JOB", show_default=False)]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace a value of the job, for example `train.rounds=5`. May be given again.",
        show_default=False,
    ),
]
YesOption = Annotated[
    bool, typer.Option("--yes", "-y", help="Go on without asking when the plan exceeds a limit of the job.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on standard output.")
]


def run(job: JobArgument, set_: SetOption = None, yes: YesOption = False, json: JsonOption = False) -> None:
    """Run a job: plan, train, compress, explain, publish, settle, report.

    Every step is metered. What is finished is kept: after Ctrl-C or a crash, `ayni resume` goes on.

    For example:

    - `ayni run job.yaml`
    - `ayni run job.yaml --set train.rounds=5 --set seed=1`
    - `ayni run job.yaml --yes --json > result.json`
    """
    begun = datetime.now(UTC)
    with (
        terminal.progress(f"Running {job}") as progress,
        _hint_how_to_resume(lambda: _newest_run_since(begun)),
    ):
        from ayni import wiring

        view = wiring.run(
            job,
            overrides=tuple(set_ or ()),
            yes=yes,
            progress=progress,
            approve=terminal.approval(progress, yes=yes),
        )
    _show(view, as_json=json)


def plan(job: JobArgument, set_: SetOption = None, json: JsonOption = False) -> None:
    """Show where and when a job would run, and its energy, carbon and cost. Nothing is trained.

    Example: `ayni plan job.yaml --set train.rounds=100`
    """
    with terminal.progress(f"Planning {job}") as progress:
        from ayni import wiring

        found = wiring.plan(job, overrides=tuple(set_ or ()), progress=progress)
    if json:
        terminal.print_json(found)
    else:
        from ayni.cli import tables

        terminal.show(tables.plan_table(found))
        terminal.show(tables.violations_text(found))


def resume(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or `latest`.")
    ] = "latest",
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Go on with a run that was stopped, from its last finished round or step.

    For example:

    - `ayni resume` goes on with the newest run
    - `ayni resume 20261122-093000`
    """
    with terminal.progress(f"Resuming {run}") as progress, _hint_how_to_resume(lambda: _known(run)):
        from ayni import wiring

        view = wiring.resume(run, yes=yes, progress=progress, approve=terminal.approval(progress, yes=yes))
    _show(view, as_json=json)


def _show(view: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        terminal.print_json(view)
        return
    from ayni.cli import tables

    for part in tables.run_parts(view):
        terminal.show(part)


@contextlib.contextmanager
def _hint_how_to_resume(find_run: Callable[[], str | None]) -> Iterator[None]:
    """On Ctrl-C or a polite kill, leave with 130 and say how to go on; an error that is ours says it too."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except KeyboardInterrupt as error:
        run_id = find_run()
        terminal.complain("Stopped before a run began." if run_id is None else _how_to_resume(run_id))
        raise typer.Exit(INTERRUPTED) from error
    except UserError:
        # The same job would fail the same way: what to mend is in the message.
        raise
    except Exception as error:
        if (run_id := find_run()) is not None:
            error.add_note(_how_to_resume(run_id))
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _how_to_resume(run_id: str) -> str:
    return f"Stopped; what is finished is kept. Go on with: ayni resume {run_id}"


def _interrupt(_signal_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _known(reference: str) -> str | None:
    """The id that a reference means; None when it means none, which an error has then said."""
    from ayni import wiring

    ids = [str(summary["run"]) for summary in wiring.runs_list()]
    matches = ids[:1] if reference == "latest" else [run_id for run_id in ids if run_id.startswith(reference)]
    return matches[0] if len(matches) == 1 else None


def _newest_run_since(begun: datetime) -> str | None:
    from ayni import wiring

    for summary in wiring.runs_list():
        created_at = summary.get("created_at")
        if created_at is not None and datetime.fromisoformat(created_at) >= begun:
            return str(summary["run"])
    return None
