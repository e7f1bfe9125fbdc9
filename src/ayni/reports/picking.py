"""Exactly the documented keys of what a step wrote, with paths made absolute.

Every key is always there: null where the step wrote none, so that what an older version wrote is read like
what this one writes.

Not covered: checking types; the steps wrote these values.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def picked(value: Mapping[str, Any] | None, keys: Sequence[str]) -> dict[str, Any] | None:
    """Exactly these keys, null where the step did not write one; null for a step that did not run."""
    return None if value is None else {key: value.get(key) for key in keys}


def picked_all(values: Sequence[Mapping[str, Any]] | None, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The same of each; an empty list for null."""
    return [{key: value.get(key) for key in keys} for value in values or []]


def absolute(path: str | None, folder: Path) -> str | None:
    """A path of a step's result, which may be relative to the run's folder; null stays null."""
    return None if path is None else str(folder / path)
