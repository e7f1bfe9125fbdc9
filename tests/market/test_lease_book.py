from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.lease_book import LeaseBook
from ayni.market.lease_events import (
    EVENT_CLASSES,
    CapacityReclaimed,
    CapacityReturned,
    CheckChosen,
    CheckFailed,
    CheckPassed,
    CheckpointSaved,
    Command,
    EscrowExhausted,
    EscrowHeld,
    EscrowRefused,
    Event,
    GangEnded,
    GraceEnded,
    HeartbeatLost,
    LeaseCancelled,
    LeaseOffered,
    LeaseSettled,
    LeaseTerms,
    TickMetered,
    WindowBegan,
    WindowEnded,
    WorkFailed,
    WorkFinished,
    WorkStarted,
    event_from_json,
    event_to_json,
)
from ayni.market.lease_state import LeaseEventError, LeaseState, UnknownLeaseError
from ayni.market.metering import LeasePrice
from ayni.market.movements import Lease
from ayni.market.policy import LeasePolicy

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = LeasePolicy(heartbeat_seconds=180, start_seconds=600, grace_seconds=300)
MINUTE = timedelta(minutes=1)


def terms(id: str = "r1", *, num_windows: int = 1, **values: Any) -> LeaseTerms:
    """A lease of an hour, or of several with an hour between them; a second costs 10."""
    hours = [START + timedelta(hours=2 * n) for n in range(num_windows)]
    given = {
        "lease": Lease(lease_id=id, run="job", member="me", site="own", site_member="lab"),
        "price": LeasePrice(
            reserved_unit_seconds=3600 * num_windows,
            seller_microcredits=36_000 * num_windows,
            climate_microcredits=0,
            payment_microcredits=36_000 * num_windows,
        ),
        "windows": tuple((hour, hour + timedelta(hours=1)) for hour in hours),
        "escrow_microcredits": 36_000 * num_windows,
        "can_suspend": num_windows > 1,
    }
    return LeaseTerms(**{**given, **values})


class Story:
    """A lease book to which things happen at minutes after the start; keeps the last commands."""

    def __init__(self, *offers: LeaseTerms) -> None:
        self.book = LeaseBook(POLICY)
        self.commands: tuple[Command, ...] | None = ()
        for offer in offers or (terms(),):
            self.book.handle(LeaseOffered(lease_id=offer.lease.lease_id, at=START - MINUTE, terms=offer))
        self.looked_at = START - MINUTE
        self.book.time_passed(self.looked_at)

    def tell(self, kind: type[Any], *, minute: float = 0, id: str = "r1", **values: Any) -> list[str]:
        """Let something happen; returns the names of the commands that follow."""
        self.commands = self.book.handle(kind(lease_id=id, at=START + minute * MINUTE, **values))
        return [type(command).__name__ for command in self.commands or ()]

    def run(self, *, ticks: int = 0, id: str = "r1") -> "Story":
        """Start the work, and meter a minute for each tick."""
        self.tell(EscrowHeld, id=id)
        self.tell(WindowBegan, id=id)
        self.tell(WorkStarted, id=id)
        for number in range(1, ticks + 1):
            self.tell(TickMetered, minute=number, id=id, number=number, unit_seconds=60)
        return self

    def state(self, id: str = "r1") -> LeaseState:
        return self.book.states[id]

    def due(self, minute: float) -> list[str]:
        """What is due at a minute, with the book looked at every minute until then."""
        now = START + minute * MINUTE
        while self.looked_at + MINUTE < now:
            self.looked_at += MINUTE
            self.book.time_passed(self.looked_at)
        self.looked_at = now
        return [type(event).__name__ for event in self.book.time_passed(now)]


def test_a_lease_goes_from_offer_to_settlement() -> None:
    story = Story()

    assert story.tell(EscrowHeld) == []
    assert story.state().phase == "held"
    assert story.tell(WindowBegan) == ["StartWork"]
    assert story.tell(WorkStarted) == []
    assert story.state().phase == "running"
    assert story.tell(TickMetered, number=1, unit_seconds=60) == ["DrawTick"]
    assert story.tell(WorkFinished, minute=2) == ["StopWork", "ReleaseEscrow", "ChooseCheck"]
    assert story.state().phase == "released"
    assert story.tell(CheckChosen, is_checked=True) == ["CheckWork"]
    assert story.tell(CheckPassed) == ["PayOut"]
    assert story.tell(LeaseSettled, site_member="lab", unit_seconds=60) == []
    assert story.state().phase == "settled"


