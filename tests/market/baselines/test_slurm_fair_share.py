"""Slurm's fair share, against its formula and by hand."""

import numpy as np
import pytest

from ayni.market.baselines.slurm_fair_share import SlurmFairShare, fair_share_factor
from ayni.market.simulation.engine import replay

from ..small_pools import make_demand, make_pool, make_site, starts


def test_the_factor_is_one_half_for_who_used_exactly_its_share() -> None:
    factors = fair_share_factor(np.array([30.0, 10.0, 0.0]), np.array([0.75, 0.25, 0.5]))

    assert factors.tolist() == pytest.approx([0.5, 0.5, 1.0])


def test_nobody_used_anything_at_the_start() -> None:
    assert fair_share_factor(np.zeros(2), np.array([0.5, 0.5])).tolist() == [1.0, 1.0]


def test_who_used_less_goes_first_although_it_came_later() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1))
    # A uses both machines for ten hours; then one of A and one of B want the one that is free.
    demand = make_demand(
        pool, ("a", 0.0, 10.0, 1), ("a", 0.0, 10.5, 1), ("a", 1.0, 3.0, 1), ("b", 9.0, 3.0, 1)
    )

    found = replay(pool, demand, SlurmFairShare(pool, demand))

    assert starts(found)[2:] == [(2, "b", 10.5), (3, "a", 10.0)]


def test_equal_members_go_by_age() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1))
    demand = make_demand(
        pool, ("a", 0.0, 10.0, 1), ("b", 0.0, 10.0, 1), ("b", 2.0, 1.0, 1), ("a", 1.0, 1.0, 1)
    )

    found = replay(pool, demand, SlurmFairShare(pool, demand))

    assert starts(found)[2:] == [(2, "a", 10.0), (3, "b", 10.0)]
