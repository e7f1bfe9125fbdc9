"""`ayni run`, `ayni plan` and `ayni resume`: a job from its file to its result.

Not covered: the work itself, which `ayni.workflows.run_job` tells.
"""

import contextlib
import signal
from collections.abc import Iterator
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
    with terminal.progress(f"Running {job}") as progress, hint_how_to_resume():
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
        if found["alternatives"]:
            terminal.show(tables.alternatives_text(found))
        terminal.show(tables.violations_text(found))


def resume(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or `latest`.")
    ] = "latest",
    set_: SetOption = None,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Go on with a run that was stopped, from its last finished round or step.

    `--set` mends a job without losing its training: below `compress`, `explain`, `limits` and `publish`,
    as long as that step is not finished; and where the rest is trained, such as `train.engine`.

    For example:

    - `ayni resume` goes on with the newest run
    - `ayni resume 20261122-093000`
    - `ayni resume latest --set "compress.steps=[{quantize: {}}]"`
    """
    with terminal.progress(f"Resuming {run}") as progress, hint_how_to_resume():
        from ayni import wiring

        view = wiring.resume(
            run,
            overrides=tuple(set_ or ()),
            yes=yes,
            progress=progress,
            approve=terminal.approval(progress, yes=yes),
        )
    _show(view, as_json=json)


def _show(view: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        terminal.print_json(view)
        return
    from ayni.cli import tables

    for part in tables.run_parts(view):
        terminal.show(part)


@contextlib.contextmanager
def hint_how_to_resume() -> Iterator[None]:
    """On Ctrl-C or a polite kill, leave with 130 and say how to go on; errors that stop a run say it too."""
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt as error:
        run_id = _stopped_run(error)
        terminal.complain("Stopped before a run began." if run_id is None else _how_to_resume(run_id))
        raise typer.Exit(INTERRUPTED) from error
    except Exception as error:
        run_id = _stopped_run(error)
        # An error of the user's says itself what to mend, and before the training there is nothing to keep.
        if run_id is not None and not isinstance(error, UserError):
            error.add_note(_how_to_resume(run_id))
        elif run_id is not None and run_id not in str(error) and _is_trained(run_id):
            error.add_note(
                f"The training is kept. Mend the job and go on with: ayni resume {run_id} --set KEY=VALUE"
            )
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _how_to_resume(run_id: str) -> str:
    return f"Stopped; what is finished is kept. Go on with: ayni resume {run_id}"


def _interrupt(_signal_number: int, _frame: object) -> None:
    # Said at once, for ending the workers takes some seconds.
    terminal.complain("Stopping ...")
    raise KeyboardInterrupt


def _stopped_run(error: BaseException) -> str | None:
    """The run that the error stopped; None when none had begun."""
    run_id: str | None = getattr(error, "stopped_run", None)
    return run_id


def _is_trained(run_id: str) -> bool:
    from ayni import wiring

    return any(
        "train" in summary["finished_steps"] for summary in wiring.runs_list() if summary["run"] == run_id
    )
