"""What became of awards: leases read back from their events, and what they say about jobs and members.

| figure | from |
|---|---|
| where a job stands, and what of it is left to do | its leases |
| Karma credits | counted work of settled leases among members, fading with time |
| grams of a month | leases placed in it: what they emitted, or are expected to while they last |
| verified work of a quarter | counted work for other members, settled in it |

Work on a member's own machines earns neither credits nor a dividend: else one could work for oneself all day.
Neither do clouds, which are paid in money. Everything follows from stored awards and events, so no crash can
leave two of these figures that do not fit each other.

Not covered: keeping such figures instead of adding them up anew; each costs one pass over all leases.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from ayni.market.award import Award
from ayni.market.bids import Bid
from ayni.market.carbon_saving import (
    GramsAt,
    MeteredTick,
    emitted_grams,
    grams_between,
    saved_grams,
)
from ayni.market.horizon import SECONDS_PER_HOUR
from ayni.market.lease_book import LeaseBook
from ayni.market.lease_events import Event, LeaseOffered, LeaseSettled, TickMetered, WindowEnded
from ayni.market.lease_state import FINISHED, LeaseState
from ayni.market.lease_store import StoredEvent
from ayni.market.policy import LeasePolicy

PlacedState = Literal["placed", "running", "done"]
QUARTER_SECONDS = 91 * 86_400.0
LEAST_LEFT = 0.01
"""Share of a job that is left at least when it has not finished: its work was estimated too low."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """An award and what became of it; state None = it is not in the lease book yet (a crash came between)."""

    award: Award
    state: LeaseState | None
    ticks: tuple[MeteredTick, ...] = ()
    settled_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it holds machines and credits."""
        return self.state is None or not self.state.is_closed

    @property
    def is_finished(self) -> bool:
        """Whether its job is done."""
        return self.state is not None and self.state.is_closed and self.state.reason == FINISHED

    @property
    def counted_share(self) -> float:
        """The part of the planned work that was done and is paid for; more than 1 where it took longer."""
        counted = 0 if self.state is None else self.state.counted_unit_seconds
        return counted / self.award.terms.price.reserved_unit_seconds

    @property
    def counted_reference_hours(self) -> float:
        """Work that was done and is paid for."""
        return self.award.work_reference_hours * self.counted_share

    def emitted_grams(self, grams_at: GramsAt) -> float | None:
        """What its metered work has emitted, lost work included; None = unknown."""
        award = self.award
        return emitted_grams(
            self.ticks,
            machines=award.machines,
            kilowatts=award.kilowatts,
            zone=award.zone,
            grams_at=grams_at,
        )

    def expected_saving_grams(self) -> float | None:
        """What the place was expected to save beside beginning at once; below zero = to cost."""
        at_once = self.award.at_once
        return saved_grams(None if at_once is None else at_once.grams, self.award.grams)

    def realised_saving_grams(self, grams_at: GramsAt) -> float | None:
        """What it has saved once it is closed: the counted work begun at once, minus all that it emitted."""
        at_once = self.award.at_once
        if at_once is None or self.is_open:
            return None
        instead = grams_between(
            at_once.start,
            at_once.hours * self.counted_share,
            kilowatts=at_once.kilowatts,
            zone=at_once.zone,
            grams_at=grams_at,
        )
        return saved_grams(instead, self.emitted_grams(grams_at))


def read_leases(
    awards: Sequence[Award],
    events: Sequence[StoredEvent],
    *,
    policy: LeasePolicy,
    now: datetime | None = None,
) -> dict[str, LeaseRecord]:
    """What became of awards, by the id of their lease. `events` are each lease's in their order.

    With `now`, leases whose time is over and that never ran are shown as ended, as they will be when somebody
    next keeps the book.
    """
    book = LeaseBook(policy)
    ticks: dict[str, list[MeteredTick]] = {}
    settled: dict[str, datetime] = {}
    for stored in events:
        event = stored.event
        book.handle(event)
        if isinstance(event, TickMetered):
            tick = MeteredTick(at=event.at, unit_seconds=event.unit_seconds)
            ticks.setdefault(event.lease_id, []).append(tick)
        elif isinstance(event, LeaseSettled):
            settled[event.lease_id] = event.at
    if now is not None:
        for award in awards:
            for overdue in events_of_overdue(award, book.states.get(award.lease_id), now):
                book.handle(overdue)
    return {
        award.lease_id: LeaseRecord(
            award=award,
            state=book.states.get(award.lease_id),
            ticks=tuple(ticks.get(award.lease_id, ())),
            settled_at=settled.get(award.lease_id),
        )
        for award in awards
    }


def events_of_overdue(award: Award, state: LeaseState | None, now: datetime) -> list[Event]:
    """What ends a lease whose last window is over and that never ran; nothing for any other."""
    id = award.lease_id
    if now < award.terms.windows[-1][1] or (state is not None and state.phase not in ("offered", "held")):
        return []
    offered = [] if state is not None else [offer_of(award)]
    return [*offered, WindowEnded(lease_id=id, at=now)]


