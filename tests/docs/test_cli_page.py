"""docs/cli.md is what its script writes, and every command and option stands on it."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
script = runpy.run_path(str(ROOT / "dev" / "document_cli.py"))
COMMANDS: dict[str, Any] = dict(script["commands"]())
PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}
# Every page that shows commands in a console; the page of usages shows none that can be typed.
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
SHOWN = sorted(path for path in PAGES if path.name != "cli.md")
LINE = re.compile(r"^(?:\$ )?(?P<line>ayni [a-z].*?)(?:  #.*| \|.*)?$", re.MULTILINE)


def test_the_page_is_up_to_date() -> None:
    assert script["cli_page"]() == PAGE, "run: python dev/document_cli.py"


def test_the_page_has_every_command_and_no_other() -> None:
    assert list(SECTIONS) == list(COMMANDS)
    assert {"ayni run", "ayni resume", "ayni runs list", "ayni verify"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_has_every_argument_and_option_of_a_command_with_its_meaning(name: str) -> None:
    rows = [line for line in SECTIONS[name].splitlines() if line.startswith("| `")]

    for parameter in COMMANDS[name].params:
        spellings = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar]
        for spelling in spellings:
            assert any(re.search(rf"^\| `[^`]*{re.escape(spelling)}(?!\w)", row) for row in rows), spelling
        assert parameter.help, f"{name} {parameter.name} has no help"
    assert len(rows) == len(COMMANDS[name].params)


@pytest.mark.parametrize("name", [name for name, each in COMMANDS.items() if not hasattr(each, "commands")])
def test_every_command_shows_an_example_of_itself(name: str) -> None:
    assert f"`{name}" in COMMANDS[name].help


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.name)
def test_the_commands_in_the_documents_exist_with_their_options(path: Path) -> None:
    blocks = re.findall(r"```(?:sh|console)?\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)

    for line in [match["line"] for block in blocks for match in LINE.finditer(block)]:
        # What stands behind -- is another program's.
        words = line.partition(" -- ")[0].split()
        name = max((name for name in COMMANDS if words[: len(name.split())] == name.split()), key=len)
        known = {option for each in COMMANDS[name].params for option in each.opts} | {"--help", "--debug"}
        assert name != "ayni", line
        assert {word for word in words if word.startswith("-")} <= known, line
