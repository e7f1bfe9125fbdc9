"""What leases say about jobs and members, by hand."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ayni.market.award import Award, Reservation
from ayni.market.bids import Bid
from ayni.market.lease_events import (
    CheckChosen,
    CheckFailed,
    CheckPassed,
    CheckpointSaved,
    EscrowHeld,
    Event,
    LeaseCancelled,
    LeaseOffered,
    LeaseSettled,
    LeaseTerms,
    TickMetered,
    WindowBegan,
    WorkFinished,
    WorkStarted,
)
from ayni.market.lease_records import (
    LeaseRecord,
    grams_of_month,
    karma_credits,
    read_leases,
    rest_of_bid,
    state_of_job,
    verified_work,
)
from ayni.market.lease_store import StoredEvent
from ayni.market.metering import LeasePrice
from ayni.market.movements import Lease
from ayni.market.policy import LeasePolicy

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = LeasePolicy()
HOUR = timedelta(hours=1)
BID = Bid(
    id="job",
    member="me",
    work_reference_hours=8.0,
    release=START,
    deadline=START + 48 * HOUR,
    worth_microcredits=1_000,
    can_suspend=True,
)


def award(number: int = 1, *, seller: str = "uni", **changes: Any) -> Award:
    """Four machine-hours at twice the reference: 8 reference-hours for 500 micro-credits."""
    window = (START, START + 2 * HOUR)
    id = f"job.{number}"
    terms = LeaseTerms(
        lease=Lease(lease_id=id, run="job", member="me", site="lab", site_member=seller),
        price=LeasePrice(
            reserved_unit_seconds=4 * 3600,
            seller_microcredits=300,
            climate_microcredits=0,
            payment_microcredits=500,
        ),
        windows=(window,),
        escrow_microcredits=500,
        can_suspend=True,
    )
    values: dict[str, Any] = {
        "terms": terms,
        "placed_at": START,
        "site": "lab",
        "machine_class": "gpu",
        "machines": 2,
        "reserved": (Reservation(offer="o", machines=2, start=window[0], end=window[1]),),
        "work_reference_hours": 8.0,
        "zone": "DE",
        "kilowatts": 2.0,
        "grams": 1_000.0,
        "at_once": None,
    }
    return Award(**values | changes)


def begun(id: str, found: Award) -> list[Event]:
    return [
        LeaseOffered(lease_id=id, at=START, terms=found.terms),
        EscrowHeld(lease_id=id, at=START),
        WindowBegan(lease_id=id, at=START),
        WorkStarted(lease_id=id, at=START),
        TickMetered(lease_id=id, at=START + HOUR, number=1, unit_seconds=2 * 3600),
    ]


def ended(id: str, found: Award, *, passed: bool = True) -> list[Event]:
    end = START + HOUR
    check: Event = (
        CheckPassed(lease_id=id, at=end) if passed else CheckFailed(lease_id=id, at=end, reason="other bytes")
    )
    return [
        *begun(id, found),
        WorkFinished(lease_id=id, at=end),
        CheckChosen(lease_id=id, at=end, is_checked=True),
        check,
        LeaseSettled(
            lease_id=id,
            at=end,
            site_member=found.terms.lease.site_member,
            unit_seconds=2 * 3600 if passed else 0,
        ),
    ]


def read(found: Award, events: Sequence[Event], *, now: datetime | None = None) -> LeaseRecord:
    stored = [StoredEvent(number=number + 1, event=event) for number, event in enumerate(events)]
    return read_leases([found], stored, policy=POLICY, now=now)[found.lease_id]


def test_a_job_is_placed_running_or_done_as_its_leases_say() -> None:
    first = award()

    assert state_of_job([]) is None
    assert state_of_job([read(first, [])]) == "placed"
    assert state_of_job([read(first, begun("job.1", first)[:2])]) == "placed"
    assert state_of_job([read(first, begun("job.1", first))]) == "running"
    assert state_of_job([read(first, ended("job.1", first))]) == "done"


def test_a_job_whose_work_was_found_wrong_waits_again_with_all_of_it() -> None:
    record = read(award(), ended("job.1", award(), passed=False))

    assert state_of_job([record]) is None
    assert rest_of_bid(BID, [record], policy=POLICY) == BID


def test_a_lease_that_nobody_offered_or_began_is_over_with_its_time() -> None:
    first = award()

    for events in ([], begun("job.1", first)[:2]):
        assert read(first, events, now=START + HOUR).is_open
        assert not read(first, events, now=START + 2 * HOUR).is_open


def test_what_a_checkpoint_holds_is_done_and_what_was_paid_is_spent() -> None:
    first = award()
    events = [
        *begun("job.1", first),
        CheckpointSaved(lease_id="job.1", at=START + HOUR, tick=1),
        LeaseCancelled(lease_id="job.1", at=START + HOUR, reason="enough"),
    ]

    left = rest_of_bid(BID, [read(first, events)], policy=POLICY)
    unsaved = rest_of_bid(replace(BID, can_suspend=False), [read(first, events)], policy=POLICY)

    assert (left.work_reference_hours, left.limit_microcredits) == (4.0, 750)
    assert (unsaved.work_reference_hours, unsaved.limit_microcredits) == (8.0, 750)


def test_karma_is_what_was_lent_minus_what_was_borrowed_and_fades() -> None:
    record = read(award(), ended("job.1", award()))
    quarter = timedelta(days=91)

    at_once = karma_credits([record], now=START + HOUR, decay_a_quarter=0.05)
    later = karma_credits([record], now=START + HOUR + 2 * quarter, decay_a_quarter=0.05)

    assert at_once == {"uni": 4.0, "me": -4.0}
    assert later["uni"] == pytest.approx(4.0 * 0.95**2)


@pytest.mark.parametrize("seller", ["me", "cloud:gcp"])
def test_own_machines_and_clouds_earn_neither_karma_nor_a_dividend(seller: str) -> None:
    found = award(seller=seller)
    record = read(found, ended("job.1", found))

    assert karma_credits([record], now=START + HOUR, decay_a_quarter=0.0) == {}
    assert verified_work([record], start=START, end=START + 9 * HOUR) == {}


def test_verified_work_counts_in_the_quarter_in_which_it_was_settled() -> None:
    record = read(award(), ended("job.1", award()))

    assert verified_work([record], start=START, end=START + 9 * HOUR) == {"uni": 4 * 3600}
    assert verified_work([record], start=START, end=START + HOUR) == {}


def grams(record: LeaseRecord, month: str = "2026-03", **changes: Any) -> dict[str, float]:
    values: dict[str, Any] = {"grams_at": lambda *_: 100.0, "grams_where_unknown": 1000.0}
    return grams_of_month([record], month, **values | changes)


def test_an_open_lease_uses_what_is_expected_and_a_closed_one_what_it_emitted() -> None:
    found = award()

    assert grams(read(found, [])) == {"me": 1_000.0}
    assert grams(read(found, begun("job.1", found))) == {"me": 1_000.0}
    # An hour of 2 kW at 100 g.
    assert grams(read(found, ended("job.1", found))) == {"me": pytest.approx(200.0)}
    assert grams(read(found, []), month="2026-04") == {}


def test_an_unknown_zone_uses_a_coal_grid() -> None:
    found = award(zone=None, grams=None)

    assert grams(read(found, [])) == {"me": pytest.approx(2.0 * 2 * 1000)}
    assert grams(read(found, ended("job.1", found))) == {"me": pytest.approx(2.0 * 1000)}
