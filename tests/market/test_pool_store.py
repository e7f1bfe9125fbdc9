"""Offers and submitted jobs are kept whole, and no machine or credit is promised twice."""

import json
import multiprocessing
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ayni.database import Database
from ayni.market.bids import Bid, BidAboveBalanceError, DeadlinePassedError
from ayni.market.machine_classes import MachineClass
from ayni.market.offers import Offer, OverlappingOffersError
from ayni.market.pool_store import (
    AlreadyWithdrawnError,
    DamagedPoolEntryError,
    PoolStore,
    UnknownPoolEntryError,
    UsedPoolIdError,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
V100 = MachineClass(
    name="v100", cores=8, memory_bytes=2**36, accelerator="V100", watts=330, reference_throughput={"any": 1.0}
)


def offer(id: str = "lab-v100", **changes: Any) -> Offer:
    values: dict[str, Any] = {
        "id": id,
        "site": "lab",
        "member": "uni",
        "machine_class": V100,
        "count": 4,
        "windows": ((NOW, NOW + 24 * HOUR),),
        "ask_microcredits_per_machine_hour": 400_000,
        "zone": "DE",
    }
    return Offer(**values | changes)


def bid(id: str = "digits-1", **changes: Any) -> Bid:
    values: dict[str, Any] = {
        "id": id,
        "member": "me",
        "work_reference_hours": 2.5,
        "release": NOW,
        "deadline": NOW + 6 * HOUR,
        "worth_microcredits": 5_000_000,
        "residency": frozenset({"DE"}),
        "carbon_cap_grams": 800.0,
    }
    return Bid(**values | changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path) -> PoolStore:
    return PoolStore(Database(path))


@pytest.mark.cluster
def test_a_server_keeps_the_same_as_a_file(postgresql: Any, store: PoolStore) -> None:
    on_server = PoolStore(Database(postgresql.new_database()))

    for each in (store, on_server):
        each.add_offers([offer(), offer("attic-v100", site="attic")], now=NOW)
        each.withdraw_offer("attic-v100", now=NOW + HOUR)
        each.submit(bid(), now=NOW, balance_microcredits=5_000_000, job_file="job.yaml")
        with pytest.raises(OverlappingOffersError):
            each.add_offers([offer("second")], now=NOW)

    assert on_server.offers() == store.offers()
    assert on_server.jobs() == store.jobs()


def test_a_change_that_is_tried_again_after_a_lost_answer_happens_once(store: PoolStore) -> None:
    for _ in range(2):
        store.add_offers([offer()], now=NOW)
        submitted = store.submit(bid(), now=NOW, balance_microcredits=5_000_000)
    for _ in range(2):
        withdrawn = store.withdraw_offer("lab-v100", now=NOW + HOUR)

    assert [each.offer for each in store.offers()] == [offer()]
    assert store.jobs() == [submitted]
    assert withdrawn.withdrawn_at == NOW + HOUR


def test_what_was_stored_is_read_back_by_another_process_as_it_was(store: PoolStore, path: Path) -> None:
    store.add_offers([offer()], now=NOW)
    submitted = store.submit(bid(), now=NOW, job_file="/jobs/digits/job.yaml")

    again = PoolStore(Database(path))

    (found,) = again.offers()
    assert (found.offer, found.offered_at, found.withdrawn_at) == (offer(), NOW, None)
    assert again.jobs() == [submitted]


def test_offers_of_one_machine_are_refused_and_none_of_them_is_added(store: PoolStore) -> None:
    store.add_offers([offer()], now=NOW)

    with pytest.raises(OverlappingOffersError, match="lab-v100"):
        store.add_offers([offer("other", site="attic"), offer("twice")], now=NOW)

    assert [each.offer.id for each in store.offers()] == ["lab-v100"]


def test_a_machine_may_be_offered_again_when_its_offer_is_withdrawn_or_over(store: PoolStore) -> None:
    store.add_offers([offer(windows=((NOW, NOW + HOUR),))], now=NOW)
    store.withdraw_offer("lab-v100", now=NOW)
    store.add_offers([offer("second", windows=((NOW, NOW + HOUR),))], now=NOW)
    later = NOW + 2 * HOUR

    store.add_offers([offer("third", windows=((NOW, NOW + 3 * HOUR),))], now=later)

    assert [each.state(now=later) for each in store.offers()] == ["withdrawn", "over", "open"]


def test_an_id_stands_for_one_thing_for_ever(store: PoolStore) -> None:
    store.add_offers([offer()], now=NOW)
    store.withdraw_offer("lab-v100", now=NOW)
    store.submit(bid(), now=NOW)

    with pytest.raises(UsedPoolIdError, match="offer 'lab-v100'"):
        store.add_offers([offer()], now=NOW + HOUR)
    with pytest.raises(UsedPoolIdError, match="job 'digits-1'"):
        store.submit(bid(), now=NOW + HOUR)


def test_withdrawing_says_when_it_was_done_before_and_what_there_is(store: PoolStore) -> None:
    store.add_offers([offer()], now=NOW)
    withdrawn = store.withdraw_offer("lab-v100", now=NOW)
    store.submit(bid(), now=NOW)
    store.withdraw_job("digits-1", now=NOW + HOUR)

    assert withdrawn.withdrawn_at == NOW
    assert store.jobs()[0].state(now=NOW) == "withdrawn"
    with pytest.raises(AlreadyWithdrawnError, match="2026-11-22T12:00:00"):
        store.withdraw_offer("lab-v100", now=NOW + HOUR)
    with pytest.raises(AlreadyWithdrawnError, match="2026-11-22T13:00:00"):
        store.withdraw_job("digits-1", now=NOW)
    with pytest.raises(UnknownPoolEntryError, match="There is none yet"):
        store.withdraw_offer("lab-k80", now=NOW)


def test_a_job_that_is_late_or_above_the_balance_beside_the_others_is_refused(store: PoolStore) -> None:
    store.submit(bid(), now=NOW, balance_microcredits=8_000_000)

    with pytest.raises(BidAboveBalanceError, match="has 3 left beside its other bids"):
        store.submit(bid("digits-2"), now=NOW, balance_microcredits=8_000_000)
    with pytest.raises(DeadlinePassedError):
        store.submit(bid("digits-3"), now=NOW + 6 * HOUR)

    cheaper = bid("digits-4", budget_microcredits=3_000_000)
    assert store.submit(cheaper, now=NOW, balance_microcredits=8_000_000).bid == cheaper


def test_jobs_that_do_not_wait_any_more_hold_no_balance(store: PoolStore) -> None:
    store.submit(bid(), now=NOW, balance_microcredits=5_000_000)
    store.submit(bid("others", member="you"), now=NOW, balance_microcredits=5_000_000)
    store.withdraw_job("digits-1", now=NOW)

    assert store.submit(bid("digits-2"), now=NOW, balance_microcredits=5_000_000)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE market_offers SET content = '{'",
        "UPDATE market_offers SET content = '[]'",
        'UPDATE market_offers SET content = \'{"id": "x"}\'',
        "UPDATE market_offers SET content = replace(content, '400000', '-400000')",
    ],
)
def test_a_row_that_was_damaged_is_named(store: PoolStore, path: Path, statement: str) -> None:
    store.add_offers([offer()], now=NOW)
    with sqlite3.connect(path) as connection:
        connection.execute(statement)

    with pytest.raises(DamagedPoolEntryError, match="lab-v100"):
        store.offers()


def test_contents_are_json_that_other_programs_can_read(store: PoolStore, path: Path) -> None:
    store.add_offers([offer()], now=NOW)

    with sqlite3.connect(path) as connection:
        ((content,),) = connection.execute("SELECT content FROM market_offers")

    assert json.loads(content)["ask_microcredits_per_machine_hour"] == 400_000


def _offer_once(path: Path, name: str, start: Any, outcomes: Any) -> None:
    store = PoolStore(Database(path))
    start.wait()
    try:
        store.add_offers([offer(name)], now=NOW)
        outcomes.put("added")
    except OverlappingOffersError:
        outcomes.put("refused")


@pytest.mark.cluster
def test_two_processes_cannot_offer_one_machine_at_the_same_moment(path: Path) -> None:
    Database(path).close()
    context = multiprocessing.get_context("fork")
    start, outcomes = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_offer_once, args=(path, name, start, outcomes)) for name in ("a", "b")
    ]

    for process in processes:
        process.start()
    found = sorted(outcomes.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()

    assert found == ["added", "refused"]
    assert len(PoolStore(Database(path)).offers()) == 1
