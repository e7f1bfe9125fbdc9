"""Write docs/errors.md: every error that Ayni raises on purpose, from the source itself.

Run it after adding or renaming an error: `python dev/document_errors.py`. The source is read and not
imported, so that it works where torch and the other libraries are missing. A test compares the page.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
PAGE = ROOT / "docs" / "errors.md"
HEADER = """\
# Errors

Made by `python dev/document_errors.py` from the source; do not edit.

Every error that Ayni raises on purpose is an `AyniError`. Its message says what happened, with which
numbers, and what to do; its attributes keep the numbers. A `UserError` is mended by changing the command,
the job, the task or the configuration, and the command line exits with 2; any other exits with 1. What was
finished before an error is kept: `ayni resume` goes on from there.

| error | exit code | where | meaning |
|---|---|---|---|
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorClass:
    """An error class as its source states it."""

    name: str
    module: str
    bases: tuple[str, ...]
    meaning: str


def find_errors(source: Path = SOURCE) -> list[ErrorClass]:
    """All classes below AyniError, AyniError included, by module and place in the file.

    Raises:
        ValueError: two of them have one name; a reader could not tell them apart.
    """
    classes = [each for path in sorted(source.rglob("*.py")) for each in _classes_in(path, source)]
    by_name = {each.name: each for each in classes}
    found = [each for each in classes if "AyniError" in ancestry(each.name, by_name)]
    names = [each.name for each in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two errors are called {', '.join(sorted(twice))}")
    return found


def ancestry(name: str, by_name: dict[str, ErrorClass]) -> set[str]:
    """The names of a class and of everything it inherits from."""
    own = by_name.get(name)
    return {name}.union(*(ancestry(base, by_name) for base in own.bases)) if own else {name}


def errors_page(source: Path = SOURCE) -> str:
    """The text of docs/errors.md."""
    errors = find_errors(source)
    by_name = {error.name: error for error in errors}
    rows = [
        f"| `{error.name}` | {2 if 'UserError' in ancestry(error.name, by_name) else 1} "
        f"| `{error.module}` | {error.meaning.replace('|', chr(92) + '|')} |\n"
        for error in errors
    ]
    return HEADER + "".join(rows)


def _classes_in(path: Path, source: Path) -> list[ErrorClass]:
    module = ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
    return [
        ErrorClass(
            name=node.name,
            module=module,
            bases=tuple(_last_name(base) for base in node.bases),
            meaning=(ast.get_docstring(node) or "").partition("\n\n")[0].replace("\n", " "),
        )
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    ]


def _last_name(base: ast.expr) -> str:
    """`AyniError` of `AyniError`, `errors.AyniError` and `AyniError[T]`."""
    if isinstance(base, ast.Subscript):
        return _last_name(base.value)
    return base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")


if __name__ == "__main__":
    PAGE.write_text(errors_page(), encoding="utf-8")
    print(f"Wrote {PAGE.relative_to(ROOT)}: {len(find_errors())} errors.")
