"""An engine without processes: learners run one after another in the caller's thread.

The twin of `DaskEngine` for tests, and the one process with one thread that the speed-up is compared
with. The caller's random generators are left as they were.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from ayni.errors import AyniError
from ayni.train.engine import (
    AttemptFailed,
    EngineEvent,
    FrameStore,
    LearnerUpdate,
    MergedPart,
    Order,
    PlaceFound,
    Session,
)
from ayni.train.learner import Learner
from ayni.train.local import one_thread
from ayni.train.randomness import RandomStates, random_states, set_random_states
from ayni.train.round_of_work import AwaitPart, RoundOfWork
from ayni.train.sync import run_together

# What `wait` sleeps when no learner can go on, so that a caller who waits for something else does not spin.
_IDLE_SECONDS = 0.002


class InProcessEngine:
    """Learners in this process. Fulfils ayni.train.engine.Engine."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._store: FrameStore | None = None
        self._learners: dict[int, Learner] = {}
        self._attempts: dict[int, _Attempt] = {}
        self._parts: dict[tuple[int, int], MergedPart] = {}
        self._events: deque[EngineEvent] = deque()

    def open(self, session: Session, store: FrameStore) -> None:
        """Build all learners; errors of the task are raised here."""
        self._session, self._store = session, store
        self._attempts.clear()
        self._parts.clear()
        self._events.clear()
        task = session.task.load()
        self._learners = {
            learner: Learner(session, task, learner) for learner in range(session.config.learners)
        }
        self._events.extend(PlaceFound(learner=learner) for learner in self._learners)

    def start(self, order: Order) -> None:
        """Remember the attempt; it runs in `wait`."""
        before = self._attempts.pop(order.learner, None)
        if before is not None:
            before.work.close()
        self._attempts[order.learner] = _Attempt(order, self._learners[order.learner])

    def send(self, learner: int, part: MergedPart) -> None:
        """Keep the part until the learner asks for it."""
        self._parts[learner, part.round] = part

    def wait(self, timeout_seconds: float) -> list[EngineEvent]:
        """Run what can run, whatever the time-out: nothing else could happen meanwhile."""
        if not self._events:
            self._run()
        if not self._events:
            time.sleep(min(timeout_seconds, _IDLE_SECONDS))
        events = list(self._events)
        self._events.clear()
        return events

    def _run(self) -> None:
        before = random_states()
        try:
            with one_thread():
                while ready := self._ready():
                    for attempts in ready:
                        self._go_on(attempts)
        finally:
            set_random_states(before)

    def _ready(self) -> "list[list[_Attempt]]":
        """Attempts that can go on: each alone, or a gang whose members are all there."""
        groups: dict[object, list[_Attempt]] = {}
        for learner, attempt in sorted(self._attempts.items()):
            order = attempt.order
            gang = (order.members, order.round, order.attempt) if order.members else learner
            groups.setdefault(gang, []).append(attempt)
        return [group for group in groups.values() if self._is_ready(group)]

    def _is_ready(self, group: "list[_Attempt]") -> bool:
        first = group[0]
        if first.order.members:
            return len(group) == len(first.order.members)
        if first.awaited is not None:
            first.part = self._parts.get((first.order.learner, first.awaited))
        return first.awaited is None or first.part is not None

    def _go_on(self, attempts: "list[_Attempt]") -> None:
        """Run attempts until they end or wait; what they ended with becomes events."""
        try:
            ended = _run_gang(attempts) if attempts[0].order.members else _run_one(attempts[0])
        except AyniError as error:
            failures = [_failed(attempt.order, error) for attempt in attempts]
            self._end(attempts, failures)
        else:
            assert self._store is not None, "open comes first"
            kept = [replace(update, frames=self._store.keep(update.frames)) for update in ended]
            self._end(attempts if ended else [], kept)

    def _end(self, attempts: "list[_Attempt]", events: Sequence[EngineEvent]) -> None:
        for attempt in attempts:
            self._attempts.pop(attempt.order.learner)
        self._events.extend(events)


class _Attempt:
    """An attempt under way, with random states of its own: several take turns in one thread."""

    def __init__(self, order: Order, learner: Learner) -> None:
        self.order = order
        self.work = _with_own_random_states(learner.run_round(order))
        self.awaited: int | None = None
        self.part: MergedPart | None = None


def _run_gang(attempts: list[_Attempt]) -> list[LearnerUpdate]:
    return run_together([attempt.work for attempt in attempts])


def _run_one(attempt: _Attempt) -> list[LearnerUpdate]:
    """The update, or nothing when the attempt waits for a part."""
    try:
        request = attempt.work.send(attempt.part)
    except StopIteration as stop:
        return [stop.value]
    assert isinstance(request, AwaitPart), "who is alone averages nothing"
    attempt.awaited, attempt.part = request.round, None
    return []


def _failed(order: Order, error: AyniError) -> AttemptFailed:
    return AttemptFailed(round=order.round, learner=order.learner, attempt=order.attempt, error=error)


def _with_own_random_states(work: RoundOfWork) -> RoundOfWork:
    """Let several generators that draw random numbers take turns without disturbing each other."""
    states: RandomStates | None = None
    answer: MergedPart | None = None
    while True:
        if states is not None:
            set_random_states(states)
        try:
            request = work.send(answer)
        except StopIteration as stop:
            update: LearnerUpdate = stop.value
            return update
        states = random_states()
        answer = yield request
