from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ayni.footprint.receipts.evidence import Evidence
from ayni.footprint.receipts.side_by_side import check_side_by_side

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def run(
    name: str,
    *,
    job_watts: float,
    node_watts: float | None = 100.0,
    start: float = 0.0,
    seconds: int = 60,
    within: tuple[str, ...] = (),
    node: str = "vm",
    meter: int = 1,
) -> Evidence:
    """A run of windows of a second in which its job draws part of what the node does."""
    rows: list[dict[str, Any]] = [{"kind": "meter", "meter": meter, "node": node}]
    for number in range(seconds):
        begin = NOON + timedelta(seconds=start + number)
        known = node_watts is not None
        job = {
            "cpu_seconds": 0.1,
            "dynamic_microjoules": round(job_watts * 1e6) if known else None,
            "idle_microjoules": 0 if known else None,
            "device_microjoules": 0 if known else None,
        }
        rows.append(
            {
                "kind": "window",
                "window": number + 1,
                "meter": meter,
                "started_at": begin.isoformat(),
                "ended_at": (begin + timedelta(seconds=1)).isoformat(),
                "node_microjoules": None if node_watts is None else round(node_watts * 1e6),
                "within": [{"run": outer, "devices": True} for outer in within],
                "jobs": {name: job},
            }
        )
    return Evidence(place=f"/{name}", is_folder=True, rows=tuple(rows))


def test_runs_that_together_draw_what_the_node_drew_are_well() -> None:
    found, num_pairs = check_side_by_side([run("one", job_watts=50), run("two", job_watts=50, start=0.4)])

    assert (found, num_pairs) == ([], 1)


def test_runs_that_together_draw_more_than_the_node_are_found() -> None:
    (found,), _ = check_side_by_side([run("one", job_watts=60), run("two", job_watts=60, start=0.4)])

    assert "the runs one, two drew" in found
    assert "on vm" in found


def test_only_the_time_in_which_both_were_there_is_compared() -> None:
    others = [run("one", job_watts=90), run("two", job_watts=90, start=58.0)]

    assert check_side_by_side(others) == ([], 1)
    assert check_side_by_side([others[0], run("two", job_watts=90, start=60.0)]) == ([], 0)


@pytest.mark.parametrize("changes", [{"node": "other"}, {"node_watts": None}])
def test_runs_of_other_nodes_or_unknown_energy_are_not_compared(changes: dict[str, Any]) -> None:
    assert check_side_by_side([run("one", job_watts=90), run("two", job_watts=90, **changes)]) == ([], 0)


def test_a_meter_that_sees_more_of_the_node_sets_the_limit() -> None:
    """One reads the wall and the other the processor: the wall is what the node drew."""
    wall = run("wall", job_watts=90, node_watts=200)

    assert check_side_by_side([wall, run("processor", job_watts=90, node_watts=100)])[0] == []


def test_what_lies_within_another_run_is_counted_there() -> None:
    outer, inner = run("outer", job_watts=90), run("inner", job_watts=80, within=("middle", "outer"))

    assert check_side_by_side([outer, inner])[0] == []
    assert len(check_side_by_side([run("outer", job_watts=90), run("inner", job_watts=80)])[0]) == 1


def test_what_does_not_fit_into_the_run_that_it_is_said_to_lie_within_is_found() -> None:
    outer, inner = run("outer", job_watts=20), run("inner", job_watts=80, within=("outer",))

    (found,), _ = check_side_by_side([outer, inner])

    assert "runs that lie within outer drew 4800 J while it drew 1200 J" in found


def test_two_starts_of_one_run_at_the_same_time_are_held_against_the_node_as_well() -> None:
    one, again = run("one", job_watts=90), run("one", job_watts=90, meter=2, start=0.5)
    both = Evidence(place="/one", is_folder=True, rows=(*(one.rows or ()), *(again.rows or ())))

    (found,), _ = check_side_by_side([both])

    assert "the runs one drew" in found