def offer_of(award: Award) -> LeaseOffered:
    """The event that begins its lease. Always the same, so that it may be told again after a crash."""
    return LeaseOffered(lease_id=award.lease_id, at=award.placed_at, terms=award.terms)


def state_of_job(records: Iterable[LeaseRecord]) -> PlacedState | None:
    """Where a job stands by its leases; None = it waits (again)."""
    found: PlacedState | None = None
    for record in records:
        if record.is_finished:
            return "done"
        if record.is_open:
            is_at_work = record.state is not None and record.state.phase in ("running", "suspended")
            found = "running" if is_at_work else "placed"
    return found


def rest_of_bid(bid: Bid, records: Iterable[LeaseRecord], *, policy: LeasePolicy) -> Bid:
    """The bid with the work and the budget that its ended leases have left.

    Work that a checkpoint holds is done, unless it was found wrong; without checkpoints all begins again.
    """
    work, limit = bid.work_reference_hours, bid.limit_microcredits
    for record in records:
        if record.state is None or not record.counted_share:
            continue
        limit -= _paid(record, record.state, policy)
        if bid.can_suspend:
            units = record.award.terms.price.reserved_unit_seconds
            saved = min(record.state.saved_unit_seconds, record.state.counted_unit_seconds)
            work -= record.award.work_reference_hours * min(1.0, saved / units)
    if (work, limit) == (bid.work_reference_hours, bid.limit_microcredits):
        return bid
    least = LEAST_LEFT * bid.work_reference_hours
    return replace(bid, work_reference_hours=max(work, least), budget_microcredits=max(0, limit))


def karma_credits(
    records: Iterable[LeaseRecord], *, now: datetime, decay_a_quarter: float
) -> dict[str, float]:
    """Karma credits of members in reference-hours: what was lent minus what was borrowed, fading with age.

    credit = +- hours * (1 - decay) ** quarters since it was settled
    """
    credits: dict[str, float] = {}
    for record in records:
        if record.settled_at is None or not record.award.is_lent:
            continue
        quarters = max(0.0, (now - record.settled_at).total_seconds() / QUARTER_SECONDS)
        hours = record.counted_reference_hours * (1 - decay_a_quarter) ** quarters
        lease = record.award.terms.lease
        credits[lease.site_member] = credits.get(lease.site_member, 0.0) + hours
        credits[lease.member] = credits.get(lease.member, 0.0) - hours
    return credits


def grams_of_month(
    records: Iterable[LeaseRecord], month: str, *, grams_at: GramsAt, grams_where_unknown: float
) -> dict[str, float]:
    """What members' leases placed in a month such as "2026-11" emit, by member.

    Closed leases count with what their metered work emitted, open ones with what was expected or is emitted
    already, whichever is more. Zones that nobody knows weigh `grams_where_unknown` per kWh, as in a round.
    """
    used: dict[str, float] = {}
    for record in records:
        award = record.award
        if f"{award.placed_at:%Y-%m}" != month:
            continue
        emitted = record.emitted_grams(grams_at)
        if emitted is None:
            units = sum(tick.unit_seconds for tick in record.ticks)
            emitted = grams_where_unknown * _kilowatt_hours(award, units)
        if record.is_open:
            planned = award.terms.price.reserved_unit_seconds
            expected = grams_where_unknown * _kilowatt_hours(award, planned)
            emitted = max(emitted, expected if award.grams is None else award.grams)
        member = award.terms.lease.member
        used[member] = used.get(member, 0.0) + emitted
    return used


def verified_work(records: Iterable[LeaseRecord], *, start: datetime, end: datetime) -> dict[str, int]:
    """Work for other members that was settled in [start, end), in reference-seconds, by who did it."""
    done: dict[str, int] = {}
    for record in records:
        if record.settled_at is None or not record.award.is_lent or not start <= record.settled_at < end:
            continue
        member = record.award.terms.lease.site_member
        seconds = round(record.counted_reference_hours * SECONDS_PER_HOUR)
        done[member] = done.get(member, 0) + seconds
    return done


def by_job(records: Mapping[str, LeaseRecord]) -> dict[str, list[LeaseRecord]]:
    """The leases of each job, the oldest first."""
    found: dict[str, list[LeaseRecord]] = {}
    for record in records.values():
        found.setdefault(record.award.job, []).append(record)
    return found


def _paid(record: LeaseRecord, state: LeaseState, policy: LeasePolicy) -> int:
    terms = record.award.terms
    parts = terms.price.parts_until(state.counted_unit_seconds, verification_share=policy.verification_share)
    return min(sum(parts), terms.escrow_microcredits)


def _kilowatt_hours(award: Award, unit_seconds: int) -> float:
    return award.kilowatts * unit_seconds / award.machines / SECONDS_PER_HOUR
