from random import Random

import pytest

pytest.importorskip("scipy")

from tests.market.test_clearing import CREDIT, HOUR, NOON, bid, market, offer, simple_round

from ayni.market.bound import welfare_bound
from ayni.market.clearing import clear_round


def test_the_bound_is_the_best_allocation_where_that_is_whole() -> None:
    # One machine for four hours: the long job (worth 12, cost 4), or the short ones (7 and 6, cost 2 each).
    bids = [bid("long", 12), bid("x", 7, work_reference_hours=2.0), bid("y", 6, work_reference_hours=2.0)]

    bound = welfare_bound(market(bids, [offer()]))

    assert bound.bound_microcredits == pytest.approx(9 * CREDIT, rel=1e-3)


def test_of_gangs_that_take_more_than_half_there_is_one() -> None:
    bids = [bid(name, 30, gang=2, work_reference_hours=8.0) for name in "ab"]

    bound = welfare_bound(market(bids, [offer(count=3)]))

    assert bound.bound_microcredits == pytest.approx(22 * CREDIT, rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_no_round_is_worth_more_than_the_bound(seed: int) -> None:
    pool = simple_round(Random(seed))

    bound = welfare_bound(pool)

    assert clear_round(pool).result.welfare_microcredits <= bound.bound_microcredits * (1 + 1e-9)
    assert bound.program_microcredits <= bound.bound_microcredits * (1 + 1e-6)


def test_hours_that_many_want_have_a_price_and_others_none() -> None:
    first_hour = {"work_reference_hours": 1.0, "deadline": NOON + HOUR}

    pool = market([bid("a", 9, **first_hour), bid("b", 8, **first_hour)], [offer()])
    prices = welfare_bound(pool).slot_prices

    # Between what the loser and the winner gain: 7 and 8 credits.
    assert prices[0] == pytest.approx(7.5 * CREDIT, abs=0.51 * CREDIT)
    assert prices[1:] == pytest.approx((0.0, 0.0, 0.0), abs=1.0)


def test_work_that_can_be_suspended_is_not_covered() -> None:
    with pytest.raises(ValueError, match="suspended"):
        welfare_bound(market([bid("a", 9, can_suspend=True)], [offer()]))
