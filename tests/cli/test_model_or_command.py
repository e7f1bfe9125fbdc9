"""A first word that is a command below, or an argument of the group itself."""

from typing import Annotated, Any

import pytest
import typer

from ayni.cli.model_or_command import ModelOrCommand


@pytest.fixture
def heard() -> list[Any]:
    return []


@pytest.fixture
def app(heard: list[Any]) -> typer.Typer:
    app = typer.Typer(cls=ModelOrCommand, invoke_without_command=True, no_args_is_help=True)

    @app.callback()
    def own(
        context: typer.Context,
        model: Annotated[str, typer.Argument(metavar="MODEL")],
        task: Annotated[str | None, typer.Option()] = None,
    ) -> None:
        if context.invoked_subcommand is None:
            heard.append((model, task))

    @app.command("show")
    def show(run: str = "latest", json: bool = False) -> None:
        heard.append(("show", run, json))

    return app


def call(app: typer.Typer, *words: str) -> int:
    try:
        app(args=list(words), prog_name="it")
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["me/digits"], ("me/digits", None)),
        (["me/digits", "--task", "t"], ("me/digits", "t")),
        (["--task", "t", "me/digits"], ("me/digits", "t")),
        (["--task", "show", "me/digits"], ("me/digits", "show")),
        (["./show"], ("./show", None)),
        (["show"], ("show", "latest", False)),
        (["show", "--run", "r", "--json"], ("show", "r", True)),
    ],
)
def test_the_first_word_decides(
    app: typer.Typer, heard: list[Any], words: list[str], expected: tuple[Any, ...]
) -> None:
    assert call(app, *words) == 0

    assert heard == [expected]


@pytest.mark.parametrize("words", [["a", "b"], ["--task", "t"], ["a", "--nonsense"], ["show", "--task", "t"]])
def test_what_is_neither_is_refused(app: typer.Typer, heard: list[Any], words: list[str]) -> None:
    assert call(app, *words) == 2

    assert heard == []


def test_help_shows_the_argument_and_the_commands(
    app: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(app, "--help") == 0
    page = capsys.readouterr().out
    assert "MODEL" in page and "--task" in page and "show" in page

    assert call(app, "show", "--help") == 0
    page = capsys.readouterr().out
    assert "it show [OPTIONS]" in page and "MODEL" not in page
