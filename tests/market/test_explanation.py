from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

pytest.importorskip("numpy")

from benchmarks.random_rounds import allocation_of, random_round, with_bid
from tests.market.test_clearing import CREDIT, HOUR, NOON, bid, market, offer

from ayni.market.clearing import clear_round
from ayni.market.explanation import explain_bid


def test_a_loser_is_told_who_outbid_it_and_what_would_have_won() -> None:
    pool = market(
        [bid("a", 10), bid("b", 7, work_reference_hours=2.0, deadline=NOON + 3 * HOUR)],
        [offer(windows=((NOON, NOON + 6 * HOUR),))],
    )
    pool = replace(pool, horizon=replace(pool.horizon, num_slots=6), carbon={})

    lost = explain_bid(
        replace(pool, bids=[replace(pool.bids[1], worth_microcredits=6 * CREDIT), pool.bids[0]]), "b"
    )

    assert lost.placed is None
    assert [other.id for other in lost.others] == ["a"]
    # Keys are worth / sqrt(work): 10 / 2 = least / sqrt(2).
    assert lost.least_worth_microcredits == pytest.approx(10 / 2 * 2**0.5 * CREDIT, abs=2)
    assert lost.least_deadline == NOON + 6 * HOUR
    assert "In its way: a." in lost.reason


def test_a_winner_is_told_who_waits_behind_it() -> None:
    won = explain_bid(market([bid("a", 10), bid("b", 7)], [offer()]), "a")

    assert [other.id for other in won.others] == ["b"]
    assert won.least_worth_microcredits == 7 * CREDIT
    assert "Behind it: b." in won.reason


def test_what_nobody_can_hold_no_worth_would_win() -> None:
    lost = explain_bid(market([bid("a", 10, gang=9)], [offer()]), "a")

    assert lost.least_worth_microcredits is None
    assert lost.least_deadline is None
    assert lost.others == ()


def test_an_unknown_bid_is_an_error() -> None:
    with pytest.raises(ValueError, match="'z'"):
        explain_bid(market([bid("a", 10)], [offer()]), "z")


@pytest.mark.parametrize("seed", range(12))
def test_what_an_explanation_says_is_so_when_the_round_is_cleared_again(seed: int) -> None:
    pool = random_round(Random(seed))

    for index, each in enumerate(pool.bids[:4]):
        told = explain_bid(pool, each.id)
        least, later = told.least_worth_microcredits, told.least_deadline
        if told.placed is None and least is not None:
            assert wins(pool, index, worth_microcredits=least, budget_microcredits=None)
            assert least == 0 or not wins(pool, index, worth_microcredits=least - 1, budget_microcredits=None)
        if later is not None:
            assert wins(pool, index, deadline=later)
            assert not wins(pool, index, deadline=later - timedelta(hours=1))


def wins(pool: object, index: int, **changes: object) -> bool:
    changed = with_bid(pool, index, **changes)  # type: ignore[arg-type]
    return allocation_of(clear_round(changed).result, changed.bids[index].id) is not None
