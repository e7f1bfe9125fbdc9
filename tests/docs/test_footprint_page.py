"""docs/footprint.md says what the code does."""

import ast
import inspect
import re
from pathlib import Path

from ayni.cli.footprint_run import NOT_MEASURED
from ayni.footprint import measure
from ayni.footprint.impacts.sci import UNIT_SIZES
from ayni.footprint.measuring.measurement import Measurement
from ayni.footprint.measuring.run_command import NOT_EXECUTABLE, NOT_FOUND

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "footprint.md").read_text(encoding="utf-8")


def table(first_cell: str) -> str:
    """The table that begins with this cell."""
    return PAGE.partition(f"| {first_cell} |")[2].partition("\n\n")[0]


def test_every_argument_of_measure_is_explained_and_no_other() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", table("argument"), re.MULTILINE)

    assert sorted(explained) == sorted(set(inspect.signature(measure).parameters) - {"name"})


def test_every_method_and_figure_of_the_page_is_there() -> None:
    named = set(re.findall(r"\bm\.(\w+)", PAGE))

    assert named and [name for name in named if not hasattr(Measurement, name)] == []
    assert all(f"`{unit}`" in PAGE for unit in UNIT_SIZES)


def test_the_exit_codes_are_those_of_the_command() -> None:
    codes = table("exit code")

    assert f"| {NOT_FOUND}, {NOT_EXECUTABLE} |" in codes
    assert f"| {NOT_MEASURED} |" in codes


def test_the_programs_of_the_page_can_be_read_and_import_what_there_is() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2

    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                from ayni.footprint import callbacks

                assert {name.name for name in node.names} <= set(dir(callbacks))


def test_every_benchmark_of_the_page_is_one() -> None:
    assert set(re.findall(r"`(footprint_\w+)`", PAGE)) <= {path.stem for path in ROOT.glob("benchmarks/*.py")}
