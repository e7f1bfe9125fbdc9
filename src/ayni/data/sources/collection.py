"""What a source gives: all examples in memory, with the classes' names and the splits that the source has.

Legend: N examples.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ayni.data.config import DataConfig
from ayni.data.sources.file_trees import FileTree
from ayni.errors import UserError

Kind = Literal["images", "table", "text", "arrays"]


class SourceError(UserError):
    """A data set cannot be read as asked; the message names file and row."""

    def __init__(self, place: str, problem: str) -> None:
        self.place = place
        super().__init__(f"{place}: {problem}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Collection:
    """Examples and their classes.

    kind: what an input is.
    inputs: float32 [N, ...], images [N, C, H, W] from 0 to 1; or N texts.
    labels: class numbers [N].
    classes: the name of each class, in order of its number.
    splits: rows of each split that the source itself names; empty = it has none.
    columns: of a table: the name of each number of an input.
    num_dropped: rows left out because something was missing.
    """

    kind: Kind
    inputs: NDArray[np.float32] | tuple[str, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    splits: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    num_dropped: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def class_counts(self) -> dict[str, int]:
        """Examples of each class."""
        counts = np.bincount(self.labels, minlength=len(self.classes)).tolist()
        return dict(zip(self.classes, counts, strict=True))


class DataSource(Protocol):
    """Reads a kind of files."""

    def read(self, files: FileTree, config: DataConfig) -> Collection:
        """All examples.

        Raises:
            SourceError: something cannot be read; file and row are named.
            MissingExtraError: a package is needed and absent.
        """
        ...


def checked(collection: Collection, *, place: str) -> Collection:
    """The collection, when one can learn from it.

    Raises:
        SourceError: it is empty, has one class only, or a class has no example.
    """
    if not len(collection):
        raise SourceError(place, "there are no examples in it.")
    if len(collection.classes) < 2:
        raise SourceError(
            place,
            f"all {len(collection)} examples are of one class, {collection.classes[0]!r}: expected two or "
            "more.",
        )
    for name, count in collection.class_counts().items():
        if not count:
            raise SourceError(place, f"the class {name!r} has no example. Remove it or add some.")
    return collection


def number_classes(names: list[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class numbers [N] of names, and the names in order: by value where all are numbers, else by letter."""
    different = sorted(set(names))
    with contextlib.suppress(ValueError):
        different.sort(key=int)
    number = {name: position for position, name in enumerate(different)}
    return np.array([number[name] for name in names], dtype=np.int64), tuple(different)
