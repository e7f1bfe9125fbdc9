"""Traces become arrays; a row that cannot be is named by its line."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.traces import Trace, TraceFileError, read_trace

HEADER = "timestamp,duration,num_gpus,gpu_time,cluster"
PHILLY = Path(__file__).parents[3] / "shared" / "data" / "jobs" / "philly_jobs_2017.csv"


def trace_of(tmp_path: Path, *rows: str, header: str = HEADER) -> Trace:
    path = tmp_path / "trace.csv"
    path.write_text("\n".join([header, *rows, ""]))
    return read_trace(path)


def refusal_of(tmp_path: Path, *rows: str, header: str = HEADER) -> str:
    with pytest.raises(TraceFileError) as raised:
        trace_of(tmp_path, *rows, header=header)
    return str(raised.value)


def test_rows_become_jobs_in_the_order_of_time(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, "2017-10-09 07:00:00,60.0,2,120.0,b", "2017-10-09 06:00:00,3600,1,3600,a", "")

    assert trace.start == datetime(2017, 10, 9, 6, tzinfo=UTC)
    assert trace.members == ("a", "b")
    assert trace.release_seconds_J.tolist() == [0.0, 3600.0]
    assert trace.duration_seconds_J.tolist() == [3600.0, 60.0]
    assert trace.gang_J.tolist() == [1, 2] and trace.member_J.tolist() == [0, 1]
    assert trace.machine_hours_by_member() == {"a": 1.0, "b": pytest.approx(120 / 3600)}


def test_rows_of_one_second_keep_their_order(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, *(f"2017-10-09 07:00:00,{n},1,{n},a" for n in (3, 1, 2)))

    assert trace.duration_seconds_J.tolist() == [3.0, 1.0, 2.0]


def test_a_time_with_an_offset_is_turned_into_utc(tmp_path: Path) -> None:
    # The hour that a local clock has twice, told apart by its offset.
    rows = ["2026-10-25T02:30:00+02:00,60,1,a", "2026-10-25T02:30:00+01:00,60,1,a"]

    trace = trace_of(tmp_path, *rows, header="timestamp,duration,machines,member")

    assert trace.release_seconds_J.tolist() == [0.0, 3600.0]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("2017-10-09 07:00:00,-1,1,-1,a", "line 3: a duration of '-1' s"),
        ("2017-10-09 07:00:00,0,1,0,a", "line 3: a duration of '0' s"),
        ("2017-10-09 07:00:00,nan,1,1,a", "line 3: a duration of 'nan' s"),
        ("2017-10-09 07:00:00,60,0,0,a", "line 3: '0' machines"),
        ("2017-10-09 07:00:00,60,1.5,90,a", "line 3: '1.5' machines"),
        ("2017-10-09 07:00:00,60,2,60,a", "gpu_time is '60' and not 60 s times 2 machines"),
        ("yesterday,60,1,60,a", "line 3: 'yesterday' is no time"),
        ("2017-10-09 07:00:00,60,1,60,", "line 3: no member"),
        ("2017-10-09 07:00:00,60", "line 3: no member"),
        ("2017-10-09 07:00:00,1e12,1,1e12,a", "line 3: a duration of '1e12' s"),
    ],
)
def test_a_row_that_no_job_can_have_is_named(tmp_path: Path, row: str, problem: str) -> None:
    message = refusal_of(tmp_path, "2017-10-09 06:00:00,60,1,60,a", row)

    assert problem in message and "(1 problems)" in message


def test_many_bad_rows_are_counted_and_five_are_shown(tmp_path: Path) -> None:
    message = refusal_of(tmp_path, *["no,60,1,60,a"] * 8)

    assert "(8 problems)" in message and message.count("is no time") == 5 and "and 3 more" in message


def test_missing_columns_are_named(tmp_path: Path) -> None:
    message = refusal_of(tmp_path, "a,b", header="time,cluster")

    assert "no column timestamp" in message and "no column num_gpus or machines" in message


@pytest.mark.parametrize("content", [b"", HEADER.encode(), b"\xff\xfe\x00", b'timestamp,"x\n'])
def test_a_file_without_jobs_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(content)

    with pytest.raises(TraceFileError):
        read_trace(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceFileError, match="cannot be read: No such file"):
        read_trace(tmp_path / "nothing.csv")


def test_a_part_begins_at_its_first_second(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, *(f"2017-10-09 0{hour}:00:00,60,1,60,a" for hour in (1, 2, 3)))

    part = trace.between(3600.0, 7200.0)

    assert part.release_seconds_J.tolist() == [0.0]
    assert part.start == datetime(2017, 10, 9, 2, tzinfo=UTC)


def test_chosen_members_are_numbered_in_the_order_given(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, *(f"2017-10-09 0{n}:00:00,60,1,60,{'abc'[n % 3]}" for n in range(5)))

    chosen = trace.of_members(("b", "a"))

    assert chosen.members == ("b", "a") and chosen.member_J.tolist() == [1, 0, 1, 0]
    assert trace.largest_members(2) == ("a", "b")
    with pytest.raises(ValueError, match="no jobs of"):
        trace.of_members(("z",))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_trace_or_a_clear_error(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.csv"
        path.write_bytes(HEADER.encode() + b"\n" + content)
        try:
            assert read_trace(path).num_jobs > 0
        except TraceFileError as error:
            assert error.problems


@pytest.mark.skipif(not PHILLY.is_file(), reason="the Philly trace is not here")
def test_the_philly_trace_has_the_jobs_that_its_authors_count() -> None:
    trace = read_trace(PHILLY)

    assert trace.num_jobs == 82_247 and len(trace.members) == 15
    assert trace.machine_hours == pytest.approx(978_078, abs=1)
