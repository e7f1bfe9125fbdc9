"""What is known of one learner while rounds have a barrier at their end, and what follows from that alone.

`Rounds` (rounds.py) keeps one seat for each learner, and decides what concerns several.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from ayni.train.events import AbandonRound, Command, LearnerFailed, RunRound, UpdateReceived, UpdateRefused

Report: TypeAlias = UpdateReceived | UpdateRefused | LearnerFailed


@dataclass(slots=True)
class Work:
    """What a learner did for one round. `num_steps` is 0 until it is first asked."""

    attempt: int = 0
    num_steps: int = 0
    has_update: bool = False
    is_refused: bool = False


@dataclass(slots=True, eq=False)
class Seat:
    """One learner, and what it does for the current `round` and the next one.

    Attributes:
        is_awaited: Whether rounds wait for it when it is absent.
        is_excluded: It used up its attempts, and is out for good.
        num_failures: Attempts since the last merge that came to nothing by its doing.
        running: The order that it works on, which may be one of an earlier round.
        now: Its work for the current round.
        ahead: Its work for the round after it, which only streaming begins early.
    """

    learner: int
    round: int
    is_present: bool = False
    is_awaited: bool = True
    is_excluded: bool = False
    num_failures: int = 0
    running: RunRound | None = None
    now: Work = field(default_factory=Work)
    ahead: Work = field(default_factory=Work)

    @property
    def is_at_work(self) -> bool:
        """Whether it works on the current round."""
        return self.running is not None and self.running.round == self.round

    def work(self, round_: int) -> Work:
        """Its work for the current round or the next one."""
        return self.now if round_ == self.round else self.ahead

    def is_running(self, report: Report) -> bool:
        """Whether a report is about the order that it works on."""
        order = self.running
        return order is not None and (order.round, order.attempt) == (report.round, report.attempt)

    def why_not(self, report: Report) -> str | None:
        """Why an update cannot be taken; None when it is the one that is waited for."""
        work = self.work(report.round)
        reason: str | None = "its attempt was given up"
        if report.round < self.round:
            reason = "its round is closed"
        elif self.is_excluded:
            reason = "its learner was excluded"
        elif report.round > self.round + 1 or not 1 <= report.attempt <= work.attempt:
            reason = "it was never asked for"
        elif report.attempt < work.attempt:
            reason = f"attempt {work.attempt} has replaced it"
        elif work.has_update:
            reason = "it came twice"
        elif self.is_running(report):
            reason = None
        return reason

    def run(self, round_: int, *, steps_for: Callable[[int], int], members: tuple[int, ...] = ()) -> RunRound:
        """Its next attempt at a round, with as many steps as the one before."""
        work = self.work(round_)
        work.attempt += 1
        work.num_steps = work.num_steps or steps_for(self.learner)
        self.running = RunRound(
            round=round_,
            learner=self.learner,
            attempt=work.attempt,
            num_steps=work.num_steps,
            members=members,
        )
        return self.running

    def abandon(self, round_: int) -> list[Command]:
        """Give up what it was asked to do in a round, if it was asked and did not do it."""
        work = self.work(round_)
        if work.attempt == 0 or work.has_update or self.is_excluded:
            return []
        return [AbandonRound(round=round_, learner=self.learner, attempt=work.attempt)]

    def exclude(self) -> list[Command]:
        """Take it out for good, with all that it was asked to do."""
        commands = [*self.abandon(self.round), *self.abandon(self.round + 1)]
        self.is_excluded, self.is_present, self.is_awaited, self.running = True, False, False, None
        return commands

    def turn_to_next_round(self) -> None:
        """What was ahead is now."""
        self.round, self.num_failures = self.round + 1, 0
        self.now, self.ahead = self.ahead, Work()
