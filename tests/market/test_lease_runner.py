"""Crashes of the lease runner: at every step of a story in memory, and by SIGKILL on real databases."""

import multiprocessing
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ayni.database import Database
from ayni.market.double_entry import available
from ayni.market.lease_events import (
    EscrowHeld,
    GangEnded,
    HeartbeatLost,
    LeaseOffered,
    LeaseSettled,
    SiteCommand,
    StartWork,
    StopWork,
    TickMetered,
    WindowBegan,
    WorkStarted,
)
from ayni.market.lease_runner import RecordedOrders
from ayni.market.lease_state import LeaseEventError
from ayni.market.lease_store import (
    DatabaseLeaseStore,
    InMemoryLeaseStore,
    LeaseMovedOnError,
    LeaseStore,
    StoredEvent,
)
from ayni.market.ledger import Book, Ledger
from ayni.market.store import DatabaseLedgerStore, InMemoryLedgerStore

from . import lease_scenario as scenario

T = TypeVar("T")


class PowerCut(BaseException):
    """The process ends here."""


class CutAfter:
    """Ends the process before its n-th write: of events, of credits, or of an order to a site."""

    def __init__(self, num_writes: int) -> None:
        self.left = num_writes

    def count(self) -> None:
        if self.left == 0:
            raise PowerCut
        self.left -= 1


class CutLeases:
    """A lease store that counts its writes."""

    def __init__(self, store: LeaseStore, cut: CutAfter) -> None:
        self._store, self._cut = store, cut

    def keep(self, new: Any, *, done: Any) -> None:
        self._cut.count()
        self._store.keep(new, done=done)

    def unsettled(self) -> list[StoredEvent]:
        return self._store.unsettled()


class CutLedger:
    """A ledger store that counts its writes."""

    def __init__(self, store: InMemoryLedgerStore, cut: CutAfter) -> None:
        self._store, self._cut = store, cut

    def open(self) -> AbstractContextManager[Book]:
        return self._store.open()

    def run(self, work: Callable[[Book], T]) -> T:
        self._cut.count()
        return self._store.run(work)

    def reading(self) -> AbstractContextManager[Book]:
        return self._store.reading()


class CutOrders(RecordedOrders):
    """Orders to sites that are counted as writes."""

    def __init__(self, cut: CutAfter) -> None:
        super().__init__()
        self._cut = cut

    def order(self, command: SiteCommand) -> None:
        self._cut.count()
        super().order(command)


def run_until_cut(leases: LeaseStore, credits_: InMemoryLedgerStore, num_writes: int) -> bool:
    """Tell the story; returns whether it came to its end before the power was cut."""
    cut = CutAfter(num_writes)
    runner = scenario.make_runner(CutLeases(leases, cut), Ledger(CutLedger(credits_, cut)), CutOrders(cut))
    try:
        runner.recover()
        scenario.tell_all(runner)
    except PowerCut:
        return False
    return True


def test_an_undisturbed_story_ends_as_worked_out_by_hand() -> None:
    leases, ledger = InMemoryLeaseStore(), Ledger(InMemoryLedgerStore())
    scenario.grant(ledger)
    sites = RecordedOrders()

    scenario.tell_all(scenario.make_runner(leases, ledger, sites))

    assert scenario.balances_of(ledger) == scenario.expected_balances()
    assert ledger.check() == []
    assert leases.unsettled() == []
    assert [type(order).__name__ for order in sites.orders] == ["StartWork"] * 2 + [
        "StopWork",
        "CheckWork",
    ] * 2


def test_a_power_cut_before_any_write_loses_and_makes_nothing() -> None:
    for num_writes in range(1000):
        leases, credits_ = InMemoryLeaseStore(), InMemoryLedgerStore()
        scenario.grant(Ledger(credits_))

        is_done = run_until_cut(leases, credits_, num_writes)
        assert run_until_cut(leases, credits_, 10**6)

        assert scenario.balances_of(Ledger(credits_)) == scenario.expected_balances(), num_writes
        assert leases.unsettled() == []
        if is_done:
            assert num_writes > 60
            return
    pytest.fail("the story never ended")


def test_any_number_of_power_cuts_one_after_another_changes_nothing() -> None:
    for seed in range(30):
        rng = random.Random(seed)
        leases, credits_ = InMemoryLeaseStore(), InMemoryLedgerStore()
        scenario.grant(Ledger(credits_))

        for _ in range(8):
            run_until_cut(leases, credits_, rng.randrange(40))
        assert run_until_cut(leases, credits_, 10**6)

        assert scenario.balances_of(Ledger(credits_)) == scenario.expected_balances(), seed
        assert Ledger(credits_).check() == []


