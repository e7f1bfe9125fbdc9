"""Karma: against the market's own algorithm where shares are equal, and the example of the paper."""

from hypothesis import given
from hypothesis import strategies as st

from ayni.market import karma as of_market
from ayni.market.baselines.karma import Karma, allocate
from ayni.market.simulation.engine import replay

from ..small_pools import make_demand, make_pool, make_site, starts


@given(
    wanted=st.lists(st.integers(0, 20), min_size=2, max_size=5),
    share=st.integers(1, 8),
    credits=st.lists(st.integers(0, 9), min_size=5, max_size=5),
)
def test_equal_shares_are_given_out_as_the_published_algorithm_does(
    wanted: list[int], share: int, credits: list[int]
) -> None:
    size = len(wanted)
    names = [f"m{index}" for index in range(size)]
    left = [float(credit) for credit in credits[:size]]

    got = allocate(wanted, [2 * share] * size, left, alpha=0.5)

    expected = of_market.allocate(
        dict(zip(names, wanted, strict=True)),
        credits=dict(zip(names, map(float, credits[:size]), strict=True)),
        fair_share=2 * share,
        guaranteed=0.5,
    )
    assert got == [expected.allocated[name] for name in names]
    assert left == [expected.credits[name] for name in names]


def test_the_donor_with_the_fewest_credits_lends_first_and_earns() -> None:
    credits = [5.0, 3.0, 10.0]

    got = allocate([0, 0, 5], [4, 4, 4], credits, alpha=1.0)

    # The third has 4 of its own and borrows one: from the second, who has fewest.
    assert got == [0, 0, 5] and credits == [5.0, 4.0, 9.0]


def test_who_lent_yesterday_borrows_before_who_did_not() -> None:
    credits = [10.0, 2.0, 0.0]

    got = allocate([6, 6, 0], [4, 4, 4], credits, alpha=1.0)

    # Four machines of the third: the first has the credits to take them until both have as few.
    assert got == [6, 6, 0] and credits == [8.0, 0.0, 4.0]


def test_machines_are_taken_back_for_who_needs_its_own() -> None:
    pool = make_pool(make_site("a", 2), make_site("b", 2))
    demand = make_demand(pool, *[("a", 0.0, 6.0, 1)] * 4, *[("b", 1.0, 1.0, 1)] * 2)

    found = replay(pool, demand, Karma(pool, demand, quantum_seconds=3600.0, alpha=1.0))

    hours = starts(found)
    assert [hour for job, _, hour in hours if job in (4, 5)] == [1.0, 1.0]
    assert len([job for job, _, _ in hours if job in (2, 3)]) == 4  # both stopped and went on
