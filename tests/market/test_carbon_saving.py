"""Carbon beside beginning at once, by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ayni.market.bids import Bid
from ayni.market.carbon_saving import (
    MeteredTick,
    StartAtOnce,
    emitted_grams,
    grams_between,
    saved_grams,
    start_at_once,
)
from ayni.market.horizon import Horizon
from ayni.market.machine_classes import MachineClass
from ayni.market.offers import Offer

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HORIZON = Horizon(start=START, num_slots=4)
GPU = MachineClass(
    name="gpu", cores=8, memory_bytes=2**35, accelerator=None, watts=500.0, reference_throughput={"any": 2.0}
)
CARBON = {"DE": [100.0, 200.0, 300.0, 400.0], "NO": [10.0] * 4}


def offer(id: str, member: str, ask: int, **changes: Any) -> Offer:
    values: dict[str, Any] = {
        "id": id,
        "site": id,
        "member": member,
        "machine_class": GPU,
        "count": 2,
        "windows": ((START, START + timedelta(hours=24)),),
        "ask_microcredits_per_machine_hour": ask,
        "zone": "DE",
        "pue": 2.0,
    }
    return Offer(**values | changes)


def bid(**changes: Any) -> Bid:
    values: dict[str, Any] = {
        "id": "job",
        "member": "me",
        "work_reference_hours": 10.0,
        "gang": 2,
        "release": START - timedelta(hours=3),
        "deadline": START + timedelta(hours=9),
        "worth_microcredits": 1,
    }
    return Bid(**values | changes)


def at_once(*offers: Offer, **changes: Any) -> StartAtOnce | None:
    return start_at_once(bid(**changes), offers, horizon=HORIZON, carbon=CARBON)


def test_at_once_is_on_the_own_machines_though_others_are_cheaper() -> None:
    found = at_once(offer("cheap", "lab", 1), offer("mine", "me", 9))

    # 10 reference-hours on 2 machines of twice the speed: 2.5 hours at 2 kW.
    assert found is not None
    assert (found.site, found.is_own, found.start, found.hours) == ("mine", True, START, 2.5)
    assert found.grams == pytest.approx(2.0 * (100 + 200 + 150))


def test_at_once_is_on_the_cheapest_machines_where_there_are_no_own_ones() -> None:
    found = at_once(offer("dear", "lab", 2), offer("cheap", "lab", 1, zone=None))

    assert found is not None
    assert (found.site, found.is_own, found.grams) == ("cheap", False, None)


def test_work_beyond_the_horizon_weighs_its_mean() -> None:
    found = at_once(offer("mine", "me", 9), work_reference_hours=24.0)

    assert found is not None
    assert found.grams == pytest.approx(2.0 * (1000 + 2 * 250))


@pytest.mark.parametrize(
    "changes",
    [{"gang": 3}, {"classes": ("tpu",)}, {"residency": frozenset({"NO"})}],
    ids=["too many machines", "another class", "another country"],
)
def test_machines_that_may_not_do_the_work_are_no_place_to_begin(changes: dict[str, Any]) -> None:
    assert at_once(offer("mine", "me", 9), **changes) is None


def test_ticks_weigh_what_the_hours_weighed_in_which_they_ended() -> None:
    def grams_at(zone: str, moment: datetime) -> float:
        return 100.0 * moment.hour

    # An hour of two machines that ends at half past one: half at 100 g x 12, half at 100 g x 13.
    ticks = [MeteredTick(at=START + timedelta(minutes=90), unit_seconds=7200)]

    found = emitted_grams(ticks, machines=2, kilowatts=2.0, zone="DE", grams_at=grams_at)

    assert found == pytest.approx(2.0 * (0.5 * 1200 + 0.5 * 1300))


def test_where_anything_is_unknown_the_sum_is_unknown() -> None:
    assert grams_between(START, 1.0, kilowatts=1.0, zone=None, grams_at=lambda *_: 1.0) is None
    assert grams_between(START, 1.0, kilowatts=1.0, zone="XX", grams_at=lambda *_: None) is None
    assert saved_grams(None, 1.0) is None
    assert saved_grams(3.0, 5.0) == -2.0
