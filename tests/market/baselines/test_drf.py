"""Dominant resource fairness: the example of the paper, and progressive filling by hand."""

from collections.abc import Sequence

from ayni.market.baselines.drf import Drf
from ayni.market.simulation.engine import Cluster, Command, replay

from ..small_pools import make_demand, make_pool, make_site, starts


def test_the_member_with_the_smallest_share_gets_the_next_machines() -> None:
    # Nine machines for two equal members, as in figure 3 of the paper with one resource: A wants gangs of 1,
    # B of 3. Shares go A 1/9, B 3/9, A 2/9, A 3/9 and then B again: three machines of A and six of B.
    pool = make_pool(make_site("a", 9), make_site("b", 9))
    demand = make_demand(pool, *[("a", 0.0, 5.0, 1)] * 9, *[("b", 0.0, 5.0, 3)] * 3, ("a", 0.0, 1.0, 9))

    found = replay(pool, demand, Drf(pool, demand))

    first = [job for job, _, hour in starts(found) if hour == 0.0]
    machines = dict.fromkeys("ab", 0)
    for job in first:
        machines["ab"[int(demand.member_J[job])]] += int(demand.gang_J[job])
    assert machines == {"a": 9, "b": 9}


def test_weights_are_the_machines_that_members_brought() -> None:
    # B brought twice as many, and so gets two machines for each of A's.
    pool = make_pool(make_site("a", 2), make_site("b", 4))
    demand = make_demand(pool, *[("a", 0.0, 5.0, 1)] * 6, *[("b", 0.0, 5.0, 1)] * 6)

    found = replay(pool, demand, Drf(pool, demand))

    first = [int(demand.member_J[job]) for job, _, hour in starts(found) if hour == 0.0]
    assert (first.count(0), first.count(1)) == (2, 4)


def test_shares_are_of_each_machine_class_and_go_back_to_nothing() -> None:
    pool = make_pool(make_site("a", 8, machine_class="old"), make_site("b", 2, machine_class="new"))
    demand = make_demand(pool, ("a", 0.0, 5.0, 2), ("b", 0.0, 5.0, 1), ("b", 1.0, 1.0, 8))
    policy = Drf(pool, demand)
    seen: list[tuple[float, float]] = []

    class Watched:
        round_seconds = None

        def decide(self, cluster: Cluster) -> Sequence[Command]:
            commands = policy.decide(cluster)
            seen.append((policy.dominant_share(0), policy.dominant_share(1)))
            return commands

    replay(pool, demand, Watched())

    # Two of eight old machines and one of two new ones; later all old ones for a gang of B.
    assert seen[0] == (2 / 8, 1 / 2) and (0.0, 1.0) in seen and seen[-1] == (0.0, 0.0)
