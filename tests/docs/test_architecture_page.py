"""docs/architecture.md names the layers, the ports and the places that are there."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "src" / "ayni"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")}


def rows(header: str) -> list[list[str]]:
    """The cells of the lines of the table that begins with `header`."""
    _, _, table = PAGE.partition(header)
    lines = table.splitlines()[2:]
    end = next((index for index, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:end]]


def protocols() -> list[str]:
    """Every port of the package by its full name."""
    return [
        ".".join((*path.relative_to(ROOT / "src").with_suffix("").parts, node.name))
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(getattr(base, "id", "") == "Protocol" for base in node.bases)
    ]


def test_the_layers_are_those_that_the_import_linter_holds() -> None:
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (contract,) = (each for each in rules["contracts"] if each["type"] == "layers")

    on_page = [re.findall(r"`(\w+)`", cells[0]) for cells in rows("| layer | what it is |")]

    assert on_page == [layer.split(" | ") for layer in contract["layers"]]


def test_every_port_is_on_the_page() -> None:
    on_page = [
        cells[0].strip("`") for cells in rows("| port | methods | fulfilled by | in memory, for tests |")
    ]

    assert sorted(on_page) == sorted(protocols())


def test_every_class_that_fulfils_a_port_is_there() -> None:
    classes = {
        node.name for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    }
    table = rows("| port | methods | fulfilled by | in memory, for tests |")

    named = [
        name
        for cells in table
        for cell in cells[2:]
        for name in re.findall(r"`(?:[\w.]+\.)?([A-Z]\w+)`", cell)
    ]

    assert len(named) > 15
    assert [name for name in named if name not in classes] == []


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:[\w/]+/)?\w+\.py)`", PAGE))))
def test_every_file_that_the_page_names_is_there(path: str) -> None:
    is_users = path == "task.py"

    assert is_users or (SOURCE / path).exists() or (ROOT / path).exists()


@pytest.mark.parametrize(
    "name", ["make_outer", "STEP_CLASSES", "StepEntry", "variant_names", "MeterUnavailableError"]
)
def test_the_places_where_one_adds_are_called_as_the_page_says(name: str) -> None:
    assert f"`{name}`" in PAGE
    assert any(
        re.search(rf"(class|def) {name}\b|^{name}\b", path.read_text(), re.MULTILINE) for path in TREES
    )
