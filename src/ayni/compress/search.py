"""Which pipelines to try next: a search that spends little and says why it stopped. Pure.

    ladder     one way to compress, at growing strength: prune 30 %, 50 %, 70 % of the channels
    proxy      quality on a part of the validation split; what loses more than twice the budget ends here
    full       quality on all of it, then bytes, latency and energy: what the front is made of
    join       the strongest rungs that held, one after the other: prune, then quantize

On a ladder the middle rung comes first. Where it holds the search climbs, where it fails it goes down: what
is weaker than a rung that holds costs more, and what is stronger than one that fails loses more. That is an
assumption; a rung is never judged by it, only left out, and `skipped` says so.

The caller makes and measures: `next` names a trial, `record` takes its outcome, until `next` gives None.

Not covered: learning from one model for the next; rungs between the given ones.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, Literal, TypeVar

P = TypeVar("P")
Stage = Literal["proxy", "full"]

# A proxy sees few examples: what loses more than so many budgets there is not going to stay within one.
REJECT_FACTOR = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung(Generic[P]):
    """One pipeline to try. `pipeline` is whatever the caller can carry out; `name` is shown."""

    name: str
    pipeline: P


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder(Generic[P]):
    """Rungs of one kind, weakest first. Ladders with different `place` can be joined, in this order."""

    name: str
    place: int
    rungs: Sequence[Rung[P]]

    def __post_init__(self) -> None:
        if not self.rungs:
            raise ValueError(f"the ladder {self.name} has no rungs")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLimits:
    """When to stop: seconds, joules and number of trials that reached `full`; None does not limit."""

    seconds: float | None = None
    joules: float | None = None
    num_trials: int | None = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial(Generic[P]):
    """What to do next: make `rung` if it was not made, and measure it at `stage`."""

    rung: Rung[P]
    ladder: str
    stage: Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOutcome:
    """What came of a trial.

    Attributes:
        drop: Loss of the first metric; None when the step does not apply or failed, `problem` says why.
        seconds, joules: What the trial took, making included; joules None when nobody could tell.
        problem: Why there is no drop.
    """

    drop: float | None
    seconds: float
    joules: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSummary:
    """What a search did, for people and for the record.

    stopped: why it ended. skipped: pipelines that were proposed and not measured in full, with the reason.
    seconds, joules: what all trials took together; joules None when nobody could tell.
    """

    stopped: str
    num_measured: int
    skipped: Mapping[str, str]
    seconds: float
    joules: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SearchSummary":
        """The summary that `to_json` wrote."""
        return cls(**data)


@dataclass(slots=True)
class _Climb(Generic[P]):
    """The part of a ladder that is still open: rungs [low, high), and the strongest one that held."""

    ladder: Ladder[P]
    low: int
    high: int
    best: int | None = None

    @property
    def middle(self) -> int:
        return (self.low + self.high) // 2


@dataclass(slots=True)
class _Spent:
    seconds: float = 0.0
    joules: float = 0.0
    num_trials: int = 0
    is_metered: bool = True
    of_kind: dict[str, list[float]] = field(default_factory=dict)


class Search(Generic[P]):
    """The order of trials over some ladders.

    Args:
        ladders: Cheapest first; each is searched before the next begins.
        max_drop: The budget of quality, in units of the first metric.
        limits: When to stop.
        join: Makes one pipeline of several rungs that held, in the order of their ladders' places; None
            where they do not go together.
    """

    def __init__(
        self,
        ladders: Sequence[Ladder[P]],
        *,
        max_drop: float,
        limits: SearchLimits,
        join: Callable[[Sequence[Rung[P]]], Rung[P] | None] | None = None,
    ) -> None:
        if max_drop < 0:
            raise ValueError(f"a drop of {max_drop} cannot be a budget: it must not be negative")
        self._climbs = [_Climb(ladder, 0, len(ladder.rungs)) for ladder in ladders]
        self._max_drop, self._limits, self._join = max_drop, limits, join
        self._running: Trial[P] | None = None
        self._promoted: Trial[P] | None = None
        self._joined: list[Trial[P]] | None = None
        self._spent = _Spent()
        self.skipped: dict[str, str] = {}
        self.stopped = ""

    def next(self) -> Trial[P] | None:
        """The trial to do now; None when the search is over, and `stopped` says why.

        Raises:
            RuntimeError: the outcome of the last one was not recorded.
        """
        if self._running is not None:
            raise RuntimeError(f"the outcome of {self._running.rung.name} is missing")
        trial = self._promoted or self._on_a_ladder() or self._on_a_joint()
        if trial is None:
            self.stopped = self.stopped or "every pipeline that was proposed was tried or left out"
            return None
        if problem := self._out_of_budget(trial):
            self._skip(trial.rung.name, problem)
            self.stopped = problem
            return None
        self._promoted, self._running = None, trial
        return trial

    def record(self, outcome: TrialOutcome) -> None:
        """Take in what came of the trial that `next` named.

        Raises:
            RuntimeError: there is none.
        """
        trial, self._running = self._running, None
        if trial is None:
            raise RuntimeError("there is no trial whose outcome could be recorded")
        self._count(trial, outcome)
        allowed = self._max_drop * (REJECT_FACTOR if trial.stage == "proxy" else 1.0)
        holds = outcome.drop is not None and outcome.drop <= allowed + 1e-9
        if holds and trial.stage == "proxy":
            self._promoted = Trial(rung=trial.rung, ladder=trial.ladder, stage="full")
            return
        if not holds:
            lost = outcome.problem or f"it loses {outcome.drop:.4g} on the {trial.stage} measure"
            self._skip(trial.rung.name, lost)
        self._narrow(trial, holds=holds)

    def summary(self) -> SearchSummary:
        """What was done so far."""
        spent = self._spent
        return SearchSummary(
            stopped=self.stopped,
            num_measured=spent.num_trials,
            skipped=dict(self.skipped),
            seconds=spent.seconds,
            joules=spent.joules if spent.is_metered else None,
        )

    def _on_a_ladder(self) -> Trial[P] | None:
        for climb in self._climbs:
            if climb.low < climb.high:
                rung = climb.ladder.rungs[climb.middle]
                return Trial(rung=rung, ladder=climb.ladder.name, stage="proxy")
        return None

    def _on_a_joint(self) -> Trial[P] | None:
        """Combinations of what held, pairs first; made when all ladders are done."""
        if self._joined is None:
            self._joined = self._combinations()
        return self._joined.pop(0) if self._joined else None

    def _combinations(self) -> list[Trial[P]]:
        held = sorted(
            (
                (climb.ladder, climb.ladder.rungs[climb.best])
                for climb in self._climbs
                if climb.best is not None
            ),
            key=lambda pair: pair[0].place,
        )
        trials: list[Trial[P]] = []
        for size in range(2, len(held) + 1):
            for first in range(len(held) - size + 1):
                chosen = held[first : first + size]
                places = [ladder.place for ladder, _ in chosen]
                if self._join is None or len(set(places)) < size:
                    continue
                rung = self._join([rung for _, rung in chosen])
                if rung is not None:
                    name = "+".join(ladder.name for ladder, _ in chosen)
                    trials.append(Trial(rung=rung, ladder=name, stage="proxy"))
        return trials

    def _narrow(self, trial: Trial[P], *, holds: bool) -> None:
        climb = next((climb for climb in self._climbs if climb.ladder.name == trial.ladder), None)
        if climb is None:
            return
        tried = next(place for place, rung in enumerate(climb.ladder.rungs) if rung is trial.rung)
        if holds:
            left_out, climb.low, climb.best = range(climb.low, tried), tried + 1, tried
            reason = f"{trial.rung.name} is stronger and holds"
        else:
            left_out, climb.high = range(tried + 1, climb.high), tried
            reason = f"{trial.rung.name} is weaker and fails"
        for place in left_out:
            self._skip(climb.ladder.rungs[place].name, reason)

    def _count(self, trial: Trial[P], outcome: TrialOutcome) -> None:
        self._spent.seconds += outcome.seconds
        self._spent.joules += outcome.joules or 0.0
        self._spent.is_metered &= outcome.joules is not None
        self._spent.num_trials += trial.stage == "full"
        self._spent.of_kind.setdefault(f"{trial.ladder} {trial.stage}", []).append(outcome.seconds)

    def _out_of_budget(self, trial: Trial[P]) -> str:
        """Why there is no room for this trial; it is assumed to take what others like it took."""
        limits, spent = self._limits, self._spent
        if limits.num_trials is not None and spent.num_trials >= limits.num_trials:
            return f"{spent.num_trials} pipelines were measured, and that is the limit"
        every = [seconds for of_kind in spent.of_kind.values() for seconds in of_kind]
        known = spent.of_kind.get(f"{trial.ladder} {trial.stage}") or every or [0.0]
        if limits.seconds is not None and spent.seconds + statistics.median(known) > limits.seconds:
            return f"{spent.seconds:.0f} s of {limits.seconds:g} s are used up"
        if limits.joules is not None and spent.joules >= limits.joules:
            return f"{spent.joules:.0f} J of {limits.joules:g} J are used up"
        return ""

    def _skip(self, name: str, reason: str) -> None:
        self.skipped.setdefault(name, reason)
