import threading
import time
from collections.abc import Callable

import pytest

from ayni.train.engine import MergedPart
from ayni.train.inbox import AttemptStoppedError, Inbox


def part(round_: int, version: int | None = None) -> MergedPart:
    return MergedPart(round=round_, version=version or round_, kind="full", frames=())


def open_inbox() -> Inbox:
    inbox = Inbox()
    inbox.begin("today")
    return inbox


class Waiting:
    """A learner that waits in a thread of its own, and what became of it."""

    def __init__(self, inbox: Inbox, take: Callable[[], MergedPart]) -> None:
        self._take = take
        self._answers: list[MergedPart | Exception] = []
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()
        while not inbox.is_awaited:
            assert self._thread.is_alive()
            time.sleep(0.001)

    def _wait(self) -> None:
        try:
            self._answers.append(self._take())
        except AttemptStoppedError as error:
            self._answers.append(error)

    def answer(self, *, within_seconds: float = 10.0) -> MergedPart | Exception | None:
        """What it got; None when it waits on."""
        self._thread.join(timeout=within_seconds)
        return self._answers[0] if self._answers else None


def test_a_part_that_is_there_is_taken_at_once() -> None:
    inbox = open_inbox()
    inbox.put("today", 1, part(4))

    assert inbox.take("today", 1, 4) == part(4)
    assert not inbox.is_awaited


def test_a_part_stays_so_that_the_attempt_can_be_made_again() -> None:
    inbox = open_inbox()
    inbox.put("today", 1, part(4))

    first, again = inbox.take("today", 1, 4), inbox.take("today", 1, 4)

    assert first is again


def test_a_learner_waits_until_its_own_part_of_its_round_comes() -> None:
    inbox = open_inbox()
    learner = Waiting(inbox, lambda: inbox.take("today", 1, 4))

    inbox.put("today", 0, part(4))
    inbox.put("today", 1, part(3))
    assert learner.answer(within_seconds=0.05) is None

    inbox.put("today", 1, part(4))
    assert learner.answer() == part(4)
    assert not inbox.is_awaited


def test_a_part_that_is_sent_again_replaces_the_first() -> None:
    inbox = open_inbox()
    inbox.put("today", 1, part(4, version=4))

    inbox.put("today", 1, part(4, version=5))

    assert inbox.take("today", 1, 4).version == 5


def test_who_takes_a_part_has_no_use_for_those_of_rounds_before() -> None:
    inbox = open_inbox()
    for learner, round_ in ((1, 2), (1, 3), (1, 4), (0, 2)):
        inbox.put("today", learner, part(round_))

    inbox.take("today", 1, 3)

    assert set(inbox._parts) == {(1, 3), (1, 4), (0, 2)}


def test_a_part_of_another_session_is_dropped() -> None:
    inbox = open_inbox()

    inbox.put("yesterday", 1, part(4))

    assert not inbox._parts


def test_a_new_session_stops_who_waits_for_a_part_of_the_one_before() -> None:
    inbox = open_inbox()
    learner = Waiting(inbox, lambda: inbox.take("today", 1, 4))

    inbox.begin("tomorrow")

    answer = learner.answer()
    assert isinstance(answer, AttemptStoppedError)
    assert "learner 1 was stopped while it waited for round 4" in str(answer)
    assert not inbox.is_awaited


def test_a_new_session_finds_no_parts_of_the_one_before() -> None:
    inbox = open_inbox()
    inbox.put("today", 1, part(4))

    inbox.begin("tomorrow")

    assert not inbox._parts
    with pytest.raises(AttemptStoppedError):
        inbox.take("today", 1, 4)


def test_a_session_that_begins_twice_keeps_its_parts() -> None:
    inbox = open_inbox()
    inbox.put("today", 1, part(4))

    inbox.begin("today")

    assert inbox.take("today", 1, 4) == part(4)


def test_without_a_session_nothing_is_kept_and_nobody_waits() -> None:
    inbox = open_inbox()

    inbox.begin(None)
    inbox.put("today", 1, part(4))

    with pytest.raises(AttemptStoppedError):
        inbox.take("today", 1, 4)
