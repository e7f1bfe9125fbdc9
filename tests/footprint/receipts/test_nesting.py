from typing import Any

import pytest

from ayni.footprint.receipts.nesting import (
    counted_microjoules,
    counted_share,
    exceeds,
    outer_runs,
    total_microjoules,
)


def receipt(
    run: str,
    energy: int | None,
    *,
    within: tuple[str, ...] = (),
    inside: int | None = 0,
    start: int = 0,
    end: int = 60,
) -> dict[str, Any]:
    return {
        "run": run,
        "energy_microjoules": energy,
        "within": {"run": within[0], "runs": list(within), "energy_microjoules": inside} if within else None,
        "started_at": f"2026-03-01T12:{start // 60:02d}:{start % 60:02d}+00:00",
        "ended_at": f"2026-03-01T12:{end // 60:02d}:{end % 60:02d}+00:00",
    }


def test_what_lies_within_a_run_that_is_summed_too_is_left_out() -> None:
    outer = receipt("outer", 100)
    inner = receipt("inner", 50, within=("middle", "outer"), inside=40)

    assert counted_microjoules([outer, inner]) == [100, 10]
    assert counted_microjoules([inner]) == [50]
    assert counted_share(inner, 10) == 0.2
    assert (outer_runs(outer), outer_runs(inner)) == ((), ("middle", "outer"))


def test_an_outer_run_of_another_time_holds_nothing() -> None:
    outer = receipt("outer", 100, start=0, end=30)
    inner = receipt("inner", 50, within=("outer",), inside=50, start=30, end=60)

    assert counted_microjoules([outer, inner]) == [100, 50]


def test_energy_that_is_unknown_makes_a_sum_unknown_unless_an_outer_run_tells_it() -> None:
    outer, inner = receipt("outer", 100), receipt("inner", None, within=("outer",), inside=None)

    assert counted_microjoules([inner]) == [None]
    assert total_microjoules(counted_microjoules([inner])) is None
    assert counted_microjoules([outer, inner]) == [100, 0]
    assert (counted_share(inner, 0), counted_share(inner, None)) == (0.0, 1.0)
    assert total_microjoules(counted_microjoules([outer, inner])) == 100


@pytest.mark.parametrize(
    ("outer", "is_more"),
    [
        ([receipt("outer", 100)], True),
        ([receipt("outer", 199)], False),
        ([receipt("outer", 100, end=30), receipt("outer", 99, start=30)], False),
        ([receipt("outer", 100, end=30)], False),
        ([receipt("outer", None)], False),
        ([], False),
    ],
)
def test_a_run_cannot_lie_within_one_that_drew_less_in_all_that_time(
    outer: list[dict[str, Any]], is_more: bool
) -> None:
    inner = receipt("inner", 200, within=("outer",), inside=200)

    assert exceeds(inner, outer) == is_more


def test_a_sum_of_nothing_is_nothing() -> None:
    assert total_microjoules([]) == 0
    assert counted_share(receipt("r", 0), 0) == 1.0