def test_an_offer_that_nobody_can_pay_ends_without_a_trace_of_work() -> None:
    story = Story()

    assert story.tell(EscrowRefused, reason="too poor") == ["PayOut"]

    assert (story.state().phase, story.state().reason) == ("failed", "too poor")


def test_a_lease_that_costs_nothing_needs_no_escrow() -> None:
    free = LeasePrice(
        reserved_unit_seconds=3600, seller_microcredits=0, climate_microcredits=0, payment_microcredits=0
    )
    story = Story(terms(price=free, escrow_microcredits=0))

    assert story.state().phase == "held"
    story.tell(WindowBegan)
    story.tell(WorkStarted)
    assert story.tell(TickMetered, number=1, unit_seconds=60) == []
    assert story.tell(WorkFinished) == ["StopWork", "ReleaseEscrow", "ChooseCheck"]


@pytest.mark.parametrize(
    ("answer", "commands"),
    [
        (EscrowHeld(lease_id="r1", at=START), ["ReleaseEscrow", "PayOut"]),
        (EscrowRefused(lease_id="r1", at=START, reason="poor"), ["PayOut"]),
    ],
)
def test_a_cancelled_offer_gives_back_what_was_held_meanwhile(answer: Event, commands: list[str]) -> None:
    story = Story()

    assert story.tell(LeaseCancelled, reason="not needed") == []

    found = story.book.handle(answer)
    assert [type(command).__name__ for command in found or ()] == commands


def test_all_metered_work_counts_when_the_buyer_stops_early() -> None:
    story = Story().run(ticks=3)

    assert story.tell(LeaseCancelled, minute=3, reason="enough") == [
        "StopWork",
        "ReleaseEscrow",
        "ChooseCheck",
    ]

    assert story.state().counted_unit_seconds == 180


def test_a_silent_site_loses_the_work_since_its_last_checkpoint() -> None:
    story = Story().run(ticks=5)
    story.tell(CheckpointSaved, minute=5, tick=3)

    assert story.due(7) == []
    assert story.due(8.1) == ["HeartbeatLost"]
    names = story.tell(HeartbeatLost, minute=8.1)

    assert names == ["StopWork", "ClawBack", "ReleaseEscrow", "ChooseCheck"]
    assert story.commands is not None
    assert story.commands[1].from_tick == 4  # type: ignore[union-attr]
    assert story.state().phase == "failed"
    assert story.state().counted_unit_seconds == 180


def test_a_site_that_fell_silent_before_any_checkpoint_earns_nothing() -> None:
    story = Story().run(ticks=5)

    assert story.tell(HeartbeatLost, minute=9) == ["StopWork", "ClawBack", "ReleaseEscrow", "PayOut"]

    assert story.state().counted_unit_seconds == 0


def test_a_sign_of_life_between_ticks_counts() -> None:
    story = Story().run(ticks=1)

    story.book.heard("r1", START + 4 * MINUTE)

    assert story.due(5) == []
    assert story.due(7.1) == ["HeartbeatLost"]


@pytest.mark.parametrize("jump_minutes", [60 * 24 * 365, 4, -90])
def test_silence_while_nobody_listened_or_while_the_clock_was_set_is_not_held_against_a_site(
    jump_minutes: int,
) -> None:
    story = Story(terms(windows=((START, START + timedelta(days=1000)),))).run(ticks=1)
    story.due(2)

    now = START + (2 + jump_minutes) * MINUTE

    found = [story.book.time_passed(now + timedelta(seconds=seconds)) for seconds in (0, 90, 179, 181)]

    assert found[:3] == [[], [], []]
    assert [type(event).__name__ for event in found[3]] == ["HeartbeatLost"]


