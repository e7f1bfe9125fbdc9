"""What an explanation says would win does win, and a little less does not."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.database import Database
from ayni.market.bids import Bid
from ayni.market.pool_store import PoolStore, UnknownPoolEntryError
from ayni.workflows.clear_market import RoundRequest, clear_pool, clear_values
from ayni.workflows.explain_job import Explanation, explain_waiting_job, explanation_of
from ayni.workflows.offer_machines import (
    MachinesRequest,
    PoolOptionError,
    member_offer,
    offer_machines,
)

from .pool_scenario import NOW, bid, leases_of

LAB = MachinesRequest(
    site="lab",
    member="uni",
    num_machines=1,
    num_cores=8,
    memory_gib=64,
    ask_credits_per_hour=0.4,
    seconds=30 * 86_400,
    accelerator="V100",
    zone="NO",
)


def pool_of(folder: Path, *bids: Bid) -> PoolStore:
    store = PoolStore(Database(folder / "state.db"))
    offer_machines(store, LAB, now=NOW)
    for each in bids:
        store.submit(each, now=NOW)
    return store


def explain(store: PoolStore, id: str) -> Explanation:
    return explain_waiting_job(store, leases_of(store), id, RoundRequest(), now=NOW)


def wins(folder: Path, id: str, *bids: Bid) -> bool:
    folder.mkdir()
    store = pool_of(folder, *bids)
    found = clear_pool(store, leases_of(store), RoundRequest(), now=NOW).to_json()
    return id in [each["job"] for each in found["placed"]]


def test_a_job_that_is_outbid_is_told_the_worth_that_wins_and_who_would_lose(tmp_path: Path) -> None:
    rich, poor = bid("rich", 40), bid("poor", 20)

    found = explain(pool_of(tmp_path, rich, poor), "poor")

    least = found.least_worth_microcredits
    assert least is not None
    assert [other.id for other in found.others] == ["rich"]
    assert found.to_json()["refused"]["code"] == "outbid"
    assert wins(tmp_path / "a", "poor", rich, replace(poor, worth_microcredits=least + 1))
    assert not wins(tmp_path / "b", "poor", rich, replace(poor, worth_microcredits=least - 1))


def test_a_job_that_is_outbid_is_told_how_long_it_would_have_to_wait(tmp_path: Path) -> None:
    rich, poor = bid("rich", 40), bid("poor", 20)

    found = explain(pool_of(tmp_path, rich, poor), "poor")

    assert found.least_deadline is not None
    # The machine is free again after 10 hours and the job takes 10 more.
    assert found.least_deadline == NOW + timedelta(hours=20)
    assert wins(tmp_path / "a", "poor", rich, replace(poor, deadline=found.least_deadline))
    earlier = replace(poor, deadline=found.least_deadline - timedelta(hours=1))
    assert not wins(tmp_path / "b", "poor", rich, earlier)


def test_a_budget_below_the_cost_is_told_the_cost(tmp_path: Path) -> None:
    cheap = bid("cheap", 50, budget_microcredits=1_000_000)

    found = explain(pool_of(tmp_path, cheap), "cheap")

    assert found.to_json()["refused"]["code"] == "worth below cost"
    assert found.least_worth_microcredits == pytest.approx(4_020_000, rel=0.01)
    assert found.others == ()


def test_where_no_worth_and_no_time_helps_nothing_is_promised(tmp_path: Path) -> None:
    found = explain(pool_of(tmp_path, bid("gang", 50, gang=3)), "gang")

    assert (found.least_worth_microcredits, found.least_deadline) == (None, None)
    assert "needs 3 machines" in found.to_json()["refused"]["reason"]


def test_a_winner_is_told_who_waits_behind_it(tmp_path: Path) -> None:
    store = pool_of(tmp_path, bid("rich", 40), bid("poor", 20))

    found = explain(store, "rich").to_json()

    assert found["placed"]["site"] == "lab"
    assert [other["job"] for other in found["others"]] == ["poor"]
    assert found["placed"]["payment_microcredits"] > found["placed"]["cost_microcredits"]
    assert (found["refused"], found["least_worth_microcredits"]) == (None, None)


@settings(max_examples=10)
@given(
    worths=st.lists(st.integers(1, 60), min_size=2, max_size=5, unique=True),
    hours=st.lists(st.integers(2, 14), min_size=5, max_size=5),
)
def test_what_is_said_to_win_wins_in_any_round(worths: list[int], hours: list[int]) -> None:
    offers = [member_offer(LAB, taken=[], now=NOW)]
    bids = [bid(f"j{n}", worth, work_reference_hours=float(hours[n])) for n, worth in enumerate(worths)]

    def placed(*others: Bid) -> set[str]:
        found = clear_values(others, offers, RoundRequest(), now=NOW)
        return {each.bid for each in found.cleared.result.allocations}

    winners = placed(*bids)
    for loser in (each for each in bids if each.id not in winners):
        found = explanation_of(loser.id, clear_values(bids, offers, RoundRequest(), now=NOW))
        others = [other for other in bids if other.id != loser.id]
        if found.least_worth_microcredits is not None:
            richer = replace(loser, worth_microcredits=found.least_worth_microcredits + 1)
            assert loser.id in placed(*others, richer)
        if found.least_deadline is not None:
            assert loser.id in placed(*others, replace(loser, deadline=found.least_deadline))


def test_a_job_that_does_not_wait_is_not_explained(tmp_path: Path) -> None:
    store = pool_of(tmp_path, bid("a", 40))
    store.withdraw_job("a", now=NOW)

    with pytest.raises(PoolOptionError, match="a does not wait: it is withdrawn"):
        explain(store, "a")
    with pytest.raises(UnknownPoolEntryError, match="No job is called 'b'"):
        explain(store, "b")
