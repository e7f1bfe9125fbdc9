"""`ayni train status`: what a training is at, while it goes on and afterwards; `privacy`: what was told.

Not covered: starting and stopping it, which `ayni run`, `ayni resume` and Ctrl-C do.
"""

import json as json_module
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import typer

from ayni.cli import terminal

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="Look at trainings: status, privacy."
)

_SECONDS_BETWEEN_LOOKS = 1.0

Status = Mapping[str, Any]
Look = Callable[[], Status]


@app.callback()
def _group() -> None:
    """Look at trainings: status, privacy."""


@app.command("status")
def status(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or `latest`.")
    ] = "latest",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on showing it until the training is over.")
    ] = False,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON, and nothing else; with `--follow` one object on each line."),
    ] = False,
) -> None:
    """Show how far a training is: rounds, time left, loss, learners, bytes, notices.

    It reads the run's files only, so it never disturbs; a run that is over or was killed has a status too.

    For example:

    - `ayni train status`
    - `ayni train status latest --follow`
    - `ayni train status latest --json` prints one object; `docs/training.md` names its keys
    """
    from ayni import wiring

    # From here on one run is meant, even if another one begins and becomes the latest.
    run_id = str(wiring.train_status(run)["run"])

    def look() -> Status:
        return wiring.train_status(run_id)

    if not follow:
        show_once(look(), as_json=json)
    elif json:
        for event in events(look, pause=_pause):
            typer.echo(json_module.dumps(event))
    elif sys.stdout.isatty():
        _redraw(look)
    else:
        for line in lines(look, pause=_pause):
            typer.echo(line)


@app.command("privacy")
def privacy(
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Show what private trainings have told about each data set: epsilon and delta, summed over the runs.

    A data set is recognised by the name on its data card and by its training examples. The lowest
    `train.privacy.dataset_epsilon` that any run declared for it holds for all.

    For example: `ayni train privacy`
    """
    from ayni import wiring

    found = wiring.train_privacy()
    if json:
        terminal.print_json(found)
        return
    from ayni.cli.privacy_parts import privacy_parts

    for part in privacy_parts(found):
        terminal.show(part)


def show_once(found: Status, *, as_json: bool) -> None:
    """Print a status on standard output."""
    if as_json:
        terminal.print_json(found)
        return
    from ayni.cli.training_parts import status_parts

    for part in status_parts(found):
        terminal.show(part)


def events(look: Look, *, pause: Callable[[], None]) -> Iterator[dict[str, Any]]:
    """Every round and notice so far, and each new one, as JSON; the last event says how the run is.

    {"event": "round", ...a point of the curve} | {"event": "notice", "at", "message"}
    | {"event": "status", "status", "error"}
    """
    round_, num_notices = 0, 0
    while True:
        found = look()
        new = [line for line in found["curve"] if line["round"] > round_]
        yield from ({"event": "round", **line} for line in new)
        yield from ({"event": "notice", **notice} for notice in found["notices"][num_notices:])
        # A training that was rolled back counts some rounds again.
        round_, num_notices = found["round"], len(found["notices"])
        if not found["is_training"]:
            yield {"event": "status", "status": found["status"], "error": found["error"]}
            return
        pause()


def lines(look: Look, *, pause: Callable[[], None]) -> Iterator[str]:
    """One line for the last round, then one for each new round and notice, for a log that grows."""
    from ayni.cli.training_parts import end_line, notice_line, round_line

    shown: tuple[int, int] | None = None
    while True:
        found = look()
        round_, num_notices = found["round"], len(found["notices"])
        before = num_notices if shown is None else shown[1]
        yield from (notice_line(notice).strip() for notice in found["notices"][before:])
        if round_ > 0 and (shown is None or round_ != shown[0]):
            yield round_line(found)
        elif shown is None:
            yield f"no round is finished yet, {found['num_rounds']} to do"
        shown = round_, num_notices
        if not found["is_training"]:
            yield end_line(found)
            return
        pause()


def _redraw(look: Look) -> None:
    """Show the status in place, until the training is over."""
    from rich.console import Console, Group
    from rich.live import Live

    from ayni.cli.training_parts import status_parts

    found = look()
    console = Console(highlight=False)
    with Live(Group(*status_parts(found)), console=console, auto_refresh=False) as live:
        while found["is_training"]:
            _pause()
            found = look()
            live.update(Group(*status_parts(found)), refresh=True)


def _pause() -> None:
    time.sleep(_SECONDS_BETWEEN_LOOKS)
