"""First come first served, with and without backfilling, worked out by hand.

One site of 4 machines. Jobs in the order of release: A (2 machines, 4 h), B (4 machines, 2 h), C (2 machines,
1 h), D (2 machines, 9 h).

    strict: A 0-4; B waits for all 4 machines until 4; C and D wait behind B until 6
    EASY:   B is promised hour 4; C would end at 1 and takes A's free half at once; D would end at 9 and waits
"""

import pytest

from ayni.market.baselines.alone import Alone
from ayni.market.baselines.easy_backfill import EasyBackfill
from ayni.market.baselines.strict_fcfs import StrictFcfs
from ayni.market.simulation.engine import replay
from ayni.market.simulation.pool import Pool

from ..small_pools import make_demand, make_pool, make_site, starts

LINE = (("a", 0.0, 4.0, 2), ("a", 0.1, 2.0, 4), ("a", 0.2, 1.0, 2), ("a", 0.3, 9.0, 2))


@pytest.fixture
def pool() -> Pool:
    return make_pool(make_site("a", 4))


def test_strictly_nobody_overtakes(pool: Pool) -> None:
    found = replay(pool, make_demand(pool, *LINE), StrictFcfs())

    assert starts(found) == [(0, "a", 0.0), (1, "a", 4.0), (2, "a", 6.0), (3, "a", 6.0)]


def test_with_backfilling_who_does_not_delay_the_first_overtakes(pool: Pool) -> None:
    demand = make_demand(pool, *LINE)

    found = replay(pool, demand, EasyBackfill(demand))

    assert starts(found) == [(0, "a", 0.0), (1, "a", 4.0), (2, "a", 0.2), (3, "a", 6.0)]


def test_an_estimate_that_is_too_long_keeps_a_short_job_from_overtaking(pool: Pool) -> None:
    demand = make_demand(pool, *LINE, estimate_factor=5.0)

    found = replay(pool, demand, EasyBackfill(demand))

    # A is believed to end at 20, C at 5.2: it still overtakes. B starts as soon as A really ends.
    assert starts(found)[1:3] == [(1, "a", 4.0), (2, "a", 0.2)]


def test_a_job_may_take_the_machines_that_the_first_will_not_need(pool: Pool) -> None:
    # B is promised 3 of the 4 machines at hour 4, so one is extra and D may hold it past then.
    demand = make_demand(pool, ("a", 0.0, 4.0, 3), ("a", 0.1, 2.0, 3), ("a", 0.2, 9.0, 1), ("a", 0.3, 9.0, 1))

    found = replay(pool, demand, EasyBackfill(demand))

    assert starts(found) == [(0, "a", 0.0), (1, "a", 4.0), (2, "a", 0.2), (3, "a", 6.0)]


def test_extra_machines_are_given_away_once() -> None:
    # Of five machines B is promised four at hour 4: one is extra, two are free now.
    pool = make_pool(make_site("a", 5))
    demand = make_demand(pool, ("a", 0.0, 4.0, 3), ("a", 0.1, 2.0, 4), *[("a", 0.2, 9.0, 1)] * 2)

    found = replay(pool, demand, EasyBackfill(demand))

    assert starts(found) == [(0, "a", 0.0), (1, "a", 4.0), (2, "a", 0.2), (3, "a", 6.0)]


def test_a_job_may_overtake_at_a_site_that_was_not_promised() -> None:
    pool = make_pool(make_site("a", 4), make_site("b", 2))
    demand = make_demand(pool, ("a", 0.0, 4.0, 2), ("a", 0.1, 2.0, 4), ("b", 0.2, 9.0, 2))

    found = replay(pool, demand, EasyBackfill(demand))

    assert starts(found) == [(0, "a", 0.0), (1, "a", 4.0), (2, "b", 0.2)]


def test_own_machines_come_first_then_the_site_with_the_most_free() -> None:
    pool = make_pool(make_site("a", 2), make_site("b", 3), make_site("c", 5))
    demand = make_demand(pool, *[("b", 0.1 * n, 9.0, 2) for n in range(3)])

    found = replay(pool, demand, StrictFcfs())

    assert [site for _, site, _ in starts(found)] == ["b", "c", "c"]


def test_alone_nobody_uses_machines_of_others() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 5))
    demand = make_demand(pool, *[("a", 0.0, 1.0, 1)] * 3, ("b", 0.0, 1.0, 1))

    found = replay(pool, demand, Alone(pool, demand), only_own_sites=True)

    assert starts(found) == [(0, "a", 0.0), (1, "a", 1.0), (2, "a", 2.0), (3, "b", 0.0)]


def test_alone_the_lines_of_members_do_not_hold_each_other_up() -> None:
    pool = make_pool(make_site("a", 2), make_site("b", 2))
    demand = make_demand(pool, ("a", 0.0, 5.0, 2), ("a", 0.1, 1.0, 2), ("b", 0.2, 1.0, 2))

    found = replay(pool, demand, Alone(pool, demand), only_own_sites=True)

    assert starts(found)[1:] == [(1, "a", 5.0), (2, "b", 0.2)]
