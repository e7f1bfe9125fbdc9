"""The data card: where the examples come from and what may be done with them.

A task states it in an optional method `data_card()`. What it does not state is None, which means
unknown and is reported as such: no licence is ever assumed.

Not covered: whether the statement is true.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ayni.errors import UserError
from ayni.task import Task, TaskFailedError


class DataCardError(UserError):
    """The task's data card holds something that cannot be understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCard:
    """Provenance of a data set; None = unknown."""

    name: str | None = None
    licence: str | None = None
    """Identifier as on the Hugging Face Hub, lower case: cc-by-sa-3.0, mit, ..."""
    source: str | None = None
    """Where to get the same data: a package, an address."""
    attribution: str | None = None
    """Whom to name."""
    rows: int | None = None
    classes: int | None = None
    """How many classes the examples have."""
    sha256: str | None = None
    """Content hash: over the files' paths and their own SHA-256, see docs/data.md."""
    note: str | None = None
    """What a reader should know, for example that the data stand in for others."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, wanted = getattr(self, field.name), int if field.name in ("rows", "classes") else str
            if value is not None and (not isinstance(value, wanted) or isinstance(value, bool)):
                raise ValueError(f"{field.name} is {value!r}, expected {wanted.__name__}")
        if self.rows is not None and self.rows < 0:
            raise ValueError(f"rows is {self.rows}, expected 0 or more")

    @property
    def unknown(self) -> list[str]:
        """Names of the fields that a publication should have and the task does not state."""
        return [name for name in ("name", "licence", "source", "attribution") if not getattr(self, name)]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "DataCard":
        """The card that `to_json` wrote."""
        return cls(**data)


def read_data_card(task: Task) -> DataCard:
    """What the task says about its data; a card full of unknowns when it says nothing.

    Raises:
        TaskFailedError: the task's data_card raised.
        DataCardError: it did not return a mapping, or a field is unknown or of the wrong type.
    """
    method = getattr(task, "data_card", None)
    if method is None:
        return DataCard()
    try:
        stated = method()
    except Exception as error:
        raise TaskFailedError(method="data_card", cause=error) from error
    if not isinstance(stated, Mapping):
        raise DataCardError(
            f"The task's data_card returned {type(stated).__name__}, expected a mapping with "
            f"{', '.join(_field_names())}."
        )
    for key in stated:
        _check_key(str(key))
    try:
        # An empty text says nothing: it is unknown, not a licence called "".
        return DataCard(**{str(key): value if value != "" else None for key, value in stated.items()})
    except ValueError as error:
        raise DataCardError(f"The task's data_card: {error}. Mend the task.") from error


def _field_names() -> list[str]:
    return [field.name for field in dataclasses.fields(DataCard)]


def _check_key(key: str) -> None:
    if key in _field_names():
        return
    near = difflib.get_close_matches(key, _field_names(), n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"It may have {', '.join(_field_names())}."
    raise DataCardError(f"The task's data_card has an unknown field {key!r}. {hint}")
