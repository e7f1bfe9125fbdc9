"""The lease book: from what happened to leases to what is to be done, without clock, network or ledger.

    offered -> held -> running <-> suspended
                 |        |            |
                 +--------+------------+--> released or failed --> settled

A lease is released when its work ended as agreed or its buyer, its owner or its escrow ended it, and
failed when its site or its job did. Either way the rest of the escrow goes back, and what was earned is
paid after a check that is drawn by the site's reputation.

What of the work is paid: all metered ticks; but where the site failed, or its owner took the machines
before a checkpoint was saved, only those up to the last checkpoint, for the rest must be done again.

Events that come twice or late (a tick after the end) change nothing. An event that cannot follow is an
error: somebody is confused, and nothing is guessed.

Silence counts only while somebody listened: after a crash of the book, or a jump of the clock, every
site has its whole time again to be heard.

Not covered: where a lease's work goes on when its site failed. The job bids again for what is left.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from ayni.market.lease_events import (
    CapacityReclaimed,
    CapacityReturned,
    CheckChosen,
    CheckFailed,
    CheckPassed,
    CheckpointSaved,
    CheckWork,
    ChooseCheck,
    ClawBack,
    Command,
    DrawTick,
    EndGang,
    EscrowExhausted,
    EscrowHeld,
    EscrowRefused,
    Event,
    GangEnded,
    GraceEnded,
    HeartbeatLost,
    HoldEscrow,
    LeaseCancelled,
    LeaseOffered,
    LeaseSettled,
    PayOut,
    ReleaseEscrow,
    SaveCheckpoint,
    SlashBond,
    StartWork,
    StopWork,
    TickMetered,
    WindowBegan,
    WindowEnded,
    WorkFailed,
    WorkFinished,
    WorkStarted,
)
from ayni.market.lease_state import FINISHED, LeaseEventError, LeaseState, UnknownLeaseError
from ayni.market.metering import DebitNote
from ayni.market.policy import LeasePolicy

Commands: TypeAlias = tuple[Command, ...]


class LeaseBook:
    """All leases that are not settled and forgotten yet, by id."""

    def __init__(self, policy: LeasePolicy) -> None:
        self.states: dict[str, LeaseState] = {}
        self._policy = policy
        self._looked_at: datetime | None = None

    def handle(self, event: Event) -> Commands | None:
        """Take an event in; returns what is to be done, or None where it comes twice or too late.

        Raises:
            LeaseEventError: it cannot follow what happened before.
            UnknownLeaseError: its lease was never offered, or is settled and gone.
        """
        before = self.states.get(event.lease_id)
        if before is None and not isinstance(event, LeaseOffered):
            raise UnknownLeaseError(event.lease_id)
        after, commands = next_state(before, event, self._policy)
        if after is before:
            return None
        self.states[event.lease_id] = after
        return commands

    def forget_settled(self) -> None:
        """Drop what is settled; nothing can happen to it any more."""
        self.states = {id: state for id, state in self.states.items() if state.phase != "settled"}

    def heard(self, lease_id: str, at: datetime) -> None:
        """A site gave a sign of life that is not worth keeping."""
        state = self.states.get(lease_id)
        if state is not None:
            self.states[lease_id] = replace(state, last_heard=max(state.last_heard, at))

    def gang(self, name: str) -> list[str]:
        """The leases of a gang that have not ended, in the order in which they were offered."""
        return [id for id, state in self.states.items() if state.terms.gang == name and not state.is_closed]

    def time_passed(self, now: datetime) -> list[Event]:
        """What happened because time went on; each is to be handled in turn."""
        looked_at, self._looked_at = self._looked_at, now
        longest = timedelta(seconds=self._policy.heartbeat_seconds)
        if looked_at is None or not timedelta(0) <= now - looked_at <= longest:
            # Nobody listened, or the clock was set: what was silent meanwhile cannot be held against it.
            for id, state in self.states.items():
                asked_at = None if state.asked_at is None else now
                self.states[id] = replace(state, last_heard=now, asked_at=asked_at)
        due = (_due(id, state, now, self._policy) for id, state in self.states.items())
        return [event for event in due if event is not None]


def next_state(state: LeaseState | None, event: Event, policy: LeasePolicy) -> tuple[LeaseState, Commands]:
    """The state after an event, and what is to be done. The very same state: nothing happened.

    Raises:
        LeaseEventError: the event cannot follow.
    """
    if isinstance(event, LeaseOffered):
        if state is None:
            return _offered(event)
        return _refuse_unless(state, event, is_repeated=state.terms == event.terms)
    assert state is not None, "only an offer begins a lease"
    if state.phase == "settled":
        return state, ()
    after, commands = _HANDLERS[type(event)](state, event, policy)
    if after is state:
        return state, ()
    heard = max(state.last_heard, event.at)
    return replace(after, num_events=state.num_events + 1, last_heard=heard), commands


def _offered(event: LeaseOffered) -> tuple[LeaseState, Commands]:
    terms = event.terms
    is_free = not (terms.escrow_microcredits or terms.bond_microcredits)
    state = LeaseState(terms=terms, phase="held" if is_free else "offered", num_events=1, last_heard=event.at)
    return state, () if is_free else (HoldEscrow(terms=terms),)


def _on_held(state: LeaseState, event: EscrowHeld, policy: LeasePolicy) -> tuple[LeaseState, Commands]:
    if state.phase == "offered":
        return replace(state, phase="held"), ()
    if state.is_closed and state.settling == "open":
        # Cancelled while the answer was under way: what is set aside by now goes back.
        return _settle(state)
    return state, ()


def _on_refused(state: LeaseState, event: EscrowRefused, policy: LeasePolicy) -> tuple[LeaseState, Commands]:
    if state.phase == "offered":
        return _pay(replace(state, phase="failed", reason=event.reason))
    if state.is_closed:  # cancelled while the answer was under way
        return _pay(state)
    return _refuse_unless(state, event, is_repeated=False)


def _on_cancelled(
    state: LeaseState, event: LeaseCancelled, policy: LeasePolicy
) -> tuple[LeaseState, Commands]:
    if state.is_closed:
        return state, ()
    return _end(state, "released", f"cancelled: {event.reason}")


def _on_window_began(
    state: LeaseState, event: WindowBegan, policy: LeasePolicy
) -> tuple[LeaseState, Commands]:
    return _ask_to_run(state, event.at)


def _on_returned(
    state: LeaseState, event: CapacityReturned, policy: LeasePolicy
) -> tuple[LeaseState, Commands]:
    if not state.is_reclaimed:
        return state, ()
    returned = replace(state, is_reclaimed=False)
    if state.phase == "running" and state.terms.window_at(event.at) is not None:
        return replace(returned, grace_until=None), ()
    return _ask_to_run(returned, event.at)


def _ask_to_run(state: LeaseState, now: datetime) -> tuple[LeaseState, Commands]:
    if state.phase not in ("held", "suspended") or state.asked_at is not None or state.is_reclaimed:
        return state, ()
    if state.terms.window_at(now) is None:
        return state, ()
    start = StartWork(lease=state.terms.lease, from_checkpoint=state.saved_ticks > 0)
    return replace(state, asked_at=now), (start,)


def _on_started(state: LeaseState, event: WorkStarted, policy: LeasePolicy) -> tuple[LeaseState, Commands]:
    if state.phase in ("held", "suspended") and state.asked_at is not None:
        return replace(state, phase="running", asked_at=None), ()
    if state.phase != "running" and (state.is_closed or state.phase == "suspended" or state.is_reclaimed):
        # It should not run: say so again rather than leave it running unpaid.
        return replace(state), (_stop(state, state.reason or "it is not its time"),)
    return _refuse_unless(state, event, is_repeated=state.phase == "running")


def _on_tick(state: LeaseState, event: TickMetered, policy: LeasePolicy) -> tuple[LeaseState, Commands]:
    if event.number <= state.ticks or state.is_closed or state.phase == "suspended":
        return state, ()
    if state.phase != "running":
        return _refuse_unless(state, event, is_repeated=False)
    note = DebitNote.of_tick(
        state.terms.lease,
        state.terms.price,
        number=event.number,
        unit_seconds_before=state.unit_seconds,
        unit_seconds=event.unit_seconds,
        verification_share=policy.verification_share,
    )
    units = state.unit_seconds + event.unit_seconds
    unsaved = (*state.unsaved, (event.number, units))
    after = replace(state, ticks=event.number, unit_seconds=units, unsaved=unsaved)
    return after, (DrawTick(note=note),) if note.cost_microcredits else ()


def _on_saved(state: LeaseState, event: CheckpointSaved, policy: LeasePolicy) -> tuple[LeaseState, Commands]:
    if state.is_closed or not state.saved_ticks <= event.tick <= state.ticks:
        return state, ()
    if event.tick == state.saved_ticks and state.grace_until is None:
        return state, ()
    units = max([state.saved_unit_seconds, *(sum_ for tick, sum_ in state.unsaved if tick <= event.tick)])
    unsaved = tuple(each for each in state.unsaved if each[0] > event.tick)
    saved = replace(state, saved_ticks=event.tick, saved_unit_seconds=units, unsaved=unsaved)
    if state.phase != "running" or state.grace_until is None or event.tick < state.ticks:
        return saved, ()
    return _give_way(saved, event.at)


def _on_window_ended(
    state: LeaseState, event: WindowEnded, policy: LeasePolicy
) -> tuple[LeaseState, Commands]:
    if state.is_closed or state.grace_until is not None:
        return state, ()
    if state.phase == "running":
        return _ask_for_checkpoint(state, event.at, policy)
    if event.at >= state.terms.windows[-1][1]:
        return _end(state, "released", "its time is over")
    return state, ()


def _on_reclaimed(
    state: LeaseState, event: CapacityReclaimed, policy: LeasePolicy
) -> tuple[LeaseState, Commands]:
    if state.is_closed or state.is_reclaimed:
        return state, ()
    reclaimed = replace(state, is_reclaimed=True, asked_at=None)
    if state.phase == "running":
        return _ask_for_checkpoint(reclaimed, event.at, policy)
    # It may have been asked to start a moment ago.
    return reclaimed, () if state.asked_at is None else (_stop(state, "the owner needs its machines", True),)


def _on_grace_ended(state: LeaseState, event: GraceEnded, policy: LeasePolicy) -> tuple[LeaseState, Commands]:
    if state.is_closed or state.grace_until is None:
        return state, ()
    if state.saved_ticks == state.ticks and state.terms.can_suspend:
        return _give_way(state, event.at)
    if state.is_reclaimed:
        return _end(state, "released", "reclaimed by its owner", is_unsaved_lost=True)
    return _end(state, "released", "its time is over")


def _on_lost(state: LeaseState, event: HeartbeatLost, policy: LeasePolicy) -> tuple[LeaseState, Commands]:
    if state.is_closed:
        return state, ()
    if state.phase == "offered":
        return _refuse_unless(state, event, is_repeated=False)
    return _end(state, "failed", "its site fell silent", is_unsaved_lost=True)


def _on_exhausted(
    state: LeaseState, event: EscrowExhausted, policy: LeasePolicy
) -> tuple[LeaseState, Commands]:
    return (state, ()) if state.is_closed else _end(state, "released", "its escrow is exhausted")


def _on_gang_ended(state: LeaseState, event: GangEnded, policy: LeasePolicy) -> tuple[LeaseState, Commands]:
    return (state, ()) if state.is_closed else _end(state, "released", event.reason)


def _on_finished(state: LeaseState, event: WorkFinished, policy: LeasePolicy) -> tuple[LeaseState, Commands]:
    if state.is_closed:
        return state, ()
    if state.phase != "running":
        return _refuse_unless(state, event, is_repeated=False)
    return _end(state, "released", FINISHED, ends_gang=False)


def _on_failed(state: LeaseState, event: WorkFailed, policy: LeasePolicy) -> tuple[LeaseState, Commands]:
    if state.is_closed:
        return state, ()
    if state.phase == "offered":
        return _refuse_unless(state, event, is_repeated=False)
    return _end(state, "failed", event.reason, is_unsaved_lost=event.is_sites_fault)


def _on_chosen(state: LeaseState, event: CheckChosen, policy: LeasePolicy) -> tuple[LeaseState, Commands]:
    if state.settling != "asked":
        return _refuse_unless(state, event, is_repeated=state.settling in ("checking", "paying"))
    if event.is_checked:
        return replace(state, settling="checking"), (CheckWork(lease=state.terms.lease),)
    return _pay(state)


def _on_passed(state: LeaseState, event: CheckPassed, policy: LeasePolicy) -> tuple[LeaseState, Commands]:
    if state.settling != "checking":
        return _refuse_unless(state, event, is_repeated=state.settling == "paying")
    return _pay(state)


def _on_check_failed(
    state: LeaseState, event: CheckFailed, policy: LeasePolicy
) -> tuple[LeaseState, Commands]:
    if state.settling != "checking":
        return _refuse_unless(state, event, is_repeated=state.settling == "paying")
    lease = state.terms.lease
    back = ClawBack(lease=lease, from_tick=1, reason=event.reason)
    slash = (SlashBond(lease=lease, reason=event.reason),) if state.terms.bond_microcredits else ()
    paying, pay_out = _pay(
        replace(state, counted_unit_seconds=0, reason=f"its work is wrong: {event.reason}")
    )
    return paying, (back, *slash, *pay_out)


def _on_settled(state: LeaseState, event: LeaseSettled, policy: LeasePolicy) -> tuple[LeaseState, Commands]:
    if state.settling != "paying":
        return _refuse_unless(state, event, is_repeated=False)
    return replace(state, phase="settled"), ()


def _ask_for_checkpoint(state: LeaseState, now: datetime, policy: LeasePolicy) -> tuple[LeaseState, Commands]:
    if state.saved_ticks == state.ticks and state.terms.can_suspend:
        return _give_way(state, now)
    until = now + timedelta(seconds=policy.grace_seconds)
    ask = SaveCheckpoint(lease=state.terms.lease, seconds=policy.grace_seconds)
    return replace(state, grace_until=until), (ask,)


def _give_way(state: LeaseState, now: datetime) -> tuple[LeaseState, Commands]:
    """Everything is saved: suspend where there is a time to go on, else end."""
    if not (state.terms.can_suspend and now < state.terms.windows[-1][1]):
        return _end(
            state, "released", "its time is over" if not state.is_reclaimed else "reclaimed by its owner"
        )
    reason = "the owner needs its machines" if state.is_reclaimed else "until its next window"
    return replace(state, phase="suspended", grace_until=None), (_stop(state, reason, True),)


def _end(
    state: LeaseState,
    phase: Literal["released", "failed"],
    reason: str,
    *,
    is_unsaved_lost: bool = False,
    ends_gang: bool = True,
) -> tuple[LeaseState, Commands]:
    """End the work for good: stop, give back, and find out whether what was done is right."""
    is_lost = is_unsaved_lost and state.saved_ticks < state.ticks
    units = state.saved_unit_seconds if is_lost else state.unit_seconds
    ended = replace(
        state, phase=phase, reason=reason, counted_unit_seconds=units, grace_until=None, asked_at=None
    )
    commands: list[Command] = []
    if state.phase in ("running", "suspended") or state.asked_at is not None:
        commands.append(_stop(state, reason))
    if is_lost:
        back = ClawBack(lease=state.terms.lease, from_tick=state.saved_ticks + 1, reason=reason)
        commands.append(back)
    if ends_gang and state.terms.gang is not None:
        gang_reason = f"the lease {state.terms.lease.lease_id} of its gang ended: {reason}"
        commands.append(
            EndGang(gang=state.terms.gang, lease_id=state.terms.lease.lease_id, reason=gang_reason)
        )
    if state.phase == "offered":
        return ended, tuple(commands)  # the hold is under way; its answer settles
    settling, settle = _settle(ended)
    return settling, (*commands, *settle)


def _settle(state: LeaseState) -> tuple[LeaseState, Commands]:
    """Give back what was not needed; pay, or first find out whether the work is right."""
    lease = state.terms.lease
    give_back = ReleaseEscrow(lease=lease)
    if not state.counted_unit_seconds:
        paying, pay_out = _pay(state)
        return paying, (give_back, *pay_out)
    choose = ChooseCheck(lease_id=lease.lease_id, rate=state.terms.check_rate)
    return replace(state, settling="asked"), (give_back, choose)


def _pay(state: LeaseState) -> tuple[LeaseState, Commands]:
    pay_out = PayOut(terms=state.terms, unit_seconds=state.counted_unit_seconds)
    return replace(state, settling="paying"), (pay_out,)


def _stop(state: LeaseState, reason: str, is_suspended: bool = False) -> StopWork:
    return StopWork(lease=state.terms.lease, is_suspended=is_suspended, reason=reason)


def _refuse_unless(state: LeaseState, event: Event, *, is_repeated: bool) -> tuple[LeaseState, Commands]:
    if is_repeated:
        return state, ()
    raise LeaseEventError(lease_id=event.lease_id, phase=state.phase, event=type(event).__name__)


def _due(id: str, state: LeaseState, now: datetime, policy: LeasePolicy) -> Event | None:
    """The one thing that the clock makes happen to a lease now."""
    window = state.terms.window_at(now)
    last_start = timedelta(seconds=policy.start_seconds)
    if state.is_closed:
        return None
    if state.phase == "offered":
        is_late = now >= state.terms.windows[0][0] + last_start
        return LeaseCancelled(lease_id=id, at=now, reason="not held in time") if is_late else None
    if state.phase == "running":
        return _due_while_running(id, state, now, policy)
    if state.asked_at is not None:
        return HeartbeatLost(lease_id=id, at=now) if now > state.asked_at + last_start else None
    if now >= state.terms.windows[-1][1]:
        return WindowEnded(lease_id=id, at=now)
    return WindowBegan(lease_id=id, at=now) if window and not state.is_reclaimed else None


def _due_while_running(id: str, state: LeaseState, now: datetime, policy: LeasePolicy) -> Event | None:
    if now > state.last_heard + timedelta(seconds=policy.heartbeat_seconds):
        return HeartbeatLost(lease_id=id, at=now)
    if state.grace_until is not None:
        return GraceEnded(lease_id=id, at=now) if now >= state.grace_until else None
    # Before its first window a lease runs only if the clock was set back.
    is_over = state.terms.window_at(now) is None and now >= state.terms.windows[0][1]
    return WindowEnded(lease_id=id, at=now) if is_over else None


_Handler: TypeAlias = Callable[[LeaseState, Any, LeasePolicy], tuple[LeaseState, Commands]]
_HANDLERS: dict[type[Any], _Handler] = {
    EscrowHeld: _on_held,
    EscrowRefused: _on_refused,
    LeaseCancelled: _on_cancelled,
    WindowBegan: _on_window_began,
    WindowEnded: _on_window_ended,
    WorkStarted: _on_started,
    TickMetered: _on_tick,
    CheckpointSaved: _on_saved,
    CapacityReclaimed: _on_reclaimed,
    CapacityReturned: _on_returned,
    GraceEnded: _on_grace_ended,
    HeartbeatLost: _on_lost,
    EscrowExhausted: _on_exhausted,
    GangEnded: _on_gang_ended,
    WorkFinished: _on_finished,
    WorkFailed: _on_failed,
    CheckChosen: _on_chosen,
    CheckPassed: _on_passed,
    CheckFailed: _on_check_failed,
    LeaseSettled: _on_settled,
}
