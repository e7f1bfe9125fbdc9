"""Does it help to add derived data? The protocol of arms, with paired seeds, equal steps and equal energy.

Each arm trains the same classifier on the same few real examples, and differs in what comes on top: nothing,
classical augmentation, a cheap generator, a neural one, both, or as the upper bound the real examples that
the generators learned from. Each seed draws one split that all arms share, so that differences are paired.

    same steps     every arm takes the same number of steps
    same energy    the reference trains for as long as its energy reaches that of the arm, the generator
                   included; at most MAX_STEPS_RATIO times its steps

An arm "helps" when the lower bounds of both intervals are above zero. Else there is "no evidence", which
is not the same as "no difference". One that is worse for sure says so.

Source: paired t-interval; the protocol follows Ravuri & Vinyals, "Classification Accuracy Score for
Conditional Generative Models", NeurIPS 2019, arXiv:1905.10887, with baselines beside.

Not covered: correction for many arms (name the arm beforehand), and energy to reach an accuracy.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ayni.data.cost import Cost, CostMeter, ReadJoules
from ayni.data.records import Records
from ayni.errors import MissingExtraError, UserError
from ayni.intervals import LEVEL

MIN_SEEDS = 8
# The reference's longest training at equal energy, as a multiple of its steps: a generator that cost a
# hundred trainings would else cost a hundred more to be compared with. `steps_ratio` shows where it held.
MAX_STEPS_RATIO = 5.0


class TooFewSeedsError(UserError):
    """A comparison of less than two seeds has no interval, and one of less than eight no verdict."""

    def __init__(self, num_seeds: int) -> None:
        super().__init__(
            f"{num_seeds} seeds are given, and a verdict needs {MIN_SEEDS}: an interval over fewer is too "
            f"wide or untrue. Give {MIN_SEEDS} or more, or allow_few for a try."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One draw of the data: what is at hand, what a partner has, and what is judged by."""

    own: Records
    partner: Records
    test: Records


# Derived examples for a split and a seed; the upper bound gives the partner's own.
Derive: TypeAlias = Callable[[Split, int], Records]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to train.

    Attributes:
        name: unique among the arms.
        derive: makes examples to be added; None adds none. Arms with the same function share what it
            makes, and each of them is charged for it.
        augments: classical augmentation of each batch, the derived examples included.
        compared_with: the arm that this one is judged against; None for the first.
        is_bound: an upper bound, which no member could have without the partner's data.
    """

    name: str
    derive: Derive | None = None
    augments: bool = False
    compared_with: str | None = None
    is_bound: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierWork:
    """What a trainer of classifiers is asked to do."""

    own: Records
    derived: Records | None
    augments: bool
    num_steps: int
    seed: int


# Classes [N] for inputs [N, ...].
Predict: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.int64]]
Trainer: TypeAlias = Callable[[ClassifierWork], Predict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Mean of paired differences in points of accuracy (hundredths), with its t-interval at LEVEL."""

    mean: float
    low: float
    high: float
    num_better: int
    num_pairs: int

    @classmethod
    def of(cls, values: Sequence[float], others: Sequence[float]) -> Self:
        """Values minus others, pair by pair.

            mean +- t(0.975, n - 1) s / sqrt(n)

        Raises:
            ValueError: fewer than two pairs.
            MissingExtraError: scipy is not installed.
        """
        if len(values) < 2:
            raise ValueError(f"an interval needs 2 pairs or more, and there are {len(values)}")
        differences = [value - other for value, other in zip(values, others, strict=True)]
        mean, spread = statistics.fmean(differences), statistics.stdev(differences)
        margin = _t_quantile(len(differences) - 1) * spread / math.sqrt(len(differences))
        return cls(
            mean=mean,
            low=mean - margin,
            high=mean + margin,
            num_better=sum(each > 0 for each in differences),
            num_pairs=len(differences),
        )

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


