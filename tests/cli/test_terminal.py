"""Progress is drawn in a terminal and written line by line elsewhere; questions go to people only."""

import io
import json

import pytest
from rich.console import Console

from ayni.cli import terminal
from ayni.cli.terminal import BarProgress, PlainProgress


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_progress_writes_a_line_for_each_report() -> None:
    stream, clock = io.StringIO(), Clock()
    shown = PlainProgress(stream, clock=clock)

    shown.started("train", total=12)
    shown.advanced("train", done=1, text="loss 0.5")
    clock.now = 2.0
    shown.advanced("train", done=2, text="loss 0.4")
    shown.finished("train", text="accuracy 98 %")

    assert stream.getvalue().splitlines() == [
        "train: started",
        "train: 1 of 12  loss 0.5",
        "train: 2 of 12  loss 0.4",
        "train: done, accuracy 98 %",
    ]


def test_plain_progress_does_not_flood_but_shows_the_last_report() -> None:
    stream = io.StringIO()
    shown = PlainProgress(stream, clock=Clock())

    shown.started("train", total=3000)
    for done in range(1, 3001):
        shown.advanced("train", done=done, text="")

    assert stream.getvalue().splitlines() == ["train: started", "train: 1 of 3,000", "train: 3,000 of 3,000"]


@pytest.mark.parametrize(
    ("total", "line"),
    [(1.0, "compress: 33%  prune"), (None, "compress: prune"), (3.0, "compress: 0 of 3  prune")],
)
def test_plain_progress_counts_pieces_or_shares(total: float | None, line: str) -> None:
    stream = io.StringIO()
    shown = PlainProgress(stream)

    shown.started("compress", total=total)
    shown.advanced("compress", done=1 / 3, text="prune")

    assert stream.getvalue().splitlines()[1] == line


def test_bars_show_the_live_text_and_keep_the_result() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with BarProgress(console).shown() as shown:
        shown.started("train", total=2)
        shown.advanced("train", done=1, text="loss 0.1234  accuracy 97.8 %  1,240 samples/s")
        shown.finished("train", text="done [1]")

    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "100%" in text
    assert "done [1]" in text


def test_bars_that_are_done_are_not_drawn_again_after_a_question() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with BarProgress(console).shown() as shown:
        shown.started("load", total=None)
        shown.finished("load", text="loaded")
        with shown.paused():
            console.file = io.StringIO()
        shown.started("train", total=2)
        shown.finished("train", text="trained")

    assert isinstance(console.file, io.StringIO)
    assert "trained" in console.file.getvalue()
    assert "loaded" not in console.file.getvalue()


def test_a_step_that_was_never_started_is_no_error() -> None:
    with BarProgress(Console(file=io.StringIO(), width=80)).shown() as shown:
        shown.advanced("train", done=1, text="")
        shown.finished("train", text="")


PLAN = {"rows": [], "totals": None, "violations": [], "risks": []}
VIOLATION = {"limit": "credits", "unit": "credits", "allowed": 1, "estimated": 2, "high": 3}


class Terminal(io.StringIO):
    """Standard input that claims to be a person's."""

    def isatty(self) -> bool:
        return True


def test_a_plan_within_its_limits_is_shown_and_needs_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    approve = terminal.approval(PlainProgress(io.StringIO()), yes=False)

    assert approve(PLAN)
    shown = capsys.readouterr()
    assert "CO2e" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(("answer", "is_approved"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_a_person_decides_about_a_plan_that_exceeds_a_limit(
    answer: str, is_approved: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    approve = terminal.approval(PlainProgress(io.StringIO()), yes=False)

    assert approve({**PLAN, "violations": [VIOLATION]}) is is_approved
    assert "credits: about 2 credits (up to 3), allowed 1" in capsys.readouterr().err


def test_ctrl_c_at_the_question_is_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Terminal):
        def readline(self, *_: object) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Interrupted())
    approve = terminal.approval(PlainProgress(io.StringIO()), yes=False)

    with pytest.raises(KeyboardInterrupt):
        approve({**PLAN, "violations": [VIOLATION]})


def test_where_nobody_can_be_asked_the_answer_is_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    approve = terminal.approval(PlainProgress(io.StringIO()), yes=False)

    assert not approve({**PLAN, "violations": [VIOLATION]})


def test_yes_shows_the_limits_and_asks_nobody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    approve = terminal.approval(PlainProgress(io.StringIO()), yes=True)

    assert approve({**PLAN, "violations": [VIOLATION]})
    assert "allowed 1" in capsys.readouterr().err


def test_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"label": "sieben \N{GREEK SMALL LETTER PI}"}

    terminal.print_json(value)

    text = capsys.readouterr().out
    assert text.isascii()
    assert json.loads(text) == value
