"""A round over the pool places, prices and explains, and books nothing."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ayni.database import Database
from ayni.market.bids import Bid
from ayni.market.cloud_offers import CloudTerms
from ayni.market.pool_store import PoolStore
from ayni.workflows.clear_market import PoolRound, RoundRequest, clear_pool
from ayni.workflows.offer_cloud import CloudRequest, offer_cloud
from ayni.workflows.offer_machines import MachinesRequest, offer_machines

from .pool_scenario import leases_of

NOW = datetime(2026, 11, 22, 12, 20, tzinfo=UTC)
LAB = MachinesRequest(
    site="lab",
    member="uni",
    num_machines=1,
    num_cores=8,
    memory_gib=64,
    ask_credits_per_hour=0.4,
    seconds=7 * 86_400,
    accelerator="V100",
    zone="NO",
)
A100 = CloudRequest(
    cloud="gcp",
    terms=CloudTerms(credits_per_dollar=1.0),
    seconds=7 * 86_400,
    instance_type="a2-highgpu-1g",
    region="europe-west4",
)


@pytest.fixture
def store(tmp_path: Path) -> PoolStore:
    return PoolStore(Database(tmp_path / "state.db"))


def submit(store: PoolStore, id: str, *, worth: float, within_hours: float = 24, **changes: Any) -> None:
    values: dict[str, Any] = {
        "id": id,
        "member": "me",
        "work_reference_hours": 10.0,
        "release": NOW,
        "deadline": NOW + timedelta(hours=within_hours),
        "worth_microcredits": round(worth * 1e6),
    }
    store.submit(Bid(**values | changes), now=NOW)


def placed(round_: PoolRound) -> dict[str, dict[str, Any]]:
    return {each["job"]: each for each in json.loads(json.dumps(round_.to_json()))["placed"]}


def test_a_job_goes_to_the_member_and_pays_no_more_than_its_cost_where_nobody_else_wants_it(
    store: PoolStore,
) -> None:
    offer_machines(store, LAB, now=NOW)
    submit(store, "a", worth=50)

    place = placed(clear_pool(store, leases_of(store), RoundRequest(), now=NOW))["a"]

    assert (place["site"], place["seller"], place["source"]) == ("lab", "uni", "member")
    assert (place["start"], place["hours"]) == (NOW.isoformat(), 10.0)
    assert datetime.fromisoformat(place["end"]) - NOW == timedelta(hours=10)
    assert place["ask_microcredits"] == 4_000_000
    # 10 h of a machine with a V100 in Norway; the tariff of 190 credits a tonne.
    assert 90 < place["grams_co2e"] < 140
    assert place["payment_microcredits"] == place["cost_microcredits"]
    assert len(store.jobs()) == 1


def test_a_burst_to_a_cloud_happens_only_when_it_is_worth_it(store: PoolStore) -> None:
    offer_machines(store, LAB, now=NOW)
    offer_cloud(store, A100, now=NOW, is_trial=False)
    submit(store, "first", worth=60, within_hours=12)
    submit(store, "second", worth=40, within_hours=12)
    submit(store, "third", worth=10, within_hours=12)

    round_ = clear_pool(store, leases_of(store), RoundRequest(), now=NOW)

    places = placed(round_)
    assert places["first"]["site"] == "lab"
    assert (places["second"]["source"], places["second"]["dated"]) == ("cloud:gcp", "2026-07-01")
    # The cloud caps what the machine of the member can cost.
    assert places["first"]["payment_microcredits"] <= places["second"]["cost_microcredits"]
    (refused,) = round_.to_json()["refused"]
    assert (refused["job"], refused["code"]) == ("third", "outbid")


def test_what_is_late_withdrawn_or_over_takes_no_part(store: PoolStore) -> None:
    offer_machines(store, LAB, now=NOW)
    offer_machines(store, replace(LAB, site="old", seconds=3600.0), now=NOW)
    submit(store, "late", worth=50, within_hours=1)
    submit(store, "gone", worth=50)
    store.withdraw_job("gone", now=NOW)

    found = clear_pool(store, leases_of(store), RoundRequest(), now=NOW + timedelta(hours=2)).to_json()

    assert (found["num_jobs"], found["num_offers"]) == (0, 1)


def test_a_gang_that_no_site_can_hold_is_told_which_would_hold_most(store: PoolStore) -> None:
    offer_machines(store, LAB, now=NOW)
    submit(store, "gang", worth=500, gang=4)

    (refused,) = clear_pool(store, leases_of(store), RoundRequest(), now=NOW).to_json()["refused"]

    assert refused["code"] == "no place"
    assert "needs 4 machines" in refused["reason"]
    assert "'lab'" in refused["reason"]


def test_work_in_pieces_ends_in_the_last_of_them(store: PoolStore) -> None:
    offer_machines(store, replace(LAB, zone="US-CAL-CISO"), now=NOW)
    submit(store, "pieces", worth=50, within_hours=40, can_suspend=True)

    place = placed(clear_pool(store, leases_of(store), RoundRequest(greenest_within=1.0), now=NOW))["pieces"]

    assert place["num_stops"] >= 1
    length = datetime.fromisoformat(place["end"]) - datetime.fromisoformat(place["start"])
    assert length > timedelta(hours=place["hours"])


def test_the_same_seed_gives_the_same_round_and_capacity_is_told(store: PoolStore) -> None:
    offer_machines(store, LAB, now=NOW)
    for number in range(4):
        submit(store, f"j{number}", worth=50, within_hours=11)

    rounds = [
        clear_pool(store, leases_of(store), RoundRequest(seed=seed), now=NOW).to_json() for seed in (1, 1)
    ]

    assert rounds[0] == rounds[1]
    assert len(rounds[0]["placed"]) == 1
    (row,) = rounds[0]["capacity"]
    assert (row["used_machine_hours"], row["offered_machine_hours"]) == (10.0, 48.0)
    assert rounds[0]["carbon_from"] == {"NO": "annual mean"}


def test_an_empty_pool_has_an_empty_round(store: PoolStore) -> None:
    found = clear_pool(store, leases_of(store), RoundRequest(), now=NOW).to_json()

    assert found["placed"] == found["refused"] == found["capacity"] == []
