"""The table of leases: what is taken when, and who gives back to an owner."""

from typing import cast

import pytest

from ayni.market.rounds import Allocation
from ayni.market.simulation.market_leases import LeaseTable

from ..small_pools import make_demand, make_pool, make_site

NO_ALLOCATION = cast(Allocation, None)


def table_of(*gangs: int, can_suspend: bool = True) -> LeaseTable:
    """Jobs of b, and a last one of a."""
    pool = make_pool(make_site("a", 4), make_site("b", 4))
    jobs = [("b", 0.0, 5.0, gang) for gang in gangs]
    demand = make_demand(pool, *jobs, ("a", 0.0, 5.0, 1), can_suspend=can_suspend)
    return LeaseTable(pool, demand, slot_seconds=1800)


def test_a_lease_holds_its_pieces_and_nothing_between_them() -> None:
    leases = table_of(2)
    leases.make(0, 1, [(3, 5), (8, 9)], NO_ALLOCATION)

    lease = leases.get(0)

    assert lease is not None and lease.end_slot == 9
    assert [slot for slot in range(12) if lease.holds(slot)] == [3, 4, 8]
    assert lease.share_left(4) == pytest.approx(2 / 3) and lease.share_left(9) == 0.0
    assert leases.machines_in_use(4, 6).tolist() == [[0] * 6, [2, 0, 0, 0, 2, 0]]


def test_what_begins_or_ends_is_due_once() -> None:
    leases = table_of(1)
    leases.make(0, 0, [(3, 5), (8, 9)], NO_ALLOCATION)

    due = {slot: list(leases.take_due(slot)) for slot in range(10)}

    assert [slot for slot, jobs in due.items() if jobs] == [3, 5, 8, 9]
    assert leases.take_due(3) == ()


def test_a_lease_that_is_over_is_taken_out_at_its_end() -> None:
    leases = table_of(1, 1)
    leases.make(0, 0, [(0, 4)], NO_ALLOCATION)
    leases.make(1, 0, [(0, 6)], NO_ALLOCATION)

    assert leases.end_those_over(4) == {0}
    assert 0 not in leases and 1 in leases


def test_the_clearing_is_told_what_is_still_to_come() -> None:
    leases = table_of(2)
    leases.make(0, 1, [(0, 2), (4, 6)], NO_ALLOCATION)

    (reserved,) = leases.reserved(2)

    assert (reserved.offer, reserved.member, reserved.machines) == ("b", "b", 2)
    assert reserved.start.hour == 2 and reserved.end.hour == 3


def test_the_newest_borrowers_give_back_until_the_owner_has_enough() -> None:
    leases = table_of(1, 1, 1)
    for job in (0, 1, 2):
        leases.make(job, 0, [(0, 9)], NO_ALLOCATION)

    # One machine of a is free; its job of two needs one more.
    assert leases.to_reclaim(0, 2, slot=0) == [2]
    assert leases.to_reclaim(0, 4, slot=0) == [2, 1, 0]
    assert leases.to_reclaim(0, 1, slot=0) == []


def test_the_owners_own_jobs_and_those_that_cannot_stop_keep_their_machines() -> None:
    own = table_of(1, 1)
    own.make(2, 0, [(0, 9)], NO_ALLOCATION)  # a's own
    own.make(0, 0, [(0, 9)], NO_ALLOCATION)
    fixed = table_of(4, can_suspend=False)
    fixed.make(0, 0, [(0, 9)], NO_ALLOCATION)

    assert own.to_reclaim(0, 4, slot=0) == [0]
    assert fixed.to_reclaim(0, 4, slot=0) == []
