"""docs/errors.md is what its script writes, and what the script reads from the source is true."""

import runpy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ayni.errors import AyniError, UserError

ROOT = Path(__file__).parent.parent.parent
script = runpy.run_path(str(ROOT / "dev" / "document_errors.py"))
ERRORS = script["find_errors"]()
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
# Needed by nothing here, and slow to import.
HEAVY = ("ayni.compress.", "ayni.explain.", "ayni.train.")


def test_the_page_is_up_to_date() -> None:
    assert script["errors_page"]() == PAGE, "run: python dev/document_errors.py"


@pytest.mark.parametrize(
    "error", [each for each in ERRORS if not each.module.startswith(HEAVY)], ids=lambda each: each.name
)
def test_an_error_on_the_page_is_the_class_it_says(error: Any) -> None:
    kind = getattr(import_module(error.module), error.name)
    row = next(line for line in PAGE.splitlines() if f"| `{error.name}` |" in line)

    assert issubclass(kind, AyniError)
    assert f"| {kind.exit_code} |" in row
    assert error.meaning


def test_every_error_that_is_loaded_is_on_the_page() -> None:
    def below(kind: type) -> set[type]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    loaded = {kind.__name__ for kind in below(AyniError) if kind.__module__.startswith("ayni.")}

    assert loaded - {error.name for error in ERRORS} == set()


def test_the_exit_code_follows_the_ancestors_and_not_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("class AyniError(Exception): ...\nclass UserError(AyniError): ...\n")
    (tmp_path / "b.py").write_text('class OddError(a.UserError, ValueError):\n    """One | two."""\n')
    (tmp_path / "c.py").write_text("class EvenError(OddError): ...\nclass StrangerError(OSError): ...\n")

    page = script["errors_page"](tmp_path)

    assert "| `OddError` | 2 | `b` | One \\| two. |" in page
    assert "| `EvenError` | 2 | `c` |" in page
    assert "StrangerError" not in page


def test_two_errors_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("class AyniError(Exception): ...\nclass LostError(AyniError): ...\n")
    (tmp_path / "b.py").write_text("class LostError(AyniError): ...\n")

    with pytest.raises(ValueError, match="LostError"):
        script["find_errors"](tmp_path)


def test_exit_codes_are_those_of_the_two_roots() -> None:
    assert (AyniError.exit_code, UserError.exit_code) == (1, 2)