def test_the_jobs_own_fault_is_paid_for_and_the_sites_is_not() -> None:
    own, sites = Story().run(ticks=3), Story().run(ticks=3)

    assert "ClawBack" not in own.tell(WorkFailed, minute=3, reason="bug", is_sites_fault=False)
    assert "ClawBack" in sites.tell(WorkFailed, minute=3, reason="disk", is_sites_fault=True)

    assert own.state().counted_unit_seconds == 180
    assert sites.state().counted_unit_seconds == 0


def test_an_owner_that_reclaims_waits_for_a_checkpoint_and_gets_its_machines() -> None:
    story = Story(terms(can_suspend=True)).run(ticks=5)

    assert story.tell(CapacityReclaimed, minute=5) == ["SaveCheckpoint"]
    assert story.tell(TickMetered, minute=6, number=6, unit_seconds=60) == ["DrawTick"]
    assert story.tell(CheckpointSaved, minute=7, tick=5) == []
    assert story.tell(CheckpointSaved, minute=7, tick=6) == ["StopWork"]

    assert story.state().phase == "suspended"
    assert story.due(8) == []
    assert story.tell(CapacityReturned, minute=20) == ["StartWork"]
    assert story.tell(WorkStarted, minute=21) == []
    assert story.state().phase == "running"


def test_an_owner_that_changes_its_mind_lets_the_work_go_on() -> None:
    story = Story().run(ticks=5)
    story.tell(CapacityReclaimed, minute=5)

    assert story.tell(CapacityReturned, minute=6) == []

    story.book.heard("r1", START + 11 * MINUTE)
    assert story.due(11) == []
    assert story.state().phase == "running"
    assert story.state().grace_until is None


def test_an_owner_that_reclaims_before_a_checkpoint_forgoes_the_unsaved_pay() -> None:
    story = Story().run(ticks=5)
    story.tell(CheckpointSaved, minute=5, tick=2)
    story.tell(CapacityReclaimed, minute=5)
    story.book.heard("r1", START + 9 * MINUTE)

    assert story.due(9.9) == []
    assert story.due(10) == ["GraceEnded"]
    names = story.tell(GraceEnded, minute=10)

    assert names == ["StopWork", "ClawBack", "ReleaseEscrow", "ChooseCheck"]
    assert story.state().phase == "released"
    assert story.state().counted_unit_seconds == 120


def test_work_that_nobody_began_can_be_reclaimed_and_does_not_start() -> None:
    story = Story()
    story.tell(EscrowHeld)
    story.tell(WindowBegan)

    assert story.tell(CapacityReclaimed) == ["StopWork"]

    assert story.due(1) == []
    assert story.tell(WorkStarted, minute=1) == ["StopWork"]
    assert story.due(60) == ["WindowEnded"]


def test_work_is_suspended_between_windows_and_goes_on_from_its_checkpoint() -> None:
    story = Story(terms(num_windows=2)).run(ticks=2)
    story.book.heard("r1", START + 59 * MINUTE)

    assert story.due(60) == ["WindowEnded"]
    assert story.tell(WindowEnded, minute=60) == ["SaveCheckpoint"]
    assert story.tell(CheckpointSaved, minute=61, tick=2) == ["StopWork"]
    assert story.state().phase == "suspended"
    assert story.due(119) == []
    assert story.due(120) == ["WindowBegan"]
    assert story.tell(WindowBegan, minute=120) == ["StartWork"]

    assert story.commands is not None
    assert story.commands[0].from_checkpoint  # type: ignore[union-attr]


def test_the_end_of_the_last_window_ends_the_lease() -> None:
    story = Story().run(ticks=2)
    story.book.heard("r1", START + 59 * MINUTE)

    assert story.tell(WindowEnded, minute=60) == ["SaveCheckpoint"]
    assert story.tell(CheckpointSaved, minute=61, tick=2) == ["StopWork", "ReleaseEscrow", "ChooseCheck"]

    assert (story.state().phase, story.state().reason) == ("released", "its time is over")


def test_a_site_that_does_not_begin_has_failed() -> None:
    story = Story()
    story.tell(EscrowHeld)
    story.tell(WindowBegan)

    assert story.due(10) == []
    assert story.due(10.1) == ["HeartbeatLost"]
    assert story.tell(HeartbeatLost, minute=10.1) == ["StopWork", "ReleaseEscrow", "PayOut"]