def test_an_order_is_given_again_only_when_it_may_not_have_arrived() -> None:
    leases, ledger = InMemoryLeaseStore(), Ledger(InMemoryLedgerStore())
    scenario.grant(ledger)
    runner = scenario.make_runner(leases, ledger)
    runner.tell(scenario.offered("good"))
    runner.tell(WindowBegan(lease_id="good", at=scenario.START))

    sites = RecordedOrders()
    again = scenario.make_runner(leases, ledger, sites)

    assert again.recover() == 0
    assert sites.orders == []
    assert again.book.states == runner.book.states


def test_a_second_keeper_of_the_same_book_is_refused() -> None:
    leases, ledger = InMemoryLeaseStore(), Ledger(InMemoryLedgerStore())
    scenario.grant(ledger)
    first = scenario.make_runner(leases, ledger)
    first.tell(scenario.offered("good"))
    second = scenario.make_runner(leases, ledger)
    second.recover()
    first.tell(WindowBegan(lease_id="good", at=scenario.START))

    with pytest.raises(LeaseMovedOnError, match="Only one process"):
        second.tell(WindowBegan(lease_id="good", at=scenario.START))


def test_what_could_not_be_stored_has_not_happened_and_can_be_told_again() -> None:
    leases, ledger = InMemoryLeaseStore(), Ledger(InMemoryLedgerStore())
    scenario.grant(ledger)
    # Each of the two is written once and marked with its answers.
    cut = CutAfter(5)
    runner = scenario.make_runner(CutLeases(leases, cut), ledger)
    runner.tell(scenario.offered("good"))
    runner.tell(WindowBegan(lease_id="good", at=scenario.START))
    before = dict(runner.book.states)

    with pytest.raises(PowerCut):
        runner.tell(WorkStarted(lease_id="good", at=scenario.START))
    assert runner.book.states == before

    cut.left = 100
    runner.tell(WorkStarted(lease_id="good", at=scenario.START))
    assert runner.book.states["good"].phase == "running"


def test_a_settled_leases_name_cannot_be_used_again() -> None:
    leases, ledger = InMemoryLeaseStore(), Ledger(InMemoryLedgerStore())
    scenario.grant(ledger)
    runner = scenario.make_runner(leases, ledger)
    scenario.tell_all(runner)
    before = scenario.balances_of(ledger)

    with pytest.raises(LeaseMovedOnError):
        runner.tell(scenario.offered("good"))

    assert runner.book.states == {}
    assert scenario.balances_of(ledger) == before


def test_a_poor_buyer_and_a_poor_seller_both_end_the_offer_and_lose_nothing() -> None:
    ledger = Ledger(InMemoryLedgerStore())
    ledger.grant_once("buyer", amount_microcredits=90_000, policy="new-member")
    runner = scenario.make_runner(InMemoryLeaseStore(), ledger)

    for id, bond in (("a", 5_000), ("b", 0), ("c", 0)):
        runner.tell(
            LeaseOffered(lease_id=id, at=scenario.START, terms=scenario.terms(id, seller="poor", bond=bond))
        )

    # The seller cannot stake, the second is held, the buyer cannot pay for the third.
    assert list(runner.book.states) == ["b"]
    assert ledger.balance(available("buyer")) == 10_000
    assert ledger.check() == []


def test_an_exhausted_escrow_cascades_through_the_gang_in_one_go() -> None:
    from dataclasses import replace

    ledger = Ledger(InMemoryLedgerStore())
    scenario.grant(ledger)
    sites = RecordedOrders()
    runner = scenario.make_runner(InMemoryLeaseStore(), ledger, sites)
    for id in ("one", "two"):
        offer = replace(scenario.terms(id, seller="honest"), gang="g")
        runner.tell(LeaseOffered(lease_id=id, at=scenario.START, terms=offer))
        runner.tell(WindowBegan(lease_id=id, at=scenario.START))
        runner.tell(WorkStarted(lease_id=id, at=scenario.START))

    runner.tell(TickMetered(lease_id="two", at=scenario.START, number=1, unit_seconds=600))
    # 80,000 are held and a minute costs 1,200: 70 minutes are more than that.
    runner.tell(TickMetered(lease_id="one", at=scenario.START, number=1, unit_seconds=4200))

    assert [order.lease.lease_id for order in sites.orders if isinstance(order, StopWork)] == ["one", "two"]
    assert {state.phase for state in runner.book.states.values()} == {"released"}
    assert ledger.balance("member:buyer:escrow:one") == 0
    assert ledger.balance("member:buyer:escrow:two") == 0
    assert ledger.balance(available("buyer")) == scenario.GRANT - 80_000 - 12_000


