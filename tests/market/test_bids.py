import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ayni.market.bids import Bid, BidAboveBalanceError, DeadlinePassedError, InvalidBidError, check_bids

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def bid(**changes: Any) -> Bid:
    values: dict[str, Any] = {
        "id": "b1",
        "member": "uni",
        "work_reference_hours": 3.0,
        "release": NOON,
        "deadline": NOON + 8 * HOUR,
        "worth_microcredits": 9_000_000,
    }
    return Bid(**values | changes)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"work_reference_hours": 0.0}, "work"),
        ({"work_reference_hours": float("inf")}, "work"),
        ({"gang": 0}, "gang"),
        ({"gang": True}, "gang"),
        ({"worth_microcredits": -1}, "worth"),
        ({"worth_microcredits": 1.0}, "worth"),
        ({"worth_microcredits": 2**53}, "worth"),
        ({"budget_microcredits": -1}, "budget"),
        ({"carbon_cap_grams": -1.0}, "carbon cap"),
        ({"deadline": NOON}, "deadline"),
        ({"deadline": NOON.replace(tzinfo=None) + HOUR}, "deadline"),
        ({"residency": frozenset()}, "residency"),
        ({"data_gigabytes": -1.0}, "data"),
        ({"member": ""}, "member"),
    ],
)
def test_an_impossible_bid_is_refused_by_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidBidError) as caught:
        bid(**changes)

    assert caught.value.field == field
    assert "Nothing was submitted" in str(caught.value)


def test_a_bid_pays_at_most_the_lower_of_worth_and_budget() -> None:
    assert bid().limit_microcredits == 9_000_000
    assert bid(budget_microcredits=4_000_000).limit_microcredits == 4_000_000
    assert bid(budget_microcredits=10_000_000).limit_microcredits == 9_000_000


@pytest.mark.parametrize(
    ("zone", "is_allowed"),
    [("DE", True), ("DE-BY", True), ("US-CA", True), ("US-TX", False), ("DEN", False), (None, False)],
)
def test_residency_is_a_zone_or_the_country_around_it(zone: str | None, is_allowed: bool) -> None:
    assert bid(residency=frozenset({"DE", "US-CA"})).may_be_in(zone) is is_allowed
    assert bid().may_be_in(zone)


def test_a_deadline_in_the_past_is_refused() -> None:
    with pytest.raises(DeadlinePassedError, match="later deadline"):
        check_bids([bid()], now=NOON + 8 * HOUR)


def test_the_bids_of_a_member_are_covered_by_its_balance_together() -> None:
    bids = [bid(), bid(id="b2", budget_microcredits=2_000_000), bid(id="b3", member="city")]

    check_bids(bids, now=NOON, balances_microcredits={"uni": 11_000_000, "city": 9_000_000})
    with pytest.raises(BidAboveBalanceError) as caught:
        check_bids(bids, now=NOON, balances_microcredits={"uni": 10_999_999, "city": 9_000_000})

    assert (caught.value.bid, caught.value.balance_microcredits) == ("b2", 1_999_999)


def test_a_bids_id_is_its_own() -> None:
    with pytest.raises(InvalidBidError, match="another bid"):
        check_bids([bid(), bid()], now=NOON)


def test_a_bid_survives_json() -> None:
    full = bid(residency=frozenset({"DE", "ES"}), carbon_cap_grams=5.0, classes=("v100",), can_suspend=True)

    assert Bid.from_json(json.loads(json.dumps(full.to_json()))) == full
    assert Bid.from_json(json.loads(json.dumps(bid().to_json()))) == bid()