def test_an_offer_that_is_not_held_in_time_is_cancelled_by_the_clock() -> None:
    assert Story().due(9.9) == []
    assert Story().due(10) == ["LeaseCancelled"]


def test_an_exhausted_escrow_ends_the_lease_and_its_whole_gang() -> None:
    story = Story(terms("r1", gang="g"), terms("r2", gang="g"), terms("r3", gang="other"))
    for id in ("r1", "r2", "r3"):
        story.run(ticks=1, id=id)

    names = story.tell(EscrowExhausted, minute=2)

    assert names == ["StopWork", "EndGang", "ReleaseEscrow", "ChooseCheck"]
    assert story.book.gang("g") == ["r2"]
    assert "StopWork" in story.tell(GangEnded, id="r2", minute=2, reason="r1 ended")
    assert story.book.gang("g") == []
    assert story.book.gang("other") == ["r3"]


def test_a_gang_member_that_finishes_does_not_end_the_others() -> None:
    story = Story(terms("r1", gang="g"), terms("r2", gang="g"))
    for id in ("r1", "r2"):
        story.run(ticks=1, id=id)

    assert "EndGang" not in story.tell(WorkFinished, minute=2)


def test_wrong_work_is_clawed_back_whole_and_costs_the_bond() -> None:
    story = Story(terms(bond_microcredits=500, check_rate=0.5)).run(ticks=3)
    story.tell(WorkFinished, minute=3)
    story.tell(CheckChosen, minute=3, is_checked=True)

    assert story.tell(CheckFailed, minute=9, reason="other bytes") == ["ClawBack", "SlashBond", "PayOut"]

    assert story.commands is not None
    assert story.commands[0].from_tick == 1  # type: ignore[union-attr]
    assert story.state().counted_unit_seconds == 0


def test_what_comes_twice_or_late_changes_nothing() -> None:
    story = Story().run(ticks=3)
    before = story.state()

    for kind, values in [
        (EscrowHeld, {}),
        (WorkStarted, {}),
        (TickMetered, {"number": 2, "unit_seconds": 60}),
        (CheckpointSaved, {"tick": 9}),
        (CapacityReturned, {}),
        (GraceEnded, {}),
    ]:
        assert story.tell(kind, **values) == []
        assert story.commands is None
    assert story.state() == before
    story.tell(WorkFinished, minute=3)
    ended = story.state()
    for kind, values in [
        (TickMetered, {"number": 4, "unit_seconds": 60}),
        (HeartbeatLost, {}),
        (EscrowExhausted, {}),
        (WorkFinished, {}),
        (CapacityReclaimed, {}),
        (LeaseCancelled, {"reason": "late"}),
    ]:
        assert story.tell(kind, minute=4, **values) == []
    assert story.state() == ended


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (WorkStarted, {}),
        (TickMetered, {"number": 1, "unit_seconds": 60}),
        (WorkFinished, {}),
        (WorkFailed, {"reason": "x", "is_sites_fault": True}),
        (CheckPassed, {}),
        (CheckFailed, {"reason": "x"}),
        (CheckChosen, {"is_checked": True}),
        (LeaseSettled, {"site_member": "lab", "unit_seconds": 1}),
    ],
)
def test_what_cannot_have_happened_is_an_error_that_changes_nothing(
    kind: type[Any], values: dict[str, Any]
) -> None:
    story = Story()
    before = story.state()

    with pytest.raises(LeaseEventError, match="r1 is offered"):
        story.tell(kind, **values)

    assert story.state() == before


def test_the_same_offer_twice_is_one_and_another_under_its_name_is_an_error() -> None:
    story = Story()

    assert story.tell(LeaseOffered, terms=terms()) == []
    with pytest.raises(LeaseEventError, match="LeaseOffered cannot happen"):
        story.tell(LeaseOffered, terms=terms(escrow_microcredits=99_000))


def test_an_unknown_lease_is_named() -> None:
    with pytest.raises(UnknownLeaseError, match="nowhere"):
        Story().tell(EscrowHeld, id="nowhere")


