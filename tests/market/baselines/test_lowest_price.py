"""Lowest price: the cheapest site that has room now."""

from ayni.market.baselines.lowest_price import LowestPrice
from ayni.market.simulation.engine import replay

from ..small_pools import make_demand, make_pool, make_site, starts


def test_jobs_fill_the_cheapest_site_and_then_the_next() -> None:
    pool = make_pool(
        make_site("a", 2, ask_microcredits_per_hour=300),
        make_site("b", 2, ask_microcredits_per_hour=100),
        # Twice as fast at 180 an hour is 90 for an hour of work.
        make_site("c", 1, ask_microcredits_per_hour=180, throughput=2.0),
    )
    demand = make_demand(pool, *[("a", 0.1 * n, 9.0, 1) for n in range(5)])

    found = replay(pool, demand, LowestPrice(pool, demand))

    assert [site for _, site, _ in starts(found)] == ["c", "b", "b", "a", "a"]


def test_a_large_gang_lets_small_jobs_pass() -> None:
    pool = make_pool(make_site("a", 3))
    demand = make_demand(pool, ("a", 0.0, 2.0, 2), ("a", 0.1, 1.0, 3), ("a", 0.2, 5.0, 1))

    found = replay(pool, demand, LowestPrice(pool, demand))

    assert starts(found) == [(0, "a", 0.0), (1, "a", 5.2), (2, "a", 0.2)]
