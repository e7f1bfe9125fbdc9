"""CSV and Parquet: rows with a label column, the other columns as numbers.

A CSV file has a header; its separator is the one of `,` `;` tab `|` that the header has most of. Several
files are read one after the other when their columns agree, and are splits when they are called train,
validation or test. A column of other texts than numbers is refused by name, unless it is the label; a table
whose only input is a column of texts is a collection of texts.

Not covered: categories as inputs (give them as numbers, one column each), dates, regression.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayni.data.config import DataConfig
from ayni.data.sources.collection import Collection, SourceError, number_classes
from ayni.data.sources.file_trees import FileTree
from ayni.data.sources.images import SPLIT_FOLDERS
from ayni.errors import MissingExtraError

_NOTHING = {"", "na", "n/a", "nan", "null", "none", "?"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns by name, values as they stand in the file; `first_row` is the number of the first in it."""

    place: str
    columns: dict[str, list[Any]]
    first_row: int = 1

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))


class TableSource:
    """Fulfils `ayni.data.sources.collection.DataSource`."""

    def read(self, files: FileTree, config: DataConfig) -> Collection:
        """All rows, file by file."""
        paths = [path for path in files.paths() if path.lower().endswith((".csv", ".tsv", ".parquet", ".pq"))]
        if not paths:
            raise SourceError(files.name, "there is no .csv or .parquet file in it.")
        tables = [read_table(files, path, encoding=config.encoding) for path in paths]
        return collection_of(tables, [split_of(path) for path in paths], config)


def split_of(path: str) -> str:
    """The split that a file's name says: train.csv, test-00000-of-00002.parquet; empty when it says none."""
    stem = path.lower().rsplit("/", 1)[-1].split(".")[0]
    return next(
        (SPLIT_FOLDERS[word] for word in stem.replace("_", "-").split("-") if word in SPLIT_FOLDERS), ""
    )


