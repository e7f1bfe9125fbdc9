import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.footprint.pretended_node import Node

from ayni.footprint.receipts.window_checks import check_attribution
from ayni.footprint.windows.attribution import JobUse, attribute_window
from ayni.footprint.windows.reservation_shares import Standing
from ayni.footprint.windows.reservations import Reservation
from ayni.footprint.windows.window_file import Row


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    node = Node(tmp_path, jitter_seconds=1e-4)
    node.start("r1", cores=3)
    node.start("neighbour", cores=3)
    node.work(1.0, {"r1": 0.75}, others=0.5)
    node.stop("r1")
    node.stop("neighbour")
    return [json.loads(line) for line in node.path("r1").read_text().splitlines()]


def window_of(rows: list[Row]) -> Row:
    return next(row for row in rows if row.get("node_microjoules"))


def test_what_a_meter_writes_follows_from_its_cpu_seconds_and_cores(rows: list[Row]) -> None:
    assert check_attribution(rows) == []


def move(source: str, target: str, microjoules: int) -> Callable[[Row], None]:
    def change(window: Row) -> None:
        for name, sign in ((source, -1), (target, 1)):
            place = window["jobs"]["r1"] if name in window["jobs"]["r1"] else window
            place[name] += sign * microjoules

    return change


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("dynamic_microjoules", "other_microjoules", "CPU seconds"),
        ("idle_microjoules", "unreserved_idle_microjoules", "cores"),
        ("idle_microjoules", "neighbours_microjoules", "cores"),
        ("dynamic_microjoules", "unreserved_idle_microjoules", "microjoules are idle"),
        ("dynamic_microjoules", "neighbours_microjoules", "microjoules are idle"),
        ("idle_microjoules", "other_microjoules", "CPU seconds"),
    ],
)
def test_energy_moved_to_another_account_contradicts_the_rest(
    rows: list[Row], source: str, target: str, words: str
) -> None:
    move(source, target, 2_000)(window_of(rows))

    assert any(words in problem for problem in check_attribution(rows))


def test_a_window_whose_length_is_not_that_of_its_ends_is_found(rows: list[Row]) -> None:
    window_of(rows)["seconds"] += 0.001

    assert "by its ends" in check_attribution(rows)[0]


def test_a_window_whose_meter_is_not_told_is_found(rows: list[Row]) -> None:
    assert "no line says what its meter 1 is" in check_attribution(rows[1:])[0]


def test_cpu_seconds_below_nothing_are_found(rows: list[Row]) -> None:
    window_of(rows)["busy_cpu_seconds"] = -1.0

    assert "below 0" in check_attribution(rows)[0]


def line(shares: Any, *, cpu: float, busy: float, seconds: float, cores: float) -> list[Row]:
    share = shares.jobs["r1"]
    meter = {
        "kind": "meter",
        "meter": 1,
        "cores": 8,
        "reserved_cores": 4,
        "idle_watts": 20.0,
        "device": None,
    }
    window = {
        "kind": "window",
        "window": 1,
        "meter": 1,
        "started_at": "2026-03-01T12:00:00+00:00",
        "ended_at": f"2026-03-01T12:00:{seconds:09.6f}+00:00",
        "seconds": seconds,
        "busy_cpu_seconds": round(busy, 6),
        "node_microjoules": shares.total_microjoules,
        "other_microjoules": shares.other_microjoules,
        "unreserved_idle_microjoules": shares.unreserved_idle_microjoules,
        "neighbours_microjoules": shares.neighbours_microjoules,
        "jobs": {
            "r1": {
                "cpu_seconds": round(cpu, 6),
                "reserved_cores": round(cores, 6),
                "dynamic_microjoules": share.dynamic_microjoules,
                "idle_microjoules": share.idle_microjoules,
                "device_microjoules": 0,
            }
        },
    }
    return [meter, window]


@given(
    energy=st.integers(0, 10**12),
    seconds=st.integers(0, 50_000_000).map(lambda micros: micros / 1e6),
    # Clocks count in microseconds at the finest; what is less would be 0 in the line.
    cpu=st.integers(0, 400_000_000).map(lambda micros: micros / 1e6),
    others=st.integers(0, 400_000_000).map(lambda micros: micros / 1e6),
    neighbours=st.lists(st.tuples(st.integers(0, 8), st.floats(0, 1), st.booleans()), max_size=12),
)
def test_no_window_that_the_formulas_give_is_accused(
    energy: int, seconds: float, cpu: float, others: float, neighbours: list[tuple[int, float, bool]]
) -> None:
    own = Reservation(holder="own", job="r1", cores=4, lineage=("own",), entered_seconds=0.0)
    there = [
        Reservation(
            holder=f"m{number}",
            job="m",
            cores=cores,
            lineage=(f"m{number}", "own") if is_inside else (f"m{number}",),
            entered_seconds=start * seconds,
        )
        for number, (cores, start, is_inside) in enumerate(neighbours)
    ]
    standing = Standing(own=own, others=there, since_seconds=0.0, until_seconds=seconds, num_cores=8)
    shares = attribute_window(
        energy,
        {"r1": JobUse(cpu_seconds=cpu, reserved_cores=4)},
        seconds=seconds,
        idle_watts=20.0,
        busy_cpu_seconds=cpu + others,
        num_cores=8,
        standing=standing,
    )

    rows = line(shares, cpu=cpu, busy=cpu + others, seconds=seconds, cores=standing.cores)

    assert check_attribution(rows) == []