Word: TypeAlias = Literal["helps", "no evidence", "hurts", "too few seeds", "upper bound", "reference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """What one arm reached.

    Attributes:
        accuracies: in percent, one a seed.
        cost: mean over the seeds, generator, sampling, augmentation and training together.
        same_steps: against the arm it is compared with; None for the first.
        same_energy: against that arm trained for as long as this one's energy lasts; None where it is
            the cheaper of the two, and for upper bounds.
        steps_ratio: how many times the reference's steps that was.
    """

    name: str
    compared_with: str | None
    is_bound: bool
    accuracies: tuple[float, ...]
    cost: Cost
    same_steps: Difference | None
    same_energy: Difference | None
    steps_ratio: float | None

    @property
    def accuracy(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.accuracies)

    @property
    def verdict(self) -> Word:
        """See the module; an arm that costs no more than its reference is judged by equal steps alone."""
        if self.same_steps is None:
            return "reference"
        if self.is_bound:
            return "upper bound"
        if len(self.accuracies) < MIN_SEEDS:
            return "too few seeds"
        known = [each for each in (self.same_steps, self.same_energy) if each is not None]
        if all(each.low > 0 for each in known):
            return "helps"
        return "hurts" if all(each.high < 0 for each in known) else "no evidence"

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the verdict."""
        return {
            "name": self.name,
            "compared_with": self.compared_with,
            "is_bound": self.is_bound,
            "accuracy": self.accuracy,
            "accuracies": list(self.accuracies),
            "cost": self.cost.to_json(),
            "same_steps": self.same_steps and asdict(self.same_steps),
            "same_energy": self.same_energy and asdict(self.same_energy),
            "steps_ratio": self.steps_ratio,
            "verdict": self.verdict,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The result that `to_json` wrote."""
        differences = {
            name: data[name] and Difference(**data[name]) for name in ("same_steps", "same_energy")
        }
        return cls(
            name=data["name"],
            compared_with=data["compared_with"],
            is_bound=data["is_bound"],
            accuracies=tuple(data["accuracies"]),
            cost=Cost.from_json(data["cost"]),
            steps_ratio=data["steps_ratio"],
            **differences,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UtilityResult:
    """All arms, in the order they were given."""

    arms: tuple[ArmResult, ...]
    seeds: tuple[int, ...]
    num_steps: int
    num_own: int
    num_partner: int

    def arm(self, name: str) -> ArmResult:
        """The arm called `name`; KeyError without it."""
        return {each.name: each for each in self.arms}[name]

    @property
    def unit(self) -> str:
        """Of energy: joules when all were metered."""
        return self.arms[0].cost.unit

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "arms": [each.to_json() for each in self.arms],
            "seeds": list(self.seeds),
            "num_steps": self.num_steps,
            "num_own": self.num_own,
            "num_partner": self.num_partner,
            "level": LEVEL,
            "energy_unit": self.unit,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The result that `to_json` wrote."""
        return cls(
            arms=tuple(ArmResult.from_json(each) for each in data["arms"]),
            seeds=tuple(data["seeds"]),
            num_steps=data["num_steps"],
            num_own=data["num_own"],
            num_partner=data["num_partner"],
        )


def compare_arms(
    make_split: Callable[[int], Split],
    arms: Sequence[Arm],
    *,
    train: Trainer,
    num_steps: int,
    seeds: Sequence[int],
    read_joules: ReadJoules | None = None,
    allow_few: bool = False,
    advanced: Callable[[int, int], None] = lambda done, total: None,
) -> UtilityResult:
    """Train every arm on every seed's split and compare.

    Args:
        make_split: draws the split of a seed.
        arms: a reference before the arms that are compared with it.
        train: the trainer of the classifier; with the augmentation that `work.augments` asks for.
        num_steps: of each training.
        seeds: at least MIN_SEEDS.
        read_joules: the meter; without it energy is told in CPU seconds of this process.
        allow_few: go on with fewer seeds, for a try; no verdict follows.
        advanced: called with (trainings done, in all at equal steps).

    Raises:
        TooFewSeedsError: fewer seeds than MIN_SEEDS, or fewer than 2.
        ValueError: arms of one name, or one that is compared with none before it.
        Errors of `train` and of the arms.
    """
    if len(seeds) < 2 or (len(seeds) < MIN_SEEDS and not allow_few):
        raise TooFewSeedsError(len(seeds))
    _check_arms(arms)
    runs: dict[str, list[_Run]] = {arm.name: [] for arm in arms}
    longer: dict[str, list[tuple[float, float]]] = {arm.name: [] for arm in arms}
    num_own = num_partner = 0
    by_name = {arm.name: arm for arm in arms}
    for place, seed in enumerate(seeds):
        split = make_split(seed)
        num_own, num_partner = len(split.own), len(split.partner)
        made = _Made(split, seed, read_joules)
        for index, arm in enumerate(arms):
            work = _Work(train=train, seed=seed, num_steps=num_steps, read_joules=read_joules)
            run = work.run(arm, split, made)
            runs[arm.name].append(run)
            if arm.compared_with is not None and not arm.is_bound:
                reference = runs[arm.compared_with][-1]
                steps = _affordable_steps(run, reference, num_steps)
                if steps > num_steps:
                    again = replace(work, num_steps=steps).run(by_name[arm.compared_with], split, made)
                    longer[arm.name].append((again.accuracy, steps / num_steps))
                else:
                    longer[arm.name].append((reference.accuracy, 1.0))
            advanced(place * len(arms) + index + 1, len(seeds) * len(arms))
    return UtilityResult(
        arms=tuple(_result(arm, runs, longer[arm.name]) for arm in arms),
        seeds=tuple(seeds),
        num_steps=num_steps,
        num_own=num_own,
        num_partner=num_partner,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    accuracy: float
    making: Cost
    training: Cost

    @property
    def cost(self) -> Cost:
        return self.making + self.training


def _check_arms(arms: Sequence[Arm]) -> None:
    seen: set[str] = set()
    for arm in arms:
        if arm.name in seen:
            raise ValueError(f"two arms are called {arm.name!r}")
        if arm.compared_with is not None and arm.compared_with not in seen:
            raise ValueError(f"{arm.name!r} is compared with {arm.compared_with!r}, which is not before it")
        seen.add(arm.name)


class _Made:
    """What the arms of one split add, made when it is first asked for, with what that cost."""

    def __init__(self, split: Split, seed: int, read_joules: ReadJoules | None) -> None:
        self._split, self._seed, self._read_joules = split, seed, read_joules
        self._found: dict[Derive, tuple[Records, Cost]] = {}

    def get(self, derive: Derive | None) -> tuple[Records | None, Cost]:
        if derive is None:
            return None, CostMeter(self._read_joules).read()
        if derive not in self._found:
            meter = CostMeter(self._read_joules)
            records = derive(self._split, self._seed)
            self._found[derive] = records, meter.read()
        return self._found[derive]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    train: Trainer
    seed: int
    num_steps: int
    read_joules: ReadJoules | None

    def run(self, arm: Arm, split: Split, made: _Made) -> _Run:
        derived, making = made.get(arm.derive)
        meter = CostMeter(self.read_joules)
        predict = self.train(
            ClassifierWork(
                own=split.own,
                derived=derived,
                augments=arm.augments,
                num_steps=self.num_steps,
                seed=self.seed,
            )
        )
        training = meter.read()
        right = np.asarray(predict(split.test.inputs)) == split.test.labels
        return _Run(accuracy=100 * float(right.mean()), making=making, training=training)


def _affordable_steps(run: _Run, reference: _Run, num_steps: int) -> int:
    """Steps of the reference that cost what the arm cost in all."""
    per_step = reference.training.energy / num_steps
    budget = run.cost.energy - reference.making.energy
    most = int(MAX_STEPS_RATIO * num_steps)
    return most if per_step <= 0 else min(most, int(budget / per_step))


def _result(arm: Arm, runs: Mapping[str, Sequence[_Run]], longer: Sequence[tuple[float, float]]) -> ArmResult:
    own = [run.accuracy for run in runs[arm.name]]
    same_steps = same_energy = steps_ratio = None
    if arm.compared_with is not None:
        same_steps = Difference.of(own, [run.accuracy for run in runs[arm.compared_with]])
    if longer:
        steps_ratio = statistics.fmean(ratio for _, ratio in longer)
        if any(ratio > 1 for _, ratio in longer):
            same_energy = Difference.of(own, [accuracy for accuracy, _ in longer])
    costs = [run.cost for run in runs[arm.name]]
    joules = [cost.joules for cost in costs if cost.joules is not None]
    return ArmResult(
        name=arm.name,
        compared_with=arm.compared_with,
        is_bound=arm.is_bound,
        accuracies=tuple(own),
        cost=Cost(
            cpu_seconds=statistics.fmean(cost.cpu_seconds for cost in costs),
            joules=statistics.fmean(joules) if len(joules) == len(costs) else None,
        ),
        same_steps=same_steps,
        same_energy=same_energy,
        steps_ratio=steps_ratio,
    )


def _t_quantile(degrees: int) -> float:
    try:
        from scipy.stats import t
    except ImportError as error:
        raise MissingExtraError(extra="data", package="scipy") from error
    return float(t.ppf((1 + LEVEL) / 2, degrees))


def text_table(result: UtilityResult) -> str:
    """The arms as lines of text with aligned columns."""
    header = ["arm", "accuracy", "against", "same steps", "same energy", f"{result.unit}", "verdict"]
    rows = [
        [
            arm.name,
            f"{arm.accuracy:.2f} %",
            arm.compared_with or "",
            "" if arm.same_steps is None else str(arm.same_steps),
            _energy_text(arm),
            f"{arm.cost.energy:.2f}",
            arm.verdict,
        ]
        for arm in result.arms
    ]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    note = (
        f"{len(result.seeds)} seeds, {result.num_own} own examples, {result.num_partner} of the partner, "
        f"{result.num_steps} steps; points of accuracy with 95 % t-intervals of paired differences."
    )
    return "\n".join([*lines, "", note])


def _energy_text(arm: ArmResult) -> str:
    if arm.same_energy is None:
        return ""
    return f"{arm.same_energy} [{arm.steps_ratio:.1f}x steps]"