def read_table(files: FileTree, path: str, *, encoding: str) -> Table:
    """The columns of a CSV or Parquet file.

    Raises:
        SourceError: it is damaged, in another encoding, or a line has too many or too few cells.
        MissingExtraError: pyarrow is needed and absent.
    """
    place = files.name if files.name.endswith(path) else f"{files.name}, {path}"
    if not path.lower().endswith((".csv", ".tsv")):
        return _read_parquet(files.read(path), place)
    text = decoded(files.read(path), encoding, place)
    header_line = text.partition("\n")[0]
    separator = max(",;\t|", key=header_line.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        header = [cell.strip() for cell in next(lines)]
        rows = []
        for row in lines:
            if row and len(row) != len(header):
                raise SourceError(
                    place, f"line {lines.line_num} has {len(row)} cells, the header has {len(header)}."
                )
            rows += [row] if row else []
    except StopIteration:
        raise SourceError(place, "the file is empty: expected a header.") from None
    except csv.Error as error:
        raise SourceError(place, f"line {lines.line_num}: {error}.") from error
    if len(set(header)) != len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise SourceError(place, f"the column {twice!r} is there twice.")
    columns = {name: [row[position] for row in rows] for position, name in enumerate(header)}
    return Table(place=place, columns=columns, first_row=2)


def decoded(content: bytes, encoding: str, place: str) -> str:
    """The text of a file; a mark of the byte order at its beginning is no part of it.

    Raises:
        SourceError: it is not in this encoding; the row is named.
    """
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise SourceError(
            place,
            f"line {row} is not {encoding} (byte {content[error.start]:#04x}). Say which encoding it is, "
            "for example `encoding: latin-1` or gb18030.",
        ) from error


def collection_of(tables: Sequence[Table], splits: Sequence[str], config: DataConfig) -> Collection:
    """The rows of tables with the same columns.

    Raises:
        SourceError: columns differ or are missing, a cell is no number, or something is missing in it.
    """
    first = tables[0]
    wanted = _input_columns(first, config)
    for table in tables:
        lacking = [name for name in (*wanted, config.label) if name not in table.columns]
        if lacking:
            raise SourceError(
                table.place, f"there is no column {lacking[0]!r}. It has: {', '.join(table.columns)}."
            )
    inputs, labels, kept = [], [], []
    is_text = _is_text(first, wanted)
    for table in tables:
        good = _rows_to_keep(table, [config.label], config)
        values, is_there = _texts(table, wanted[0]) if is_text else _numbers(table, wanted, config)
        good &= is_there
        inputs.append(values[good])
        labels += [
            str(label).strip()
            for label, is_good in zip(table.columns[config.label], good, strict=True)
            if is_good
        ]
        kept.append(int(good.sum()))
    joined = np.concatenate(inputs)
    if not is_text and config.missing == "mean":
        joined = _filled(joined, first.place, wanted)
    numbers, classes = number_classes(_whole(labels))
    return Collection(
        kind="text" if is_text else "table",
        inputs=tuple(joined.tolist()) if is_text else joined.astype(np.float32),
        labels=numbers,
        classes=classes,
        splits=_split_rows(splits, kept),
        columns=() if is_text else tuple(wanted),
        num_dropped=sum(map(len, tables)) - sum(kept),
    )


def _split_rows(splits: Sequence[str], kept: Sequence[int]) -> dict[str, NDArray[np.int64]]:
    """Rows of each split; none when a file's name says none."""
    if not all(splits):
        return {}
    ends = np.cumsum([0, *kept])
    rows: dict[str, list[NDArray[np.int64]]] = {}
    for split, start, end in zip(splits, ends[:-1], ends[1:], strict=True):
        rows.setdefault(split, []).append(np.arange(start, end, dtype=np.int64))
    return {split: np.concatenate(found) for split, found in rows.items()}


def _input_columns(table: Table, config: DataConfig) -> list[str]:
    if config.label not in table.columns:
        raise SourceError(
            table.place,
            f"there is no label column {config.label!r}. It has: {', '.join(table.columns)}. Name it with "
            "`label`.",
        )
    wanted = list(config.columns) or [name for name in table.columns if name != config.label]
    if not wanted:
        raise SourceError(table.place, f"there is no column beside the label {config.label!r}.")
    return wanted


def _is_text(table: Table, wanted: list[str]) -> bool:
    """Whether the only input is a column of texts that are no numbers."""
    if len(wanted) != 1 or wanted[0] not in table.columns:
        return False
    values = [value for value in table.columns[wanted[0]] if not _is_missing(value)]
    return bool(values) and all(isinstance(value, str) for value in values) and _as_number(values[0]) is None


def _rows_to_keep(table: Table, names: list[str], config: DataConfig) -> NDArray[np.bool_]:
    """Where none of the columns is empty; an empty label is never filled."""
    good = np.ones(len(table), dtype=bool)
    for name in names:
        for row, value in enumerate(table.columns[name]):
            if _is_missing(value):
                if config.missing != "drop":
                    raise _missing(table, row, name)
                good[row] = False
    return good


def _texts(table: Table, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    values = [("" if value is None else str(value)) for value in table.columns[name]]
    return np.array(values, dtype=object), np.array([bool(value.strip()) for value in values])


def _numbers(
    table: Table, names: list[str], config: DataConfig
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The columns as [N, D], NaN where something is missing, and the rows that stay."""
    values = np.empty((len(table), len(names)))
    for position, name in enumerate(names):
        for row, cell in enumerate(table.columns[name]):
            number = math.nan if _is_missing(cell) else _as_number(cell)
            if number is None or math.isinf(number):
                raise SourceError(
                    table.place,
                    f"row {row + table.first_row}, column {name!r} is {str(cell)!r:.40}, expected a finite "
                    "number. Leave the column out with `columns`, or give categories as numbers.",
                )
            values[row, position] = number
    good = np.asarray(np.isfinite(values).all(axis=1), dtype=bool)
    if config.missing == "refuse" and not good.all():
        row = int(np.argmin(good))
        raise _missing(table, row, names[int(np.argmin(np.isfinite(values[row])))])
    return values, np.ones(len(table), dtype=bool) if config.missing == "mean" else good


def _filled(values: NDArray[np.float64], place: str, names: list[str]) -> NDArray[np.float64]:
    """The values with the mean of their column where they are missing."""
    for position, name in enumerate(names):
        column = values[:, position]
        missing = np.isnan(column)
        if missing.all():
            raise SourceError(
                place, f"the column {name!r} holds nothing but NaN. Leave it out with `columns`."
            )
        column[missing] = column[~missing].mean()
    return values


def _missing(table: Table, row: int, name: str) -> SourceError:
    number = sum(_is_missing(value) for value in table.columns[name])
    return SourceError(
        table.place,
        f"row {row + table.first_row}, column {name!r} is empty or NaN ({number} of {len(table)} rows "
        "are). Say what to do: `missing: drop` leaves such rows out, `missing: mean` takes the mean of "
        "other rows.",
    )


def _is_missing(value: Any) -> bool:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, str) and value.strip().lower() in _NOTHING


def _as_number(cell: Any) -> float | None:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def _whole(labels: list[str]) -> list[str]:
    """Class names, with 1.0 written as 1: columns of whole numbers with gaps come as floats."""
    return [
        label.removesuffix(".0") if label.removesuffix(".0").lstrip("-").isdigit() else label
        for label in labels
    ]


def _read_parquet(content: bytes, place: str) -> Table:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError(extra="data", package="pyarrow") from error
    try:
        table = parquet.read_table(pyarrow.BufferReader(content))
    except (pyarrow.ArrowException, OSError) as error:
        raise SourceError(place, f"it cannot be read as Parquet ({error}).") from error
    return Table(place=place, columns=table.to_pydict())
