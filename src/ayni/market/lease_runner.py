"""Carries out what the lease book decides: credits in the ledger, orders to sites.

    told an event -> the book decides -> the event is stored -> its commands are carried out
                  -> their answers (events too) are stored, and the event is marked as done

A crash between any two of these loses nothing: `recover` reads the stored events and does again what is
not marked. Credits bear that by their idempotency keys; a site must bear an order that comes twice.

Many events are told at once: their debit notes are booked in one transaction of the database.

Not covered: more than one process that keeps the same book. The second one is refused.
"""

import random
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias

from ayni.errors import AyniError
from ayni.market import guarantees, movements
from ayni.market.lease_book import Commands, LeaseBook
from ayni.market.lease_events import (
    CheckChosen,
    CheckWork,
    ChooseCheck,
    Command,
    DrawTick,
    EndGang,
    EscrowExhausted,
    EscrowHeld,
    EscrowRefused,
    Event,
    GangEnded,
    HoldEscrow,
    LeaseSettled,
    LeaseTerms,
    LedgerCommand,
    PayOut,
    ReleaseEscrow,
    SaveCheckpoint,
    SiteCommand,
    SlashBond,
    StartWork,
    StopWork,
)
from ayni.market.lease_store import LeaseStore, StoredEvent
from ayni.market.ledger import Ledger
from ayni.market.metering import DebitNote, drawn
from ayni.market.movements import InsufficientCreditsError, Movement
from ayni.market.policy import LeasePolicy

Handled: TypeAlias = tuple[StoredEvent, Commands]


class SiteOrders(Protocol):
    """Where orders to sites go. They may come twice, and the same order twice is one order."""

    def order(self, command: SiteCommand) -> None:
        """Pass an order on; what comes of it is told to the runner as events."""
        ...


class RecordedOrders:
    """Keeps orders in a list: for tests and simulations."""

    def __init__(self) -> None:
        self.orders: list[SiteCommand] = []

    def order(self, command: SiteCommand) -> None:
        """Remember it."""
        self.orders.append(command)


