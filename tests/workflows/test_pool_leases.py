"""Rounds that are booked: nothing is lost by a crash, and what earlier rounds leave counts in the next."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ayni.database import Database
from ayni.market.double_entry import available
from ayni.market.lease_events import CheckPassed, CheckpointSaved, HeartbeatLost, TickMetered
from ayni.market.pool_store import PoolStore, UnknownPoolEntryError
from ayni.market.round_store import RoundMovedOnError
from ayni.workflows.clear_market import PoolRound, RoundRequest, clear_pool
from ayni.workflows.explain_job import explain_job
from ayni.workflows.ledger_check import check_ledger
from ayni.workflows.offer_machines import offer_machines
from ayni.workflows.pool_leases import ClosedAlreadyError, OrderNotSentError, PoolLeases, UnsoundLedgerError

from .pool_scenario import GRANT, LAB, NOW, bid, grant, leases_of, site_runner, work

T = TypeVar("T")
HOUR = timedelta(hours=1)


class PowerCut(BaseException):
    """The process ends here."""


class CutDatabase:
    """A database whose process ends before its n-th write."""

    def __init__(self, database: Database, num_writes: int) -> None:
        self._database, self.left = database, num_writes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def run(self, write: Callable[..., T]) -> T:
        if self.left == 0:
            raise PowerCut
        self.left -= 1
        return self._database.run(write)


@pytest.fixture
def store(tmp_path: Path) -> PoolStore:
    store = PoolStore(Database(tmp_path / "state.db"))
    offer_machines(store, replace(LAB, num_machines=2), now=NOW)
    return store


def submit(store: PoolStore, *names: str, worth: float = 20.0, **changes: Any) -> None:
    for name in names:
        store.submit(bid(name, worth, **changes), now=NOW)


def clear(store: PoolStore, leases: PoolLeases, *, now: datetime = NOW, **request: Any) -> PoolRound:
    return clear_pool(store, leases, RoundRequest(**request), now=now, is_trial=False)


def is_sound(store: PoolStore) -> bool:
    return bool(check_ledger(store._database)["ok"])


def test_a_round_is_booked_and_its_machines_are_taken_in_the_next(store: PoolStore) -> None:
    leases = leases_of(store)
    grant(leases, "a-member", "b-member", "c-member", "uni")
    submit(store, "a", "b", "c")

    first = clear(store, leases).to_json()
    second = clear(store, leases, now=NOW + timedelta(minutes=30)).to_json()

    assert first["round"] == 1
    assert not first["is_trial"]
    assert len(first["placed"]) == 2
    assert {each["lease"] for each in first["placed"]} == {f"{each['job']}.1" for each in first["placed"]}
    # The third waits on: both machines are taken until after its deadline.
    assert second["num_jobs"] == 1
    assert second["placed"] == []
    assert second["refused"][0]["code"] == "no place"
    states = {each.job.bid.id: each.state for each in leases.jobs(store, now=NOW)}
    assert sorted(states.values()) == ["placed", "placed", "waiting"]
    assert is_sound(store)


def test_an_offer_that_is_made_anew_does_not_sell_leased_machines_again(store: PoolStore) -> None:
    leases = leases_of(store)
    grant(leases, "a-member", "b-member", "c-member", "uni")
    submit(store, "a", "b")
    clear(store, leases)
    (offer,) = store.offers()
    store.withdraw_offer(offer.offer.id, now=NOW)
    offer_machines(store, replace(LAB, num_machines=2), now=NOW + HOUR)
    submit(store, "c")

    found = clear(store, leases, now=NOW + HOUR).to_json()

    assert found["placed"] == []


def test_who_cannot_pay_is_refused_with_a_sentence_and_waits_on(store: PoolStore) -> None:
    leases = leases_of(store)
    grant(leases, "a-member", "uni")
    grant(leases, "b-member", amount=1_000_000)
    submit(store, "a", "b")

    found = clear(store, leases).to_json()

    assert [each["job"] for each in found["placed"]] == ["a"]
    (not_held,) = found["not_held"]
    assert (not_held["job"], not_held["member"]) == ("b", "b-member")
    assert "b-member needs" in not_held["reason"]
    assert leases.ledger.balance(available("b-member")) == 1_000_000
    states = {each.job.bid.id: each.state for each in leases.jobs(store, now=NOW)}
    assert states == {"a": "placed", "b": "waiting"}
    # Its machine is free for others in the next round, and its next lease has another id.
    grant(leases, "c-member")
    submit(store, "c")
    again = clear(store, leases).to_json()
    assert [each["job"] for each in again["placed"]] in (["c"], [])
    assert is_sound(store)


def test_a_crash_before_any_write_loses_nothing(tmp_path: Path) -> None:
    num_cuts = 0
    while True:
        folder = tmp_path / str(num_cuts)
        folder.mkdir()
        store = PoolStore(Database(folder / "state.db"))
        offer_machines(store, replace(LAB, num_machines=2), now=NOW)
        leases = leases_of(store)
        grant(leases, "a-member", "b-member", "uni")
        submit(store, "a", "b")
        cut = CutDatabase(store._database, num_cuts)
        is_cut = False
        try:
            clear(store, leases_of(PoolStore(cut)))  # type: ignore[arg-type]
        except PowerCut:
            is_cut = True

        after = clear(store, leases, now=NOW + timedelta(minutes=5))
        states = {each.job.bid.id: each.state for each in leases.jobs(store, now=NOW)}
        held = [record.award.terms.escrow_microcredits for record in leases.records(now=NOW).values()]

        # Whatever was decided before the crash stands, and what was not is decided now; never both.
        assert states == {"a": "placed", "b": "placed"}
        assert len(held) == 2
        spent = sum(GRANT - leases.ledger.balance(available(f"{name}-member")) for name in ("a", "b"))
        assert spent == sum(held)
        assert is_sound(store)
        if not is_cut:
            assert after.to_json()["num_jobs"] == 0
            break
        num_cuts += 1
    assert num_cuts >= 4


def test_of_two_rounds_at_the_same_moment_the_second_books_nothing(store: PoolStore) -> None:
    leases = leases_of(store)
    grant(leases, "a-member", "uni")
    submit(store, "a")
    number = leases.rounds.next_number()
    awards = list(clear_pool(store, leases, RoundRequest(), now=NOW).awards.values())
    clear(store, leases)
    before = leases.ledger.balances()

    with pytest.raises(RoundMovedOnError, match="Clear again"):
        leases.book(number, [replace(awards[0], grams=1.0)], now=NOW)

    assert leases.ledger.balances() == before


def test_a_lease_that_nobody_began_ends_with_its_time_and_its_job_waits_again(store: PoolStore) -> None:
    leases = leases_of(store)
    grant(leases, "a-member", "uni")
    submit(store, "a", work_reference_hours=2.0, deadline=NOW + 48 * HOUR)
    clear(store, leases)
    late = NOW + 24 * HOUR

    before = {each.job.bid.id: each.state for each in leases.jobs(store, now=late)}
    again = clear(store, leases, now=late).to_json()

    assert before == {"a": "waiting"}
    assert [each["lease"] for each in again["placed"]] == ["a.2"]
    assert leases.records(now=late)["a.1"].settled_at == late
    assert is_sound(store)


def test_a_released_lease_gives_everything_back_once(store: PoolStore) -> None:
    leases = leases_of(store)
    grant(leases, "a-member", "uni")
    submit(store, "a")
    clear(store, leases)

    released = leases.release("a.1", now=NOW)

    assert not released.is_open
    assert leases.ledger.balance(available("a-member")) == GRANT
    with pytest.raises(ClosedAlreadyError, match="released by its buyer"):
        leases.release("a.1", now=NOW)
    with pytest.raises(UnknownPoolEntryError):
        leases.release("a.7", now=NOW)


def test_work_that_runs_cannot_be_released_where_its_site_cannot_be_told(store: PoolStore) -> None:
    leases = leases_of(store)
    grant(leases, "a-member", "uni")
    submit(store, "a")
    (award,) = clear(store, leases).awards.values()
    work(leases, award, hours=1, finishes=False)

    with pytest.raises(OrderNotSentError, match="cannot be told"):
        leases.release("a.1", now=NOW + HOUR)

    (job,) = leases.jobs(store, now=NOW + HOUR)
    assert job.state == "running"


def test_who_lent_goes_first_in_the_next_round(store: PoolStore) -> None:
    leases = leases_of(store)
    grant(leases, "a-member", "uni")
    submit(store, "a", work_reference_hours=2.0)
    (award,) = clear(store, leases).awards.values()
    work(leases, award, hours=2)
    later = NOW + 3 * HOUR

    found = clear(store, leases, now=later).to_json()

    assert found["karma_credits"]["uni"] == pytest.approx(2.0, rel=1e-3)
    assert found["karma_credits"]["a-member"] == pytest.approx(-2.0, rel=1e-3)
    (job,) = leases.jobs(store, now=later)
    assert job.state == "done"


def test_a_carbon_budget_is_used_up_by_placed_and_by_done_work(store: PoolStore) -> None:
    leases = leases_of(store, grams_at=lambda *_: 100.0)
    grant(leases, "m", "uni")
    submit(store, "a", member="m", work_reference_hours=2.0)
    placed = clear_pool(store, leases, RoundRequest(), now=NOW).awards["a"]
    leases.rounds.set_budget("m", "2026-11", grams=placed.grams, at=NOW)

    clear(store, leases)
    submit(store, "b", member="m", work_reference_hours=2.0)
    held = clear(store, leases).to_json()
    work(leases, placed, hours=1)
    after = clear(store, leases, now=NOW + 3 * HOUR).to_json()
    december = clear_pool(store, leases, RoundRequest(), now=NOW + timedelta(days=10)).to_json()

    assert held["carbon_budgets_left_grams"] == {"m": 0.0}
    assert [(each["job"], each["code"]) for each in held["refused"]] == [("b", "carbon budget")]
    assert placed.grams is not None
    emitted = placed.kilowatts * 1.0 * 100.0
    assert after["carbon_budgets_left_grams"]["m"] == pytest.approx(max(0.0, placed.grams - emitted))
    assert december["carbon_budgets_left_grams"] == {}


def test_what_a_place_saves_is_told_as_expected_and_as_it_turned_out(store: PoolStore) -> None:
    # The member has a dirty machine of its own; the lab's is on a clean grid.
    own = replace(LAB, site="home", member="m", zone="PL", ask_credits_per_hour=0.4)
    offer_machines(store, own, now=NOW)
    leases = leases_of(store, grams_at=lambda zone, _: {"PL": 700.0, "NO": 50.0}[zone])
    grant(leases, "m", "uni")
    submit(store, "a", member="m", work_reference_hours=4.0, can_suspend=True)
    (award,) = clear(store, leases).awards.values()
    assert award.site == "lab"
    told = explain_job(store, leases, "a", RoundRequest(), now=NOW)

    # Two hours are done and saved, one more is lost when the site falls silent.
    start = award.terms.windows[0][0]
    work(
        leases,
        award,
        hours=2,
        finishes=False,
        after=CheckpointSaved(lease_id="a.1", at=start + 2 * HOUR, tick=8),
    )
    runner = site_runner(leases, start + 3 * HOUR)
    runner.tell(TickMetered(lease_id="a.1", at=start + 3 * HOUR, number=9, unit_seconds=3600))
    runner.tell(HeartbeatLost(lease_id="a.1", at=start + 3 * HOUR))
    runner.tell(CheckPassed(lease_id="a.1", at=start + 3 * HOUR))
    after = explain_job(store, leases, "a", RoundRequest(), now=start + 3 * HOUR)

    assert (told["state"], told["realised_saving_grams"]) == ("placed", None)
    at_once = award.at_once
    assert at_once is not None
    assert at_once.is_own
    assert told["expected_saving_grams"] == pytest.approx(at_once.grams - award.grams)
    # Instead of the counted half at home, three hours were emitted at the lab.
    realised = at_once.kilowatts * 2.0 * 700.0 - award.kilowatts * 3.0 * 50.0
    assert after["realised_saving_grams"] == pytest.approx(realised)
    assert after["state"] == "waiting"
    (job,) = leases.jobs(store, now=start + 3 * HOUR)
    assert job.bid.work_reference_hours == pytest.approx(2.0)
    paid = award.terms.price.payment_microcredits
    assert job.bid.limit_microcredits == pytest.approx(20_000_000 - paid / 2, abs=5)


def test_a_round_says_how_fair_it_is(store: PoolStore) -> None:
    own = replace(LAB, site="home", member="a-member", zone="PL", ask_credits_per_hour=0.4)
    offer_machines(store, own, now=NOW)
    leases = leases_of(store)
    submit(store, "a", "b", worth=20.0, deadline=NOW + 11 * HOUR)

    fairness = clear_pool(store, leases, RoundRequest(), now=NOW).to_json()["fairness"]

    # Each has one of three machines for 10 of 48 hours.
    assert fairness["dominant_shares"] == {
        "a-member": pytest.approx(10 / 3 / 47, rel=0.05),
        "b-member": pytest.approx(10 / 3 / 47, rel=0.05),
    }
    assert fairness["jain"] == pytest.approx(1.0)
    assert fairness["num_envious"] == 0
    assert fairness["least_share_ratio"] is None
    # Who has machines of its own ends here when it would have ended there.
    assert fairness["finish_time_ratios"] == {"a-member": pytest.approx(1.0, abs=0.11)}


def test_nothing_is_booked_on_a_ledger_that_was_changed(store: PoolStore, tmp_path: Path) -> None:
    leases = leases_of(store)
    grant(leases, "a-member", "uni")
    submit(store, "a")
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("DROP TRIGGER ledger_transactions_no_update")
        connection.execute("UPDATE ledger_transactions SET memo = 'gift' WHERE sequence = 1")

    with pytest.raises(UnsoundLedgerError, match="does not fit its hash"):
        clear(store, leases)

    assert leases.records(now=NOW) == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gang": 9}, "No site on offer has so many."),
        ({"gang": 4, "residency": frozenset({"NO"})}, "'big' has 8 of class 'v100', but its classes"),
    ],
)
def test_a_gang_that_no_site_can_hold_is_told_which_would(
    store: PoolStore, changes: dict[str, Any], said: str
) -> None:
    offer_machines(store, replace(LAB, site="big", num_machines=8, zone="DE"), now=NOW)
    submit(store, "a", **changes)

    (refused,) = clear_pool(store, leases_of(store), RoundRequest(), now=NOW).to_json()["refused"]

    assert said in refused["reason"]


def test_a_gang_whose_site_is_taken_is_told_so(store: PoolStore) -> None:
    leases = leases_of(store)
    grant(leases, "a-member", "uni")
    submit(store, "a", work_reference_hours=40.0, deadline=NOW + 41 * HOUR, worth=90.0)
    clear(store, leases)
    submit(store, "b", gang=2, work_reference_hours=10.0)

    (refused,) = clear(store, leases, now=NOW + HOUR, hours=24).to_json()["refused"]

    assert "The most that is free where it may run is 1" in refused["reason"]
    assert "'lab' has 2 of class 'v100', but they are taken." in refused["reason"]
