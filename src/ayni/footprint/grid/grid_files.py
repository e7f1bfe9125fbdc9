"""What files of grid data have in common: tables, times, blanks, units, and errors that name the line.

Times become UTC. A file in local time has one day of 23 hours and one of 25 a year: an hour that the
clocks pass twice is told apart by a mark (CET, CEST) or by its order in the file, and one that they skip
does not exist, so that a value for it is refused.

A blank (empty, `n/e`, `N/A`, `-`, `NaN`) is a hole. Anything else that is no number is an error, because
half-read files make plausible sums.

Not covered: spreadsheets.
"""

import csv
import gzip
import io
import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from ayni.errors import UserError

BLANKS = frozenset({"", "-", "n/e", "n/a", "na", "nan", "null", "none"})
GRAMS_PER_KWH = {
    "g/kWh": 1.0,
    "kg/MWh": 1.0,
    "t/GWh": 1.0,
    "kg/kWh": 1000.0,
    "t/MWh": 1000.0,
    "lb/MWh": 0.45359237,
}
"""Unit of a file -> what to multiply its numbers with."""
FIRST_YEAR, LAST_YEAR = 1900, 2199
"""Other years are slips, and a series from one to the other would fill the memory."""
_SUMMER_TIME_OF = {"CET": False, "CEST": True, "WET": False, "WEST": True, "EET": False, "EEST": True}


