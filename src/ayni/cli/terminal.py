"""What a person sees while a job runs, and how a person is asked.

In a terminal each step has a bar with a live text; elsewhere each report is a plain line, at most one
a second. Both go to standard error, so that standard output holds the result and nothing else.

Not covered: colours and width of the terminal, which rich finds out.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import TaskID

_SECONDS_BETWEEN_LINES = 1.0
_BAR_WIDTH = 12


class ShownProgress(Protocol):
    """Progress of steps that can make room for a question."""

    def started(self, step: str, *, total: float | None) -> None:
        """A step begins."""
        ...

    def advanced(self, step: str, *, done: float, text: str) -> None:
        """A step got on."""
        ...

    def finished(self, step: str, *, text: str) -> None:
        """A step is done."""
        ...

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """While this is held, nothing is drawn."""
        ...


class PlainProgress:
    """One line for each report: for files, pipes and terminals that cannot redraw."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._totals: dict[str, float | None] = {}
        self._last_line_at: dict[str, float] = {}

    def started(self, step: str, *, total: float | None) -> None:
        """Say that the step begins."""
        self._totals[step] = total
        self._write(f"{step}: started")

    def advanced(self, step: str, *, done: float, text: str) -> None:
        """Say how far the step is, unless it was said a moment ago; the last report is always said."""
        total = self._totals.get(step)
        is_last = total is not None and done >= total
        now = self._clock()
        if not is_last and now - self._last_line_at.get(step, -float("inf")) < _SECONDS_BETWEEN_LINES:
            return
        self._last_line_at[step] = now
        self._write(f"{step}: {'  '.join(part for part in (_how_far(done, total), text) if part)}")

    def finished(self, step: str, *, text: str) -> None:
        """Say the step's result."""
        self._write(f"{step}: done{f', {text}' if text else ''}")

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Lines need no room made."""
        yield

    def _write(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


def _how_far(done: float, total: float | None) -> str:
    """Pieces where they can be counted, a share of the whole otherwise."""
    if not total:
        return ""
    return f"{done:,.0f} of {total:,.0f}" if total > 1 else f"{done / total:.0%}"


class BarProgress:
    """A bar for each step, redrawn in place; finished steps stay with their result."""

    def __init__(self, console: "Console") -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        self._bars = Progress(
            TextColumn("{task.description}", table_column=Column(min_width=8, no_wrap=True)),
            BarColumn(bar_width=_BAR_WIDTH),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            # The text takes what is left of the line and is cut there, so that a step stays one line.
            TextColumn(
                "{task.fields[text]}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            console=console,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def started(self, step: str, *, total: float | None) -> None:
        """Draw the bar of a step; it swings while its length is unknown."""
        self._tasks[step] = self._bars.add_task(step, total=total, text="")

    def advanced(self, step: str, *, done: float, text: str) -> None:
        """Lengthen the bar and replace its text."""
        if step in self._tasks:
            self._bars.update(self._tasks[step], completed=done, text=text)

    def finished(self, step: str, *, text: str) -> None:
        """Fill the bar and keep the result beside it."""
        if step in self._tasks:
            self._bars.update(self._tasks[step], total=1, completed=1, text=text)
            self._bars.stop_task(self._tasks[step])

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stop drawing while somebody is asked; what is finished stays above the question."""
        self._bars.stop()
        try:
            yield
        finally:
            for bar in self._bars.tasks:
                # Drawn once more below the question, it would look like work done twice.
                bar.visible = not bar.finished
            self._bars.start()

    @contextlib.contextmanager
    def shown(self) -> Iterator["BarProgress"]:
        """Draw until the block ends, however it ends; the cursor is given back."""
        with self._bars:
            yield self


@contextlib.contextmanager
def progress(title: str) -> Iterator[ShownProgress]:
    """Show what is done until the block ends; the title comes at once, before anything is imported."""
    print(title, file=sys.stderr, flush=True)
    if not sys.stderr.isatty():
        yield PlainProgress(sys.stderr)
        return
    from rich.console import Console

    with BarProgress(Console(stderr=True)).shown() as bars:
        yield bars


def approval(shown: ShownProgress, *, yes: bool) -> Callable[[Mapping[str, Any]], bool]:
    """A function that shows a plan and, unless `yes`, asks whether to exceed the limits that it exceeds."""

    def approve(plan: Mapping[str, Any]) -> bool:
        from ayni.cli import tables

        with shown.paused():
            show(tables.plan_table(plan), to_stderr=True)
            if plan.get("alternatives"):
                show(tables.alternatives_text(plan), to_stderr=True)
            if not plan.get("violations"):
                return True
            # Where nobody can be asked, the refusal that follows names the limits.
            if not yes and not sys.stdin.isatty():
                return False
            show(tables.violations_text(plan), to_stderr=True)
            return yes or ask("Go on all the same?")

    return approve


def ask(question: str) -> bool:
    """Whether a person says yes; no when nobody can be asked.

    Raises:
        KeyboardInterrupt: the answer was Ctrl-C.
    """
    if not sys.stdin.isatty():
        return False
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as error:
        # To the rest of Ayni typer's own exception would be a failure and no wish to stop.
        raise KeyboardInterrupt from error


def show(part: "RenderableType", *, to_stderr: bool = False) -> None:
    """Print a table or a text in the width of the terminal, 80 columns where there is none."""
    from rich.console import Console

    Console(stderr=to_stderr, highlight=False, soft_wrap=isinstance(part, str)).print(part, markup=False)


def print_json(value: Any) -> None:
    """Print a value as JSON in ASCII, so that no pipe can damage it."""
    typer.echo(json.dumps(value, indent=2))


def complain(text: str) -> None:
    """Say something to the person, not to the pipe."""
    typer.echo(text, err=True)
