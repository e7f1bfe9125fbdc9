"""CSV and Parquet: what is read, and what is refused by file, row and column."""

import io

import numpy as np
import pytest

from ayni.data.config import DataConfig
from ayni.data.sources.collection import Collection, SourceError
from ayni.data.sources.file_trees import GivenFiles
from ayni.data.sources.reading import read_collection, rows_of_splits

GOOD = "length,width,label\n1,2,rose\n3,4,iris\n5,6.5,rose\n"


def read(content: str | bytes | dict[str, str | bytes], **keys: object) -> Collection:
    files = content if isinstance(content, dict) else {"set.csv": content}
    given = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    config = DataConfig(source="x", **keys)  # type: ignore[arg-type]
    return read_collection(GivenFiles(name="set", files=given), config)


def test_columns_become_inputs_and_texts_of_the_label_classes() -> None:
    found = read(GOOD)

    assert found.kind == "table"
    assert found.columns == ("length", "width")
    assert np.asarray(found.inputs).tolist() == [[1, 2], [3, 4], [5, 6.5]]
    assert found.classes == ("iris", "rose")
    assert found.labels.tolist() == [1, 0, 1]
    assert found.class_counts() == {"iris": 1, "rose": 2}


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_the_separator_is_that_of_the_header(separator: str) -> None:
    assert len(read(GOOD.replace(",", separator))) == 3


def test_chosen_columns_and_another_label() -> None:
    found = read(GOOD.replace("label", "kind"), label="kind", columns=("width",))

    assert np.asarray(found.inputs).tolist() == [[2], [4], [6.5]]


def test_numbers_as_classes_are_ordered_by_value() -> None:
    found = read("x,label\n1,10\n2,9\n3,2.0\n")

    assert found.classes == ("2", "9", "10")


def test_files_that_are_called_by_split_are_splits() -> None:
    found = read({"train.csv": GOOD, "data-test.csv": GOOD})

    rows = rows_of_splits(found, DataConfig(source="x", validation_share=0.34))
    assert {name: len(found) for name, found in rows.items()} == {"train": 2, "validation": 1, "test": 3}


def test_a_column_of_texts_is_a_collection_of_texts() -> None:
    found = read('text,label\n"good, very",1\nbad,0\n')

    assert found.kind == "text"
    assert found.inputs == ("good, very", "bad")


@pytest.mark.parametrize("nothing", ["", "NaN", "NA", "null", "?"])
def test_what_is_missing_is_named_by_row_and_column(nothing: str) -> None:
    with pytest.raises(SourceError, match=r"set\.csv: row 3, column 'width' is empty or NaN \(1 of 3"):
        read(GOOD.replace("3,4", f"3,{nothing}"))


def test_rows_with_gaps_are_dropped_or_filled_with_the_mean_when_asked() -> None:
    gaps = GOOD.replace("3,4", "3,")

    dropped, filled = read(gaps + "7,8,iris\n", missing="drop"), read(gaps, missing="mean")

    assert (len(dropped), dropped.num_dropped) == (3, 1)
    assert np.asarray(filled.inputs)[1].tolist() == [3, 4.25]
    with pytest.raises(SourceError, match="row 2, column 'label'"):
        read(GOOD.replace("2,rose", "2,"), missing="mean")


def test_a_column_of_nothing_is_refused() -> None:
    with pytest.raises(SourceError, match="'width' holds nothing but NaN"):
        read("length,width,label\n1,,a\n2,,b\n", missing="mean")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("x,label\n", "no examples"),
        ("x,label\n1,a\n2,a\n", "all 2 examples are of one class, 'a'"),
        ("x,x,label\n1,2,a\n", "'x' is there twice"),
        ("x,label\n1,a\n2\n", "line 3 has 1 cells, the header has 2"),
        ("x,label\n1,a\nred,b\n", "row 3, column 'x' is 'red', expected a finite number"),
        ("x,label\n1,a\ninf,b\n", "row 3, column 'x' is 'inf'"),
        ("x,kind\n1,a\n", "no label column 'label'. It has: x, kind"),
        ("label\na\n", "no column beside the label"),
        ("x,label\n1,a\nü,b\n".encode("latin-1"), r"line 3 is not utf-8 \(byte 0xfc\)"),
    ],
)
def test_bad_files_are_refused_with_their_row(content: str | bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(content)


def test_another_encoding_and_a_byte_order_mark_are_read() -> None:
    latin = read("größe,label\n1,ä\n2,b\n".encode("latin-1"), encoding="latin-1")
    marked = read(b"\xef\xbb\xbf" + GOOD.encode())
    chinese = read("text,label\n好吃,正\n难吃,负\n".encode("gb18030"), encoding="gb18030")

    assert (latin.columns, latin.classes) == (("größe",), ("b", "ä"))
    assert marked.columns == ("length", "width")
    assert chinese.inputs == ("好吃", "难吃")


def test_parquet_is_read_as_csv_is() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pyarrow.table({"x": [1.0, None, 3.0], "label": [1, 1, 0]}), out)

    found = read({"set.parquet": out.getvalue()}, missing="drop")

    assert np.asarray(found.inputs).tolist() == [[1], [3]]
    assert found.labels.tolist() == [1, 0]
    with pytest.raises(SourceError, match="row 2, column 'x'"):
        read({"set.parquet": out.getvalue()})
    with pytest.raises(SourceError, match=r"set\.parquet: it cannot be read as Parquet"):
        read({"set.parquet": out.getvalue()[:50]})