class LeaseRunner:
    """One pool's lease book with its store, its ledger and its sites."""

    def __init__(
        self,
        *,
        policy: LeasePolicy,
        store: LeaseStore,
        ledger: Ledger,
        sites: SiteOrders,
        now: Callable[[], datetime],
        rng: random.Random,
    ) -> None:
        self.book = LeaseBook(policy)
        self._policy = policy
        self._store = store
        self._ledger = ledger
        self._sites = sites
        self._now = now
        self._rng = rng

    def recover(self) -> int:
        """Read the book from its store and do what was left undone; returns how many events had to be.

        Raises:
            DamagedLeaseError: an event cannot be read.
        """
        stored = self._store.unsettled()
        self.book = LeaseBook(self._policy)
        undone: list[Handled] = []
        for each in stored:
            commands = self.book.handle(each.event) or ()
            if not each.is_carried_out:
                undone.append((each, commands))
        self._go_on(undone)
        return len(undone)

    def tell(self, *events: Event) -> None:
        """Take events in, and do what follows from them.

        Raises:
            LeaseEventError, UnknownLeaseError: one cannot have happened; those before it are handled.
            LeaseMovedOnError: another process keeps the same book, or the lease is an old one's namesake.
            AyniError: the database failed. What was stored is done by `recover`, the rest can be told again.
        """
        handled, refused = self._keep(events, done=[])
        self._go_on(handled)
        if refused is not None:
            raise refused

    def time_passed(self) -> None:
        """Do what is due by the clock. To be called more often than the heartbeat's time limit."""
        self.tell(*self.book.time_passed(self._now()))

    def _keep(
        self, events: Sequence[Event], *, done: Sequence[StoredEvent]
    ) -> tuple[list[Handled], AyniError | None]:
        """Ask the book about events and store them; the book forgets them when they cannot be stored."""
        before = {event.lease_id: self.book.states.get(event.lease_id) for event in events}
        handled, refused = self._decide(events)
        try:
            self._store.keep([stored for stored, _ in handled], done=done)
        except BaseException:
            for lease_id, state in before.items():
                self.book.states.pop(lease_id, None)
                self.book.states |= {} if state is None else {lease_id: state}
            raise
        return handled, refused

    def _decide(self, events: Sequence[Event]) -> tuple[list[Handled], AyniError | None]:
        """Ask the book about events, up to the first that it refuses; what changes nothing is left out."""
        handled: list[Handled] = []
        for event in events:
            try:
                commands = self.book.handle(event)
            except AyniError as refused:
                return handled, refused
            if commands is not None:
                number = self.book.states[event.lease_id].num_events
                handled.append((StoredEvent(number=number, event=event), commands))
        return handled, None

    def _go_on(self, handled: Sequence[Handled]) -> None:
        """Carry out commands of stored events, and of the events that answer them, until none is left.

        Events are marked together with the storing of their answers: one that was marked before would not
        be done again after a crash, and its answer would be missing for ever.
        """
        while handled:
            answers, refused = self._keep(self._carry_out(handled), done=[stored for stored, _ in handled])
            if refused is not None:
                raise refused
            handled = answers
        self.book.forget_settled()

    def _carry_out(self, handled: Sequence[Handled]) -> list[Event]:
        """Do what is to be done; returns what came of it."""
        answers: list[Event] = []
        notes: list[DebitNote] = []
        for _, commands in handled:
            for command in commands:
                if isinstance(command, DrawTick):
                    notes.append(command.note)
                    continue
                # In their order: what is given back must be what the ticks before it left.
                answers += self._draw(notes)
                notes = []
                answers += self._do(command)
        return [*answers, *self._draw(notes)]

    def _draw(self, notes: Sequence[DebitNote]) -> list[Event]:
        answers = self._ledger.book_all([note.movement() for note in notes]) if notes else []
        return [
            EscrowExhausted(lease_id=note.lease.lease_id, at=self._now())
            for note, answer in zip(notes, answers, strict=True)
            if drawn(note, answer).is_exhausted
        ]

    def _do(self, command: Command) -> list[Event]:
        if isinstance(command, HoldEscrow):
            return [self._hold(command.terms)]
        if isinstance(command, PayOut):
            return [self._pay_out(command)]
        if isinstance(command, ChooseCheck):
            is_checked = self._rng.random() < command.rate
            return [CheckChosen(lease_id=command.lease_id, at=self._now(), is_checked=is_checked)]
        if isinstance(command, EndGang):
            others = self.book.gang(command.gang)
            return [GangEnded(lease_id=id, at=self._now(), reason=command.reason) for id in others]
        if isinstance(command, StartWork | SaveCheckpoint | StopWork | CheckWork):
            self._sites.order(command)
        else:
            self._book(*self._movements_of(command))
        return []

    def _movements_of(self, command: LedgerCommand) -> list[Movement]:
        if isinstance(command, DrawTick):
            return [command.note.movement()]
        if isinstance(command, ReleaseEscrow):
            return [movements.release(command.lease)]
        if isinstance(command, SlashBond):
            return [guarantees.slash_bond(command.lease, reason=command.reason)]
        ticks = self._ledger.transactions(command.lease.run)
        back = guarantees.claw_back(command.lease, ticks, from_tick=command.from_tick, reason=command.reason)
        return [] if back is None else [back]

    def _hold(self, terms: LeaseTerms) -> Event:
        wanted = guarantees.hold_with_bond(
            terms.lease,
            escrow_microcredits=terms.escrow_microcredits,
            bond_microcredits=terms.bond_microcredits,
        )
        id, now = terms.lease.lease_id, self._now()
        try:
            self._ledger.book(wanted)
        except InsufficientCreditsError as error:
            return EscrowRefused(lease_id=id, at=now, reason=str(error))
        return EscrowHeld(lease_id=id, at=now)

    def _pay_out(self, command: PayOut) -> Event:
        lease = command.terms.lease
        bond = [guarantees.return_bond(lease)] if command.terms.bond_microcredits else []
        self._book(movements.pay_out(lease), *bond)
        return LeaseSettled(
            lease_id=lease.lease_id,
            at=self._now(),
            site_member=lease.site_member,
            unit_seconds=command.unit_seconds,
        )

    def _book(self, *wanted: Movement) -> None:
        for answer in self._ledger.book_all(wanted):
            if isinstance(answer, AyniError):
                raise answer
