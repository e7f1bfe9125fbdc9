"""Machine-hours traded slot by slot: own jobs first, then who values a machine most."""

from ayni.market.baselines.double_auction import k_double_auction
from ayni.market.baselines.slot_market import SlotMarket
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import replay
from ayni.market.simulation.pool import Pool

from ..small_pools import HOUR, make_demand, make_pool, make_site, starts


def market(pool: Pool, demand: Demand) -> SlotMarket:
    return SlotMarket(pool, demand, auction=k_double_auction, slot_seconds=HOUR)


def test_own_jobs_take_own_machines_without_an_auction() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1))
    # Worth less than any ask: nobody would trade with it.
    demand = make_demand(pool, ("a", 0.0, 1.0, 1), worth_microcredits_per_hour=1)

    assert starts(replay(pool, demand, market(pool, demand))) == [(0, "a", 0.0)]


def test_what_is_left_of_a_site_is_bought_by_who_values_it_most() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1))
    demand = make_demand(pool, ("a", 0.0, 4.0, 1), ("a", 0.0, 2.0, 1), ("a", 0.0, 1.0, 1))
    demand.worth_microcredits_J[:] = [40_000_000, 20_000_000, 50_000_000]

    found = replay(pool, demand, market(pool, demand))

    # Job 0 has the own machine; of the others the last pays most for an hour of b's.
    assert starts(found) == [(0, "a", 0.0), (1, "b", 1.0), (2, "b", 0.0)]


def test_many_bids_for_few_machines_are_decided_among_the_highest() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1))
    demand = make_demand(pool, ("a", 0.0, 9.0, 1), *[("a", 0.0, 1.0, 1)] * 8)
    demand.worth_microcredits_J[1:] = [20_000_000 + 1_000_000 * n for n in range(8)]

    found = replay(pool, demand, market(pool, demand))

    assert starts(found)[8] == (8, "b", 0.0) and starts(found)[7] == (7, "b", 1.0)


def test_a_borrower_is_suspended_when_the_owner_comes_back() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1))
    demand = make_demand(pool, ("a", 0.0, 3.0, 1), ("a", 0.0, 3.0, 1), ("b", 1.0, 1.0, 1))

    found = replay(pool, demand, market(pool, demand))

    assert starts(found) == [(0, "a", 0.0), (1, "b", 0.0), (1, "b", 2.0), (2, "b", 1.0)]


def test_a_gang_runs_only_where_all_its_units_trade_and_one_site_holds_it() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 3))
    demand = make_demand(pool, ("a", 0.0, 1.0, 3), ("b", 0.0, 1.0, 1))

    found = replay(pool, demand, market(pool, demand))

    # At first b's own job leaves two of its machines, and a's third is elsewhere.
    assert starts(found) == [(0, "b", 1.0), (1, "b", 0.0)]
