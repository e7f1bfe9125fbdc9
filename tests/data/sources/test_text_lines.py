"""Lines of text and their classes."""

import pytest

from ayni.data.config import DataConfig
from ayni.data.sources.collection import Collection, SourceError
from ayni.data.sources.file_trees import GivenFiles
from ayni.data.sources.reading import read_collection, rows_of_splits


def read(**files: str) -> Collection:
    given = {f"{name}.txt": text.encode() for name, text in files.items()}
    return read_collection(GivenFiles(name="set", files=given), DataConfig(source="x"))


def test_a_label_stands_before_a_tab_or_a_blank() -> None:
    found = read(reviews="good\ta fine film\n\nbad\tno , never\n")
    numbered = read(sst="1 a fine film\n0 no , never\n")

    assert found.inputs == numbered.inputs == ("a fine film", "no , never")
    assert (found.classes, found.labels.tolist()) == (("bad", "good"), [1, 0])
    assert numbered.labels.tolist() == [1, 0]


def test_a_file_for_each_class_or_for_each_split() -> None:
    by_class = read(rose="red\nwhite\n", iris="blue\n")
    by_split = read(train="1 a\n0 b\n1 c\n0 d\n", test="1 e\n0 f\n")

    assert (by_class.classes, by_class.inputs) == (("iris", "rose"), ("blue", "red", "white"))
    rows = rows_of_splits(by_split, DataConfig(source="x", validation_share=0))
    assert [by_split.inputs[row] for row in rows["test"]] == ["e", "f"]


def test_a_line_without_a_label_is_named() -> None:
    with pytest.raises(SourceError, match=r"set, one\.txt, line 2: the line holds one word"):
        read(one="1 a\nword\n")