def test_what_stands_before_a_refused_event_is_kept() -> None:
    leases, ledger = InMemoryLeaseStore(), Ledger(InMemoryLedgerStore())
    scenario.grant(ledger)
    runner = scenario.make_runner(leases, ledger)
    runner.tell(scenario.offered("good"))

    with pytest.raises(LeaseEventError):
        runner.tell(
            WindowBegan(lease_id="good", at=scenario.START),
            TickMetered(lease_id="good", at=scenario.START, number=1, unit_seconds=5),
        )

    again = scenario.make_runner(leases, ledger)
    again.recover()
    assert again.book.states == runner.book.states
    assert again.book.states["good"].asked_at == scenario.START


def test_time_tells_what_is_due() -> None:
    ledger = Ledger(InMemoryLedgerStore())
    scenario.grant(ledger)
    sites = RecordedOrders()
    runner = scenario.make_runner(InMemoryLeaseStore(), ledger, sites)
    runner.tell(scenario.offered("good"))

    runner.time_passed()

    assert [type(order) for order in sites.orders] == [StartWork]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """A database of either system."""
    if request.param == "sqlite":
        yield tmp_path / "state.db"
    else:
        yield request.getfixturevalue("postgresql").new_database()


def _tell_story(place: Path | str, told: Any) -> None:
    database = Database(place)
    runner = scenario.make_runner(DatabaseLeaseStore(database), Ledger(DatabaseLedgerStore(database)))
    runner.recover()
    scenario.tell_all(runner, after=lambda: told.send(1))


@pytest.mark.cluster
@pytest.mark.slow
def test_a_runner_killed_again_and_again_comes_to_the_same_end(place: Path | str) -> None:
    database = Database(place)
    scenario.grant(Ledger(DatabaseLedgerStore(database)))
    database.close()
    rng = random.Random(3)
    context = multiprocessing.get_context("fork")

    for _ in range(6):
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=_tell_story, args=(place, sending))
        process.start()
        for _ in range(rng.randrange(1, 9)):
            receiving.recv()
        os.kill(int(process.pid or 0), signal.SIGKILL)
        process.join()
    receiving, sending = context.Pipe(duplex=False)
    last = context.Process(target=_tell_story, args=(place, sending))
    last.start()
    last.join(timeout=120)

    database = Database(place)
    ledger = Ledger(DatabaseLedgerStore(database))
    assert last.exitcode == 0
    assert scenario.balances_of(ledger) == scenario.expected_balances()
    assert ledger.check() == []
    assert DatabaseLeaseStore(database).unsettled() == []
    database.close()


@pytest.mark.cluster
def test_both_lease_stores_keep_the_same(place: Path | str) -> None:
    database = Database(place)
    kept: list[LeaseStore] = [InMemoryLeaseStore(), DatabaseLeaseStore(database)]
    offer = scenario.offered("good")
    held = EscrowHeld(lease_id="good", at=scenario.START)
    first, second = StoredEvent(number=1, event=offer), StoredEvent(number=2, event=held)
    other = StoredEvent(number=2, event=GangEnded(lease_id="good", at=scenario.START, reason="x"))
    settled = StoredEvent(
        number=3,
        event=LeaseSettled(lease_id="good", at=scenario.START, site_member="honest", unit_seconds=7),
    )

    for store in kept:
        store.keep([first, second], done=[])
        store.keep([], done=[first])
        with pytest.raises(LeaseMovedOnError):
            store.keep([settled, other], done=[second])
    found = [store.unsettled() for store in kept]

    assert found[0] == found[1]
    assert [each.is_carried_out for each in found[0]] == [True, False]
    for store in kept:
        store.keep([settled], done=[])
        assert len(store.unsettled()) == 3
        store.keep([], done=[settled])
        assert store.unsettled() == []
    database.close()


@pytest.mark.cluster
def test_checks_are_counted_from_what_is_stored(place: Path | str) -> None:
    database = Database(place)
    leases, ledger = DatabaseLeaseStore(database), Ledger(DatabaseLedgerStore(database))
    scenario.grant(ledger)

    scenario.tell_all(scenario.make_runner(leases, ledger))

    assert leases.reputation("site-honest").passed_since_failure == 1
    assert leases.reputation("site-cheat").failed == 1
    assert leases.reputation("site-nobody").failed == 0
    assert len(leases.events_of("good")) > 15
    assert not any(isinstance(each.event, HeartbeatLost) for each in leases.events_of("good"))
    database.close()
