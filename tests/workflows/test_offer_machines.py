"""What a member leaves out comes from tables; what no table knows must be said."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ayni.database import Database
from ayni.footprint.grid.carbon import UnknownZoneError
from ayni.market.daily_windows import InvalidDailyWindowError
from ayni.market.offers import InvalidOfferError, OverlappingOffersError
from ayni.market.pool_store import PoolStore
from ayni.workflows.offer_machines import (
    MachinesRequest,
    PoolOptionError,
    member_offer,
    offer_machines,
    parse_throughput,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MACHINES = MachinesRequest(
    site="lab",
    member="uni",
    num_machines=4,
    num_cores=8,
    memory_gib=64,
    ask_credits_per_hour=0.4,
    seconds=7 * 86_400,
    accelerator="V100",
    zone="de",
)


@pytest.fixture
def store(tmp_path: Path) -> PoolStore:
    return PoolStore(Database(tmp_path / "state.db"))


def test_throughput_power_and_name_come_from_the_accelerator() -> None:
    offer = member_offer(replace(MACHINES, num_accelerators=2), taken=[], now=NOW)

    machine_class = offer.machine_class
    assert (offer.id, machine_class.name, machine_class.accelerator) == ("lab-2x-v100", "2x-v100", "2x V100")
    assert machine_class.throughput("any work") == 2.0
    # Two boards of 300 W and a busy host of 8 threads.
    assert 600 + 20 < machine_class.watts < 600 + 80
    assert (offer.zone, offer.ask_microcredits_per_machine_hour) == ("DE", 400_000)
    assert offer.windows == ((NOW, NOW + timedelta(days=7)),)


def test_what_is_said_wins_over_the_tables() -> None:
    said = replace(MACHINES, watts=100.0, throughput={"vision": 3.0}, machine_class="fast", id="mine")

    offer = member_offer(said, taken=[], now=NOW)

    assert (offer.id, offer.machine_class.name, offer.machine_class.watts) == ("mine", "fast", 100.0)
    assert offer.machine_class.throughput("vision") == 3.0
    assert offer.machine_class.throughput("text") is None


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"accelerator": None}, PoolOptionError, r"--throughput: .*without accelerator"),
        ({"accelerator": "TPU v9"}, PoolOptionError, r"--throughput: .*with TPU v9"),
        (
            {"accelerator": "TPU v9", "throughput": {"any": 1.0}},
            PoolOptionError,
            "--watts: what TPU v9 draws",
        ),
        ({"num_cores": 0}, PoolOptionError, "--cores: 0 cores"),
        ({"memory_gib": float("nan")}, PoolOptionError, "nan GiB"),
        ({"site": "my lab"}, PoolOptionError, "SITE: 'my lab' is no name"),
        ({"member": ""}, PoolOptionError, "--member"),
        ({"ask_credits_per_hour": float("inf")}, PoolOptionError, "--ask"),
        ({"ask_credits_per_hour": -1.0}, InvalidOfferError, "not negative"),
        ({"ask_credits_per_hour": 1e6}, InvalidOfferError, "slip"),
        ({"num_machines": 0}, InvalidOfferError, "whole number of machines"),
        ({"reliability": 0.0}, InvalidOfferError, "reliability"),
        ({"pue": 0.9}, InvalidOfferError, "pue"),
        ({"zone": "Moon"}, UnknownZoneError, "Moon"),
        ({"start": datetime(2026, 11, 23)}, PoolOptionError, r"no time zone.*2026-03-01T20:00\+01:00"),  # noqa: DTZ001
        ({"start": NOW - timedelta(days=8)}, PoolOptionError, "which is over"),
        ({"seconds": 1e12}, PoolOptionError, "--for: .* more than five years"),
        ({"daily": "20-06"}, InvalidDailyWindowError, "20:00-06:00"),
        ({"daily": "20:00-06:00", "zone_of_clock": "Nowhere"}, InvalidDailyWindowError, "time zone"),
        ({"daily": "10:00-11:00", "seconds": 600.0}, PoolOptionError, "does not come between"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_offered(
    store: PoolStore, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        offer_machines(store, replace(MACHINES, **changes), now=NOW)

    assert store.offers() == []


def test_nights_are_offered_by_the_local_clock() -> None:
    nights = replace(MACHINES, daily="20:00-06:00", zone_of_clock="Europe/Berlin", seconds=2 * 86_400)

    windows = member_offer(nights, taken=[], now=NOW).windows

    assert windows[0] == (NOW + timedelta(hours=7), NOW + timedelta(hours=17))
    assert len(windows) == 2


def test_the_same_machines_are_not_offered_twice_and_other_times_get_another_name(store: PoolStore) -> None:
    offer_machines(store, MACHINES, now=NOW)

    with pytest.raises(OverlappingOffersError):
        offer_machines(store, MACHINES, now=NOW)
    later = offer_machines(store, replace(MACHINES, start=NOW + timedelta(days=7)), now=NOW)

    assert [each.offer.id for each in later.offers] == ["lab-v100-2"]


def test_throughput_is_read_by_kind_of_work() -> None:
    assert parse_throughput(["0.5", "vision=2"]) == {"any": 0.5, "vision": 2.0}
    for wrong in (["fast"], ["any=0"], ["any=-1"], ["any=nan"], ["1", "any=2"]):
        with pytest.raises(PoolOptionError, match="no ratio above 0"):
            parse_throughput(wrong)
