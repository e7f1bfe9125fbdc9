"""What a plan says of places and hours that were not taken is what the market would have given."""

import json
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ayni.market.alternatives import (
    MOST_PLACES,
    Alternative,
    Considered,
    alternatives_to,
    incomparable,
)
from ayni.market.bids import Bid
from ayni.market.horizon import Horizon
from ayni.market.machine_classes import MachineClass
from ayni.market.offers import Offer

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HORIZON = Horizon(start=NOW, num_slots=24, tail_seconds=7 * 86_400)
FLAT = {"DE": [400.0] * 24, "NO": [40.0] * 24}
# A grid with a clean hour 5 hours from now, and others that are less clean.
DIP = {"DE": [400.0] * 5 + [100.0] + [200.0] * 10 + [400.0] * 8}


def machine(name: str, ratio: float, watts: float = 300.0) -> MachineClass:
    return MachineClass(
        name=name,
        cores=8,
        memory_bytes=2**36,
        accelerator=None,
        watts=watts,
        reference_throughput={"any": ratio},
    )


def offer(site: str, ask: float, *, ratio: float = 1.0, zone: str | None = "DE", **changes: Any) -> Offer:
    values: dict[str, Any] = {
        "id": f"{site}-offer",
        "site": site,
        "member": site,
        "machine_class": machine(f"{site}-machine", ratio),
        "count": 2,
        "windows": ((NOW, NOW + timedelta(days=20)),),
        "ask_microcredits_per_machine_hour": round(ask * 1e6),
        "zone": zone,
    }
    return Offer(**values | changes)


def look(*others: Offer, carbon: Any = FLAT, **changes: Any) -> tuple[Alternative, ...]:
    values: dict[str, Any] = {
        "id": "job",
        "member": "me",
        "work_reference_hours": 1.0,
        "release": NOW,
        "deadline": NOW + timedelta(hours=24),
        "worth_microcredits": 0,
    }
    own = offer("own", 1.0, member="me", count=1)
    considered = Considered(
        bid=Bid(**values | changes), own=own, others=others, horizon=HORIZON, carbon=carbon
    )
    return alternatives_to(considered)


def test_nothing_is_said_where_there_is_nothing_else() -> None:
    assert look() == ()


def test_a_later_hour_is_named_with_what_waiting_would_save() -> None:
    (later,) = look(carbon=DIP)

    assert (later.site, later.start, later.end) == (
        "own",
        NOW + timedelta(hours=5),
        NOW + timedelta(hours=6),
    )
    assert "waiting would save 75% of the CO2e" in later.reason
    assert later.price_microcredits == 1_000_000
    assert later.grams_co2e == pytest.approx(0.3 * 100)


def test_an_hour_that_saves_next_to_nothing_or_comes_too_late_is_not_named() -> None:
    assert look(carbon={"DE": [400.0] * 5 + [390.0] + [400.0] * 18}) == ()
    assert look(carbon=DIP, deadline=NOW + timedelta(hours=4)) == ()


def test_places_say_how_much_dearer_or_cheaper_and_greener_they_are() -> None:
    found = look(
        offer("dear", 3.0, ratio=0.5), offer("cheap", 0.5, ratio=1.0), offer("green", 0.9, zone="NO")
    )

    assert [each.site for each in found] == ["cheap", "green", "dear"]
    by_site = {each.site: each for each in found}
    assert by_site["dear"].price_microcredits == 6_000_000
    assert by_site["dear"].reason == "5 credits dearer"
    assert by_site["cheap"].reason.startswith("0.5 credits cheaper, and a run stays on this machine")
    assert by_site["green"].reason.startswith("0.1 credits cheaper, with 90% less CO2e")


def test_a_clouds_place_keeps_the_date_of_its_price() -> None:
    cloud = offer("gcp-x", 4.0, source="cloud:gcp", dated=date(2026, 7, 1))

    (found,) = look(cloud)

    assert (found.source, found.dated) == ("cloud:gcp", date(2026, 7, 1))
    assert found.reason == "3 credits dearer"


@pytest.mark.parametrize(
    ("changes", "offers", "words"),
    [
        ({"residency": frozenset({"FR"})}, {}, "where its data may be"),
        ({"carbon_cap_grams": 1.0}, {}, "carbon cap of 1 g"),
        ({"deadline": NOW + timedelta(minutes=30)}, {}, "takes 1.0 hours"),
        ({"gang": 3}, {}, "needs 3 machines"),
        ({"classes": ("other",)}, {}, "wants machines of other"),
        ({}, {"windows": ((NOW, NOW + timedelta(minutes=20)),)}, "free where it may run is 0"),
    ],
)
def test_a_place_that_cannot_be_is_named_with_the_reason(
    changes: dict[str, Any], offers: dict[str, Any], words: str
) -> None:
    found = look(offer("there", 0.5, **offers), **changes)

    (there,) = [each for each in found if each.site == "there"]
    assert (there.start, there.price_microcredits, there.grams_co2e) == (None, None, None)
    assert re.search(words, there.reason), there.reason


def test_a_kind_of_work_that_a_class_does_not_know_is_named() -> None:
    other = offer(
        "there",
        0.5,
        machine_class=MachineClass(
            name="there",
            cores=1,
            memory_bytes=1,
            accelerator=None,
            watts=1,
            reference_throughput={"text": 1.0},
        ),
    )

    (found,) = look(other)

    assert "how fast it does work of the kind 'any' is not known" in found.reason


def test_at_most_eight_places_are_named_and_the_cheapest_first() -> None:
    found = look(*(offer(f"s{number}", 2 + number / 10) for number in range(20)))

    assert len(found) == MOST_PLACES
    prices = [each.price_microcredits for each in found]
    assert prices == sorted(prices)
    assert found[0].site == "s0"


def test_of_a_site_with_many_kinds_of_machines_the_two_cheapest_are_named() -> None:
    kinds = [
        offer("there", 2 + n, id=f"there-{n}", machine_class=machine(f"kind-{n}", 1.0)) for n in range(5)
    ]

    found = look(*kinds, offer("elsewhere", 9.0))

    assert [each.machine_class for each in found] == ["kind-0", "kind-1", "elsewhere-machine"]


def test_small_amounts_are_written_without_an_exponent() -> None:
    (found,) = look(offer("there", 1.00009))

    assert found.reason == "0.000090 credits dearer"


def test_a_job_of_many_days_still_has_its_place_here() -> None:
    found = look(offer("there", 5.0), work_reference_hours=100.0)

    (there,) = found
    assert "takes 100.0 hours" in there.reason


def test_offers_that_cannot_be_compared_share_one_reason() -> None:
    found = incomparable([offer(site, 1.0) for site in "abcdef"], reason="who knows")

    assert [(each.site, each.reason) for each in found] == [(site, "who knows") for site in "abc"]


def test_alternatives_survive_json() -> None:
    found = look(offer("gcp-x", 4.0, source="cloud:gcp", dated=date(2026, 7, 1)), carbon=DIP)

    assert len(found) == 2
    for each in (*found, *incomparable([offer("a", 1.0)], reason="")):
        assert Alternative.from_json(json.loads(json.dumps(each.to_json()))) == each
