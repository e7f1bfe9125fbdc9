import gzip
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ayni.footprint.grid.grid_files import (
    Clock,
    GridFileError,
    intensity,
    number,
    parse_table,
    put_once,
    read_text,
    time_zone_named,
)

PATH = Path("grid.csv")
BERLIN = ZoneInfo("Europe/Berlin")


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def test_a_table_is_split_at_what_its_header_is_split_at() -> None:
    for delimiter in ",;\t":
        table = parse_table(PATH, f"time{delimiter}DE\n\n1{delimiter}2\n")

        assert table.header == ("time", "DE")
        assert table.rows == ((3, ("1", "2")),)


def test_a_missing_column_is_named_with_those_that_are_there() -> None:
    table = parse_table(PATH, "time,DE\n1,2\n")

    assert table.column("DE") == 1
    with pytest.raises(GridFileError, match=r"'price'; there are: time, DE"):
        table.column("price")


@pytest.mark.parametrize("text", ["", "time,DE\n", "\n\n"])
def test_a_file_without_rows_is_refused(text: str) -> None:
    with pytest.raises(GridFileError, match="no rows"):
        parse_table(PATH, text)


def test_packed_files_are_unpacked_and_others_are_errors(tmp_path: Path) -> None:
    packed, torn, other = tmp_path / "a.csv.gz", tmp_path / "b.csv.gz", tmp_path / "c.csv"
    packed.write_bytes(gzip.compress("\ufefftime".encode()))
    torn.write_bytes(gzip.compress(b"time" * 1000)[:20])
    other.write_bytes(b"\xff\xfe\x00")

    assert read_text(packed) == "time"
    for path in (torn, other, tmp_path / "absent.csv", tmp_path):
        with pytest.raises(GridFileError):
            read_text(path)


@pytest.mark.parametrize("blank", ["", " ", "n/e", "N/A", "-", "NaN", "null"])
def test_a_blank_is_a_hole(blank: str) -> None:
    assert number(PATH, 1, blank) is None


@pytest.mark.parametrize("text", ["12,5", "x", "inf", "1e999", "--"])
def test_what_is_no_number_is_an_error_with_its_line(text: str) -> None:
    with pytest.raises(GridFileError, match=r"grid\.csv, line 7: .*is not a number") as caught:
        number(PATH, 7, text)

    assert caught.value.line == 7
    assert caught.value.exit_code == 2


def test_units_become_grams_per_kwh() -> None:
    assert intensity(PATH, 1, "1000", unit="lb/MWh") == pytest.approx(453.59237)
    assert intensity(PATH, 1, "0.4", unit="t/MWh") == pytest.approx(400)
    assert intensity(PATH, 1, "400", unit="kg/MWh") == 400
    with pytest.raises(GridFileError, match="no unit 'g/MJ'; there are g/kWh"):
        intensity(PATH, 1, "1", unit="g/MJ")


@pytest.mark.parametrize("text", ["-1", "200000"])
def test_an_intensity_that_no_grid_has_is_an_error(text: str) -> None:
    with pytest.raises(GridFileError, match="no carbon intensity"):
        intensity(PATH, 3, text)


def test_the_doubled_hour_in_autumn_is_told_by_order() -> None:
    clock = Clock(PATH, BERLIN)

    moments = [
        clock.utc(f"2023-10-29 0{hour}:{minute}", line=1) for hour in (1, 2, 2, 3) for minute in ("00", "30")
    ]

    # 1:00, 1:30, then 2:00 and 2:30 of summer time, 2:00 and 2:30 of winter time, 3:00, 3:30
    assert [moment.hour for moment in moments if moment] == [23, 23, 0, 0, 1, 1, 2, 2]
    assert len(set(moments)) == 8


def test_the_doubled_hour_is_told_by_its_mark_whatever_the_order() -> None:
    clock = Clock(PATH, BERLIN)

    assert clock.utc("2023-10-29 02:00 (CET)", line=1) == at(2023, 10, 29, 1)
    assert clock.utc("2023-10-29 02:00 (CEST)", line=1) == at(2023, 10, 29, 0)


def test_series_that_share_a_file_each_pass_the_doubled_hour() -> None:
    clock = Clock(PATH, BERLIN)

    moments = [clock.utc("2023-10-29 02:00", line=1, key=name) for name in ("Solar", "Gas", "Solar", "Gas")]

    assert [moment.hour for moment in moments if moment] == [0, 0, 1, 1]


def test_the_hour_that_is_skipped_in_spring_does_not_exist() -> None:
    clock = Clock(PATH, BERLIN)

    assert clock.utc("2023-03-26 02:30", line=1) is None
    assert clock.utc("2023-03-26 03:00", line=1) == at(2023, 3, 26, 1)
    assert clock.num_skipped == 1


def test_a_time_that_names_its_zone_needs_none_and_one_that_does_not_is_refused() -> None:
    clock = Clock(PATH, None)

    assert clock.utc("2023-01-01T00:00Z", line=1) == at(2023, 1, 1)
    assert clock.utc("2023-01-01 02:00+02:00", line=1) == at(2023, 1, 1)
    with pytest.raises(GridFileError, match="does not say its time zone"):
        clock.utc("2023-01-01 00:00", line=4)
    with pytest.raises(GridFileError, match="'yesterday' is not a time"):
        clock.utc("yesterday", line=4)


def test_time_zones_are_known_by_name() -> None:
    assert time_zone_named(PATH, "utc") is UTC
    for name in ("Berlin", "../etc/passwd", ""):
        with pytest.raises(GridFileError, match="not known here"):
            time_zone_named(PATH, name)


def test_a_value_may_stand_twice_and_two_values_may_not() -> None:
    values: dict[datetime, float | None] = {}
    for value in (None, 5.0, 5.0, None):
        put_once(values, at(2023, 1, 1), value, path=PATH, line=2)

    assert values == {at(2023, 1, 1): 5.0}
    with pytest.raises(GridFileError, match=r"has 6\.0 here and 5\.0 before"):
        put_once(values, at(2023, 1, 1), 6.0, path=PATH, line=9)
