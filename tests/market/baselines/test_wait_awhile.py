"""Wait awhile: the greenest slots of the own site, worked out by hand."""

from ayni.market.baselines.wait_awhile import WaitAwhile
from ayni.market.simulation.engine import replay
from ayni.market.simulation.pool import Pool

from ..small_pools import HOUR, make_demand, make_pool, make_site, starts

# Heavy but for hours 2, 5 and 6 of each day.
DAY = [500.0, 400.0, 100.0, 400.0, 400.0, 200.0, 150.0, *[500.0] * 17]


def pool_of(machines: int = 1) -> Pool:
    return make_pool(make_site("a", machines), grams=[DAY])


def test_a_job_that_can_stop_takes_the_greenest_hours_wherever_they_are() -> None:
    pool = pool_of()
    demand = make_demand(pool, ("a", 0.0, 3.0, 1), slack_hours=5.0)

    found = replay(pool, demand, WaitAwhile(pool, demand, slot_seconds=HOUR))

    # Hours 2, 5 and 6; the last two are one piece.
    assert starts(found) == [(0, "a", 2.0), (0, "a", 5.0)]
    assert found.pieces.end_seconds_P.tolist() == [3 * HOUR, 7 * HOUR]


def test_a_job_that_cannot_stop_takes_the_greenest_run_of_hours() -> None:
    pool = pool_of()
    demand = make_demand(pool, ("a", 0.0, 3.0, 1), slack_hours=5.0, can_suspend=False)

    found = replay(pool, demand, WaitAwhile(pool, demand, slot_seconds=HOUR))

    # 4-7 weighs 400 + 200 + 150, less than 2-5 with 100 + 400 + 400.
    assert starts(found) == [(0, "a", 4.0)]


def test_the_deadline_is_kept_and_without_slack_nobody_waits() -> None:
    pool = pool_of()
    demand = make_demand(pool, ("a", 0.0, 3.0, 1), slack_hours=0.0)

    found = replay(pool, demand, WaitAwhile(pool, demand, slot_seconds=HOUR))

    assert starts(found) == [(0, "a", 0.0)]


def test_full_hours_are_left_to_who_came_first() -> None:
    pool = pool_of()
    demand = make_demand(pool, ("a", 0.0, 1.0, 1), ("a", 0.0, 1.0, 1), slack_hours=6.0)

    found = replay(pool, demand, WaitAwhile(pool, demand, slot_seconds=HOUR))

    assert starts(found) == [(0, "a", 2.0), (1, "a", 6.0)]


def test_a_job_for_which_too_little_is_left_takes_the_first_free_hours() -> None:
    pool = pool_of()
    demand = make_demand(pool, ("a", 0.0, 4.0, 1), ("a", 0.0, 2.0, 1), slack_hours=0.0)

    found = replay(pool, demand, WaitAwhile(pool, demand, slot_seconds=HOUR))

    assert starts(found) == [(0, "a", 0.0), (1, "a", 4.0)]


def test_restarts_that_were_not_planned_for_are_planned_when_they_show() -> None:
    pool = make_pool(make_site("a", 1), grams=[DAY], restart_seconds=1800.0)
    demand = make_demand(pool, ("a", 0.0, 2.0, 1), slack_hours=6.0)

    found = replay(pool, demand, WaitAwhile(pool, demand, slot_seconds=HOUR))

    # Hours 2 and 6, half an hour lost to the restart at 6, and the rest at once from 7 on.
    assert starts(found)[:2] == [(0, "a", 2.0), (0, "a", 6.0)]
    assert found.pieces.end_seconds_P[-1] == 7.5 * HOUR
