"""Which pipelines to try next: a search that spends little and says why it stopped. Pure.

    ladder     one way to compress, at growing strength: prune 30 %, 50 %, 70 % of the channels
    proxy      quality on a part of the validation split; what loses more than twice the budget ends here
    full       quality on all of it, then bytes, latency and energy: what the front is made of
    joint      the strongest rungs that held of several ladders, one after the other: prune, then quantize

On a ladder the middle rung comes first. Where it holds the search climbs, where it fails it goes down: what
is weaker than a rung that holds costs more, and what is stronger than one that fails loses more. That is an
assumption; a rung is never judged by it, only left out, and `skipped` says so.

A ladder that is done is joined at once with those before it: the joints are the best of all, and a search
that runs out of time must not lose them to ladders that promise less. A joint that fails is tried with the
next weaker rung that held; what holds a joint that failed is left out.

The caller makes and measures: `next` names a trial, `record` takes its outcome, until `next` gives None.

Not covered: learning from one model for the next; rungs between the given ones.
"""

import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
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


@dataclass(slots=True, eq=False)
class _Climb(Generic[P]):
    """The part of a ladder that is still open: rungs [low, high), and those that held, weakest first."""

    ladder: Ladder[P]
    low: int
    high: int
    held: list[int] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        return self.low >= self.high

    @property
    def middle(self) -> int:
        return (self.low + self.high) // 2


@dataclass(frozen=True, slots=True)
class _Joint(Generic[P]):
    """One rung of each of several ladders, in the order of the ladders' places."""

    climbs: tuple[_Climb[P], ...]
    numbers: tuple[int, ...]

    @property
    def name(self) -> str:
        return "+".join(climb.ladder.name for climb in self.climbs)

    @property
    def rungs(self) -> list[Rung[P]]:
        return [climb.ladder.rungs[number] for climb, number in zip(self.climbs, self.numbers, strict=True)]

    def weaker(self) -> "_Joint[P] | None":
        """The same with a weaker rung, of the first ladder that has another one which held."""
        for place, (climb, number) in enumerate(zip(self.climbs, self.numbers, strict=True)):
            below = [held for held in climb.held if held < number]
            if below:
                numbers = (*self.numbers[:place], below[-1], *self.numbers[place + 1 :])
                return _Joint(self.climbs, numbers)
        return None


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
        ladders: What promises most for its time first; each is searched, and joined with those before it,
            before the next begins.
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
        self._joint: _Joint[P] | None = None
        self._joints: list[_Joint[P]] = []
        self._failed_joints: list[frozenset[str]] = []
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
        if self.stopped:
            return None
        trial = self._promoted or self._on_a_joint() or self._on_a_ladder()
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
        if self._joint is None:
            self._narrow(trial, holds=holds)
        elif not holds:
            self._weaken(self._joint)

    @property
    def seconds_left(self) -> float | None:
        """Of the time that the search may take; None without a limit."""
        seconds = self._limits.seconds
        return None if seconds is None else max(0.0, seconds - self._spent.seconds)

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
            if not climb.is_done:
                rung = climb.ladder.rungs[climb.middle]
                return Trial(rung=rung, ladder=climb.ladder.name, stage="proxy")
        return None

    def _on_a_joint(self) -> Trial[P] | None:
        while self._joints:
            self._joint = self._joints.pop(0)
            rung = self._join(self._joint.rungs) if self._join is not None else None
            if rung is None:
                continue
            names = {climb.ladder.name for climb in self._joint.climbs}
            failed = next((failed for failed in self._failed_joints if failed < names), None)
            if failed is None:
                return Trial(rung=rung, ladder=self._joint.name, stage="proxy")
            self._skip(rung.name, f"{' with '.join(sorted(failed))} fails already")
        self._joint = None
        return None

    def _joints_with(self, done: _Climb[P]) -> Iterator[_Joint[P]]:
        """The strongest rung that held, with those of the ladders before it: pairs first."""
        before = [climb for climb in self._climbs[: self._climbs.index(done)] if climb.held]
        for size in range(1, len(before) + 1):
            for others in itertools.combinations(before, size):
                climbs = tuple(sorted((*others, done), key=lambda climb: climb.ladder.place))
                if len({climb.ladder.place for climb in climbs}) == len(climbs):
                    yield _Joint(climbs, tuple(climb.held[-1] for climb in climbs))

    def _weaken(self, joint: _Joint[P]) -> None:
        weaker = joint.weaker()
        if weaker is not None:
            self._joints.insert(0, weaker)
        else:
            self._failed_joints.append(frozenset(climb.ladder.name for climb in joint.climbs))

    def _narrow(self, trial: Trial[P], *, holds: bool) -> None:
        climb = next(climb for climb in self._climbs if climb.ladder.name == trial.ladder)
        tried = next(place for place, rung in enumerate(climb.ladder.rungs) if rung is trial.rung)
        if holds:
            left_out, climb.low = range(climb.low, tried), tried + 1
            climb.held.append(tried)
            reason = f"{trial.rung.name} is stronger and holds"
        else:
            left_out, climb.high = range(tried + 1, climb.high), tried
            reason = f"{trial.rung.name} is weaker and fails"
        for place in left_out:
            self._skip(climb.ladder.rungs[place].name, reason)
        if climb.is_done and climb.held:
            self._joints += self._joints_with(climb)

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
