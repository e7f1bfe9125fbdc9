"""When a round has taken too long, and when its time of grace is over. The present time is an argument.

There is one clock for each order under way, because a hung learner may hold an old order while rounds
go on without it, and one for the round itself, because nobody may be there to get an order.
"""

from dataclasses import dataclass

from ayni.train.config import TrainConfig
from ayni.train.events import DeadlinePassed, Event, GracePassed

# How often the coordinator looks at the clock when nothing happens.
_TICK_SECONDS = 1.0


@dataclass(slots=True)
class _Order:
    round: int
    attempt: int
    since: float


class Clocks:
    """Deadlines of a training; times are seconds of a monotonic clock."""

    def __init__(self, config: TrainConfig, *, now: float) -> None:
        self._deadline_seconds = config.round_deadline_seconds
        self._grace_seconds = config.grace_seconds
        self._orders: dict[int, _Order] = {}
        self._round, self._round_began, self._round_since = 0, now, now
        self._grace: tuple[int, float] | None = None

    def order_began(self, *, learner: int, round_: int, attempt: int, now: float) -> None:
        """A learner got an order."""
        self._orders[learner] = _Order(round_, attempt, now)

    def order_ended(self, *, learner: int, round_: int, attempt: int) -> None:
        """It answered or failed; a late answer to an older order stops no clock."""
        order = self._orders.get(learner)
        if order is not None and (order.round, order.attempt) == (round_, attempt):
            del self._orders[learner]

    def learner_lost(self, learner: int) -> None:
        """Nobody works on its order any more."""
        self._orders.pop(learner, None)

    def grace_began(self, *, round_: int, now: float) -> None:
        """A round waits a little longer for late learners."""
        self._grace = round_, now + self._grace_seconds

    def is_young(self, *, round_: int, now: float) -> bool:
        """Whether `round_` began no longer ago than a time of grace."""
        self._notice_round(round_, now)
        return now - self._round_began <= self._grace_seconds

    def seconds_to_wait(self, now: float) -> float:
        """How long nothing can become due."""
        waits = [_TICK_SECONDS]
        if self._deadline_seconds is not None:
            waits.append(self._deadline_seconds / 4)
        if self._grace is not None:
            waits.append(max(0.001, self._grace[1] - now))
        return min(waits)

    def due(self, *, round_: int, now: float) -> list[Event]:
        """What has become due while `round_` is worked on; each clock starts again when it has rung."""
        events: list[Event] = []
        if self._grace is not None and now >= self._grace[1]:
            events.append(GracePassed(round=self._grace[0]))
            self._grace = None
        self._notice_round(round_, now)
        deadline = self._deadline_seconds
        if deadline is None:
            return events
        for learner, order in self._orders.items():
            if now - order.since >= deadline:
                order.since = now
                events.append(DeadlinePassed(round=order.round, learner=learner))
        if not self._orders and now - self._round_since >= deadline:
            self._round_since = now
            events.append(DeadlinePassed(round=round_))
        return events

    def text_of(self, event: DeadlinePassed) -> str:
        """What rang, for a person."""
        deadline = self._deadline_seconds
        if event.learner is None:
            return f"no learner worked on round {event.round} for {deadline:g} s"
        return (
            f"learner {event.learner} took longer than {deadline:g} s in round {event.round}; its worker is "
            "restarted"
        )

    def _notice_round(self, round_: int, now: float) -> None:
        if round_ != self._round:
            self._round, self._round_began, self._round_since = round_, now, now
