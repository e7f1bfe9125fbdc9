from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.footprint.counters.meters import Trust
from ayni.footprint.windows.attribution import JobShare, WindowShares
from ayni.footprint.windows.window_file import Row, WindowSpan, total_of_windows, window_row

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def meter(number: int, *, tier: str, low: float, high: float) -> Row:
    trust = Trust(tier=tier, low_factor=low, high_factor=high, method=f"as {tier}", scope="processor")
    return {
        "kind": "meter",
        "meter": number,
        "reserved_cores": number,
        "processor": trust.to_json(),
        "device": Trust(tier="W1", low_factor=0.9, high_factor=1.1, method="gpu", scope="gpu").to_json(),
        "unknown": [],
    }


def window(number: int, dynamic: int | None, *, device: int = 0, meter: int = 1, step: str = "train") -> Row:
    shares = None
    if dynamic is not None:
        share = JobShare(dynamic_microjoules=dynamic, idle_microjoules=1, device_microjoules=device)
        stranger = JobShare(dynamic_microjoules=5, idle_microjoules=5)
        shares = WindowShares(
            jobs={"run": share, "stranger": stranger}, other_microjoules=3, unreserved_idle_microjoules=2
        )
    span = WindowSpan(
        window=number,
        meter=meter,
        step=step,
        attempt=1,
        started_at=START + timedelta(seconds=number - 1),
        ended_at=START + timedelta(seconds=number),
        seconds=1.0,
        busy_cpu_seconds=0.5,
        job_cpu_seconds={"run": 0.25, "stranger": 0.1},
    )
    return window_row(span, shares)


def test_the_interval_uses_the_factors_of_the_meter_that_read_each_part() -> None:
    rows = [
        meter(1, tier="W1", low=0.9, high=1.1),
        window(1, 999, device=2_000),
        meter(2, tier="W3", low=0.5, high=2.0),
        window(2, 9_999, meter=2),
    ]

    total = total_of_windows(rows, "train", job="run")

    assert total.job_microjoules == 1_000 + 2_000 + 10_000
    assert total.low_microjoules == 900 + 1_800 + 5_000
    assert total.high_microjoules == 1_100 + 2_200 + 20_000
    assert total.tier == "W3"
    assert total.other_jobs_microjoules == 20


@given(energies=st.lists(st.integers(0, 10**9), min_size=1, max_size=20), width=st.integers(1, 5))
def test_merging_windows_does_not_change_the_sum_or_its_interval(energies: list[int], width: int) -> None:
    meters = [meter(1, tier="W3", low=0.5, high=2.0)]
    merged = [sum(energies[start : start + width]) for start in range(0, len(energies), width)]

    fine = total_of_windows(
        meters + [window(i, e) for i, e in enumerate(energies, start=1)], "train", job="run"
    )
    coarse = total_of_windows(
        meters + [window(i, e) for i, e in enumerate(merged, start=1)], "train", job="run"
    )

    # The pretended windows hold one microjoule of idle energy each; beside that the sums agree.
    assert fine.job_microjoules is not None
    assert coarse.job_microjoules is not None
    assert fine.job_microjoules - fine.num_windows == coarse.job_microjoules - coarse.num_windows
    assert fine.low_microjoules == round(0.5 * fine.job_microjoules)


def test_core_seconds_are_those_that_each_meter_reserved() -> None:
    meters = [meter(number, tier="W1", low=0.9, high=1.1) for number in (1, 2)]

    total = total_of_windows([*meters, window(1, 1), window(2, 1, meter=2)], "train", job="run")

    assert (total.wall_seconds, total.core_seconds) == (2.0, 1.0 + 2.0)


def test_an_unknown_window_makes_the_sum_unknown_but_not_its_cpu_time() -> None:
    rows = [meter(1, tier="W1", low=0.9, high=1.1), window(1, 100), window(2, None), window(3, 100)]

    total = total_of_windows(rows, "train", job="run")

    assert total.job_microjoules is None
    assert total.tier == "W5"
    assert total.cpu_seconds == 0.75


def test_scattered_windows_are_named_by_their_ranges() -> None:
    rows = [
        meter(1, tier="W1", low=0.9, high=1.1),
        window(1, 1),
        window(2, 1),
        window(3, 1, step="other"),
        window(4, 1),
    ]

    total = total_of_windows(rows, "train", job="run")

    assert total.window_ranges == ((1, 2), (4, 4))


def test_a_step_without_windows_has_no_total() -> None:
    with pytest.raises(ValueError, match="no energy window of the step 'explain'"):
        total_of_windows([], "explain", job="run")
