"""The replay: time, machines and work are the engine's, and no policy can cheat them."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.market.simulation.engine import Cluster, Command, Policy, Start, Suspend, replay
from ayni.market.simulation.policies import CARBON_BLIND, POLICIES, PolicySettings
from ayni.market.simulation.pool import GangTooLargeError

from ..small_pools import HOUR, make_demand, make_pool, make_site, most_machines, starts


class Scripted:
    """Orders what a function says."""

    def __init__(self, orders: Callable[[Cluster], Sequence[Command]], *, every: float | None = None) -> None:
        self.round_seconds = every
        self._orders = orders

    def decide(self, cluster: Cluster) -> Sequence[Command]:
        return self._orders(cluster)


def test_a_job_ends_after_its_work_over_the_throughput_of_its_site() -> None:
    pool = make_pool(make_site("a", 4, throughput=2.0))
    demand = make_demand(pool, ("a", 1.0, 6.0, 3))

    found = replay(pool, demand, Scripted(lambda cluster: [Start(job, 0) for job in cluster.waiting]))

    assert starts(found) == [(0, "a", 1.0)]
    assert found.pieces.end_seconds_P.tolist() == [4.0 * HOUR]
    assert found.num_events == 3  # released, started, ended


def test_data_that_are_elsewhere_are_moved_while_the_machines_wait() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1), gigabytes_per_second=0.5)
    demand = make_demand(pool, ("a", 0.0, 1.0, 1), data_gigabytes=900.0)

    found = replay(pool, demand, Scripted(lambda cluster: [Start(job, 1) for job in cluster.waiting]))

    assert found.pieces.end_seconds_P.tolist() == [1.5 * HOUR]
    assert found.pieces.moved_gigabytes_P.tolist() == [900.0]


def test_a_suspended_job_keeps_its_work_and_pays_a_restart() -> None:
    pool = make_pool(make_site("a", 1), restart_seconds=600.0)
    demand = make_demand(pool, ("a", 0.0, 3.0, 1))

    def orders(cluster: Cluster) -> Sequence[Command]:
        hour = cluster.now / HOUR
        if hour == 1.0:
            return [Suspend(0)]
        return [Start(0, 0)] if hour in (0.0, 2.0) else []

    found = replay(pool, demand, Scripted(orders, every=HOUR))

    assert starts(found) == [(0, "a", 0.0), (0, "a", 2.0)]
    assert found.pieces.end_seconds_P.tolist() == [1.0 * HOUR, 4.0 * HOUR + 600.0]


def test_what_was_not_computed_in_the_setup_is_not_kept() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1), gigabytes_per_second=1.0)
    demand = make_demand(pool, ("a", 0.0, 1.0, 1), data_gigabytes=2 * HOUR)

    def orders(cluster: Cluster) -> Sequence[Command]:
        if cluster.now == HOUR:  # its data are still on the way
            return [Suspend(0)]
        return [Start(0, 1)] if 0 in cluster.waiting and cluster.now in (0.0, 2 * HOUR) else []

    found = replay(pool, demand, Scripted(orders, every=HOUR))

    # The data are there the second time, and all the work is still to be done.
    assert found.pieces.end_seconds_P.tolist() == [HOUR, 3 * HOUR]


def test_a_policy_with_rounds_is_woken_at_whole_rounds_with_all_that_happened() -> None:
    pool = make_pool(make_site("a", 1))
    demand = make_demand(pool, ("a", 0.2, 0.1, 1), ("a", 0.9, 0.1, 1), ("a", 7.0, 0.5, 1))
    seen: list[tuple[float, list[int], list[int]]] = []

    def orders(cluster: Cluster) -> Sequence[Command]:
        seen.append((cluster.now / HOUR, list(cluster.arrived), list(cluster.ended)))
        return [Start(next(iter(cluster.waiting)), 0)] if cluster.waiting and cluster.free_S[0] else []

    replay(pool, demand, Scripted(orders, every=HOUR))

    # Rounds in which nobody waits or runs are left out.
    assert seen == [(1.0, [0, 1], []), (2.0, [], [0]), (7.0, [2], [1])]


@pytest.mark.parametrize("command", [Start(0, 0), Suspend(1), Start(1, 0)])
def test_orders_that_cannot_be_are_refused(command: Command) -> None:
    pool = make_pool(make_site("a", 2))
    demand = make_demand(pool, ("a", 0.0, 1.0, 2), ("a", 0.0, 1.0, 1))

    with pytest.raises(ValueError, match="the policy"):
        replay(pool, demand, Scripted(lambda cluster: [Start(0, 0), command]))


def test_a_policy_that_never_starts_a_job_is_found_out() -> None:
    pool = make_pool(make_site("a", 1))
    demand = make_demand(pool, ("a", 0.0, 1.0, 1))

    with pytest.raises(ValueError, match="wait for ever"):
        replay(pool, demand, Scripted(lambda cluster: []))
    with pytest.raises(ValueError, match="wait for ever"):
        replay(pool, demand, Scripted(lambda cluster: [], every=HOUR))


def test_a_gang_that_no_site_can_hold_is_refused_with_the_largest_site() -> None:
    pool = make_pool(make_site("a", 2), make_site("b", 7))
    demand = make_demand(pool, ("a", 0.0, 1.0, 8))

    with pytest.raises(GangTooLargeError, match=r"needs 8 machines.*b, has 7"):
        replay(pool, demand, Scripted(lambda cluster: []))


def test_a_gang_that_only_others_can_hold_is_refused_where_everybody_is_alone() -> None:
    pool = make_pool(make_site("a", 2), make_site("b", 7))
    demand = make_demand(pool, ("a", 0.0, 1.0, 5))

    with pytest.raises(GangTooLargeError, match="a, has 2"):
        replay(pool, demand, POLICIES["alone"].make(pool, demand, PolicySettings()), only_own_sites=True)


Job = tuple[str, float, float, int]
jobs = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.floats(0, 30).map(lambda hours: round(hours, 2)),
        st.floats(0.05, 30).map(lambda hours: round(hours, 2)),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=10)
@given(jobs=jobs, can_suspend=st.booleans(), slack=st.sampled_from([0.0, 3.0, 24.0]))
def test_every_policy_ends_every_job_and_never_lets_a_machine_twice(
    name: str, jobs: list[Job], can_suspend: bool, slack: float
) -> None:
    check_policy(name, jobs, can_suspend=can_suspend, slack=slack)


@pytest.mark.slow
@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=200)
@given(jobs=jobs, can_suspend=st.booleans(), slack=st.sampled_from([0.0, 3.0, 24.0]))
def test_the_same_on_many_demands(name: str, jobs: list[Job], can_suspend: bool, slack: float) -> None:
    check_policy(name, jobs, can_suspend=can_suspend, slack=slack)


def check_policy(name: str, jobs: list[Job], *, can_suspend: bool, slack: float) -> None:
    """Replays a small demand and looks at every piece."""
    pool = make_pool(
        make_site("a", 3),
        make_site("b", 4, throughput=1.5),
        grams=[[300.0, 100.0], [50.0]],
        restart_seconds=60.0,
    )
    demand = make_demand(
        pool, *jobs, slack_hours=slack + 1, data_gigabytes=20.0, can_suspend=can_suspend, estimate_factor=2.0
    )
    policy: Policy = POLICIES[name].make(pool, demand, PolicySettings())

    found = replay(pool, demand, policy, only_own_sites=POLICIES[name].is_local)

    pieces = found.pieces
    done = [0.0] * demand.num_jobs
    for job, site, start, end in zip(
        pieces.job_P.tolist(),
        pieces.site_P.tolist(),
        pieces.start_seconds_P.tolist(),
        pieces.end_seconds_P.tolist(),
        strict=True,
    ):
        assert start >= demand.release_seconds_J[job]
        done[job] += (end - start) * pool.sites[site].throughput
    # Setups are on top of the work, and work is never lost.
    assert all(d >= w - 1e-3 for d, w in zip(done, demand.work_seconds_J.tolist(), strict=True))
    assert most_machines(found, 0) <= 3 and most_machines(found, 1) <= 4
    if not can_suspend:
        assert len(pieces.job_P) == demand.num_jobs


def test_the_same_seed_gives_the_same_replay() -> None:
    pool = make_pool(make_site("a", 3), make_site("b", 4), grams=[[300.0, 100.0], [50.0]])
    demand = make_demand(pool, *(("ab"[n % 2], n * 0.3, 1 + n % 5, 1 + n % 3) for n in range(30)))

    for name in ("market", "sbba", CARBON_BLIND):
        first, second = (
            replay(pool, demand, POLICIES[name].make(pool, demand, PolicySettings(seed=3))) for _ in range(2)
        )
        assert starts(first) == starts(second)