class GridFileError(UserError):
    """A file of grid data or prices cannot be read as what it should be."""

    def __init__(self, path: Path, reason: str, *, line: int | None = None) -> None:
        self.path = path
        self.line = line
        self.reason = reason
        place = f"{path}, line {line}" if line else f"{path}"
        super().__init__(f"{place}: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A CSV file: its header and its rows, each with its line number. Rows may be shorter than the header."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def column(self, *wanted: str) -> int:
        """The first column whose title holds all the words, whatever their case.

        Raises:
            GridFileError: there is none; names the columns there are.
        """
        found = self.find(*wanted)
        if found is None:
            raise GridFileError(
                self.path,
                f"there is no column with {' and '.join(map(repr, wanted))}; there are: "
                f"{', '.join(self.header)}",
            )
        return found

    def find(self, *wanted: str) -> int | None:
        """As `column`; None where there is none."""
        for index, title in enumerate(self.header):
            if all(word.lower() in title.lower() for word in wanted):
                return index
        return None

    def cells(self, *columns: int) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Line number and the cells of these columns, row by row; an absent cell is empty."""
        for line, row in self.rows:
            yield line, tuple(row[column].strip() if column < len(row) else "" for column in columns)


def read_text(path: Path) -> str:
    """The text of a file, unpacked when its name ends in .gz.

    Raises:
        GridFileError: not there, not readable, or not text.
    """
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except OSError as error:
        raise GridFileError(path, f"cannot be read: {error.strerror or error}") from error
    except (EOFError, UnicodeDecodeError) as error:
        raise GridFileError(path, f"is not text in UTF-8: {error}. Export it as CSV or JSON") from error


def parse_table(path: Path, text: str) -> Table:
    """The table in a CSV text; the delimiter is the one that its header has most of.

    Raises:
        GridFileError: no header and row.
    """
    first_line = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(",\t;", key=first_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        lines = [(reader.line_num, tuple(row)) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise GridFileError(path, f"is not a table: {error}", line=reader.line_num) from error
    if len(lines) < 2:
        raise GridFileError(path, "holds no rows below a header")
    return Table(path=path, header=tuple(title.strip() for title in lines[0][1]), rows=tuple(lines[1:]))


def number(path: Path, line: int | None, text: str) -> float | None:
    """The number of a cell; None for a blank.

    Raises:
        GridFileError: neither.
    """
    if text.strip().lower() in BLANKS:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise GridFileError(path, f"{text!r} is not a number; a hole is an empty cell", line=line)
    return value


def intensity(path: Path, line: int | None, text: str, *, unit: str = "g/kWh") -> float | None:
    """The grams of CO2e per kWh of a cell; None for a blank.

    Raises:
        GridFileError: no number, a negative one, or a unit that is not known.
    """
    if unit not in GRAMS_PER_KWH:
        raise GridFileError(path, f"there is no unit {unit!r}; there are {', '.join(GRAMS_PER_KWH)}")
    value = number(path, line, text)
    if value is None:
        return None
    grams = value * GRAMS_PER_KWH[unit]
    if not 0 <= grams < 1e5:
        raise GridFileError(path, f"{text} {unit} is no carbon intensity of a grid", line=line)
    return grams


def time_zone_named(path: Path, name: str) -> tzinfo:
    """The time zone of a name such as `Europe/Berlin` or `UTC`.

    Raises:
        GridFileError: no such zone, or a machine without the table of zones.
    """
    if name.upper() == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise GridFileError(
            path,
            f"the time zone {name!r} is not known here. Write it as Europe/Berlin; on a machine without "
            "the table of time zones run: pip install tzdata",
        ) from error


@dataclass(slots=True)
class Clock:
    """Turns the times of one file into UTC, in the order in which they stand there.

    `zone` is that of times that name none; None refuses them. `key` keeps series in one file apart that
    each pass the doubled hour.
    """

    path: Path
    zone: tzinfo | None
    num_skipped: int = 0
    _seen: set[tuple[Hashable, datetime]] = field(default_factory=set)

    def utc(
        self, text: str, *, line: int | None, formats: Sequence[str] = (), key: Hashable = None
    ) -> datetime | None:
        """The moment of a text in ISO 8601, or in one of `formats`; None for one that the clocks skipped.

        Raises:
            GridFileError: not a time, or a local one and nobody says where.
        """
        bare, _, mark = text.strip().partition(" (")
        moment = self._parse(bare.strip(), formats, line)
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise GridFileError(self.path, f"{text!r} is not a time of an electricity grid", line=line)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
        if self.zone is None:
            raise GridFileError(
                self.path,
                f"{text!r} does not say its time zone. Give that of the file, such as UTC or Europe/Berlin",
                line=line,
            )
        return self._of_local(moment, mark.rstrip(")").upper(), key)

    def _parse(self, text: str, formats: Sequence[str], line: int | None) -> datetime:
        for form in formats:
            try:
                return datetime.strptime(text, form)  # noqa: DTZ007 - the zone is added by the caller
            except ValueError:
                continue
        try:
            return datetime.fromisoformat(text)
        except ValueError as error:
            raise GridFileError(self.path, f"{text[:40]!r} is not a time", line=line) from error

    def _of_local(self, moment: datetime, mark: str, key: Hashable) -> datetime | None:
        early, late = (moment.replace(tzinfo=self.zone, fold=fold) for fold in (0, 1))
        if early.utcoffset() == late.utcoffset():
            return early.astimezone(UTC)
        if early.astimezone(UTC).astimezone(self.zone).replace(tzinfo=None) != moment:
            self.num_skipped += 1
            return None
        is_second = (key, moment) in self._seen
        self._seen.add((key, moment))
        if mark in _SUMMER_TIME_OF:
            is_second = not _SUMMER_TIME_OF[mark]
        return (late if is_second else early).astimezone(UTC)


def put_once(
    values: dict[datetime, float | None],
    moment: datetime,
    value: float | None,
    *,
    path: Path,
    line: int | None,
) -> None:
    """Keep a value; one that stands twice is kept once, and two that differ are refused.

    Raises:
        GridFileError: another value for this time is there already.
    """
    before = values.get(moment)
    if before is not None and value is not None and before != value:
        raise GridFileError(
            path,
            f"{moment.isoformat()} has {value} here and {before} before. If times are local, say so",
            line=line,
        )
    values[moment] = value if before is None else before


def holes_note(num_holes: int, num_hours: int) -> tuple[str, ...]:
    """What to say about holes; nothing where there are none."""
    return (f"{num_holes} of {num_hours} hours have no value",) if num_holes else ()
