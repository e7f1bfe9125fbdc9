"""Lines of text with their class.

    flowers/rose.txt, flowers/iris.txt      a file for each class, an example in each line
    reviews.txt                             `label<TAB>text` in each line, or `label text`

Not covered: documents of several lines (use a table), and text without classes, which a task reads itself.
"""

import re

import numpy as np
from numpy.typing import NDArray

from ayni.data.config import DataConfig
from ayni.data.sources.collection import Collection, SourceError, number_classes
from ayni.data.sources.file_trees import FileTree
from ayni.data.sources.tables import decoded, split_of

_LABELLED = re.compile(r"(\S+?):?\s+(.+)", re.DOTALL)


class TextLinesSource:
    """Fulfils `ayni.data.sources.collection.DataSource`."""

    def read(self, files: FileTree, config: DataConfig) -> Collection:
        """All lines that are not empty, file by file."""
        paths = [path for path in files.paths() if path.lower().endswith((".txt", ".text", ".tsv"))]
        if not paths:
            raise SourceError(files.name, "there is no .txt file in it.")
        splits = [split_of(path) for path in paths]
        # Files that are neither one nor splits are classes.
        by_file = len(paths) > 1 and not all(splits)
        texts: list[str] = []
        names: list[str] = []
        rows: dict[str, list[int]] = {}
        for path, split in zip(paths, splits, strict=True):
            place = files.name if files.name.endswith(path) else f"{files.name}, {path}"
            for number, line in enumerate(decoded(files.read(path), config.encoding, place).splitlines(), 1):
                if not line.strip():
                    continue
                label, text = (_stem(path), line) if by_file else _labelled(line, f"{place}, line {number}")
                rows.setdefault(split, []).append(len(texts))
                texts.append(text.strip())
                names.append(label)
        labels, classes = number_classes(names)
        named: dict[str, NDArray[np.int64]] = {
            split: np.array(found, dtype=np.int64) for split, found in rows.items()
        }
        return Collection(
            kind="text",
            inputs=tuple(texts),
            labels=labels,
            classes=classes,
            splits={} if by_file or "" in named else named,
        )


def _labelled(line: str, place: str) -> tuple[str, str]:
    label, tab, text = line.partition("\t")
    if tab and text.strip():
        return label.strip(), text
    found = _LABELLED.fullmatch(line.strip())
    if found is None:
        raise SourceError(place, "the line holds one word: expected a label and a text behind it.")
    return found[1], found[2]


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