@pytest.mark.parametrize(
    "wrong",
    [
        {"windows": ()},
        {"windows": ((START, START),)},
        {"windows": ((START + MINUTE, START),)},
        {"windows": ((START, START + 2 * MINUTE), (START + MINUTE, START + 3 * MINUTE)), "can_suspend": True},
        {"windows": ((START, START + MINUTE), (START + 2 * MINUTE, START + 3 * MINUTE))},
        {"windows": ((datetime(2026, 1, 1), datetime(2026, 1, 2)),)},  # noqa: DTZ001
        {"escrow_microcredits": 35_999},
        {"bond_microcredits": -1},
        {"check_rate": -0.1},
    ],
)
def test_terms_that_cannot_be_kept_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        terms(**wrong)


_VALUES = {
    "terms": st.builds(
        terms,
        num_windows=st.integers(1, 3),
        gang=st.none() | st.text(max_size=3),
        check_rate=st.floats(0.01, 1),
    ),
    "reason": st.text(max_size=5),
    "number": st.integers(1, 9),
    "tick": st.integers(0, 9),
    "unit_seconds": st.integers(0, 5000),
    "is_sites_fault": st.booleans(),
    "is_checked": st.booleans(),
    "site_member": st.just("lab"),
}


def any_event() -> st.SearchStrategy[Event]:
    kinds = st.sampled_from(sorted(EVENT_CLASSES))

    def build(kind: str) -> st.SearchStrategy[Event]:
        known = EVENT_CLASSES[kind]
        names = set(known.__dataclass_fields__) - {"lease_id", "at"}
        at = st.integers(0, 400).map(lambda minute: START + minute * MINUTE)
        return st.builds(known, lease_id=st.just("r1"), at=at, **{name: _VALUES[name] for name in names})

    return kinds.flatmap(build)


@given(event=any_event())
def test_every_event_survives_json(event: Event) -> None:
    kind = type(event).__name__

    assert event_from_json(kind, "r1", event.at.isoformat(), event_to_json(event)) == event


@given(events=st.lists(any_event(), max_size=25), num_windows=st.integers(1, 2), can_suspend=st.booleans())
def test_in_any_order_of_events_a_lease_ends_once_and_counts_no_more_than_it_metered(
    events: list[Event], num_windows: int, can_suspend: bool
) -> None:
    story = Story(terms(num_windows=num_windows, can_suspend=can_suspend or num_windows > 1))
    story.run(ticks=2)
    ends = []

    for event in events:
        before = story.state()
        try:
            commands = story.book.handle(event) or ()
        except LeaseEventError:
            commands = ()
            assert story.state() == before
        after = story.state()
        if after.is_closed and not before.is_closed:
            ends.append(after.phase)
        names = [type(command).__name__ for command in commands]
        assert before.phase != "settled" or names == []
        if before.is_closed:
            assert not {"DrawTick", "StartWork", "ReleaseEscrow", "SaveCheckpoint"} & set(names)
        assert 0 <= after.counted_unit_seconds <= after.unit_seconds
        assert after.saved_ticks <= after.ticks
        assert after.saved_unit_seconds <= after.unit_seconds
    assert len(ends) <= 1


def test_work_is_not_paid_before_its_check_and_not_checked_after_its_pay() -> None:
    story = Story().run(ticks=3)
    story.tell(WorkFinished, minute=3)

    with pytest.raises(LeaseEventError):
        story.tell(CheckPassed, minute=3)
    story.tell(CheckChosen, minute=3, is_checked=True)
    with pytest.raises(LeaseEventError):
        story.tell(LeaseSettled, minute=3, site_member="lab", unit_seconds=180)
    assert story.tell(CheckPassed, minute=4) == ["PayOut"]
    assert story.tell(CheckFailed, minute=5, reason="late") == []


def test_replayed_events_make_the_same_book() -> None:
    story = Story(terms(num_windows=2)).run(ticks=3)
    again = Story(terms(num_windows=2)).run(ticks=3)

    for one in (story, again):
        one.tell(CheckpointSaved, minute=3, tick=3)
        one.tell(CapacityReclaimed, minute=4)

    assert again.book.states == story.book.states
    assert replace(story.state(), phase="running") != story.state()
