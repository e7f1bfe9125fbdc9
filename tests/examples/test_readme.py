"""The examples' README names what is there."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "examples"


def test_every_example_has_a_row_a_job_and_a_task() -> None:
    rows = set(re.findall(r"^\| \[(\w+)\]\(\1\) \|", (FOLDER / "README.md").read_text(), flags=re.MULTILINE))

    assert rows == {path.parent.name for path in FOLDER.glob("*/job.yaml")}
    assert rows == {path.parent.name for path in FOLDER.glob("*/task.py")}


def test_every_file_of_a_command_exists() -> None:
    named = re.findall(r"examples/[\w./]+\w", (FOLDER / "README.md").read_text())

    assert len(named) >= 4
    assert all((FOLDER.parent / path).is_file() for path in named)
