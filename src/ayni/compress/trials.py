"""Carry out the trials of a search: make what it names, measure it at its stage, say what it took.

A search must not cost more than it can save: it stops when it has spent half of the energy that all declared
inferences of the full model take. Training that is under way when its time is up ends there; what is short
(an export, a measurement) is finished.

Not covered: several trials at once.
"""

import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from ayni.compress.compress_progress import CompressProgress
from ayni.compress.config import SearchConfig
from ayni.compress.evidence.inference_cost import measure_energy, measure_latency
from ayni.compress.measure_variants import Opens
from ayni.compress.ports import EnergyMeter
from ayni.compress.records import Made
from ayni.compress.score import metric_drop
from ayni.compress.search import Rung, Search, SearchLimits, SearchSummary, Trial, TrialOutcome
from ayni.compress.variants import Artefact, MetricDirection
from ayni.errors import AyniError

P = TypeVar("P")
NUM_PROXY_EXAMPLES = 128
SPENT_AT_MOST = 0.5
"""Share of what all declared inferences of the full model take."""
PROBE_SECONDS = 0.3


class Judges(Opens, Protocol):
    """Knows how good a variant is. ArtefactMaker is one."""

    def judge(self, made: Made) -> Artefact:
        """On all of both splits."""
        ...

    def quick_metric(self, made: Made | None, *, max_examples: int) -> float | None:
        """On a part of the validation split; of the full model for None."""
        ...


def carry_out(
    search: Search[P],
    make: Callable[[Rung[P]], Made],
    maker: Judges,
    full: Artefact,
    *,
    metric_direction: MetricDirection,
    num_trials: int,
    meter: EnergyMeter,
    progress: CompressProgress,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Artefact], SearchSummary]:
    """The variants that were measured in full, and what the search did.

    What cannot be made is left out, with its reason in the summary.

    Args:
        search: says what to try next.
        make: the files of a rung; may raise an AyniError.
        maker: judges them.
        full: the full model, judged.
        metric_direction: whether more of the first metric is better.
        num_trials: of which progress is told.
        meter: of each trial.
        progress: hears of each trial.
        clock: monotonic seconds.
    """
    trials = _Trials(make, maker, full, is_lower=metric_direction == "lower")
    while (trial := search.next()) is not None:
        progress.start(trial.rung.name, f"trying {trial.rung.name}")
        progress.end_when(_deadline(search.seconds_left, clock))
        search.record(_metered(trials, trial, meter, clock))
        progress.end_when(None)
        progress.finish_trial(len(trials.found), num_trials)
    progress.finish_trial(1, 1)
    return list(trials.found.values()), search.summary()


def _deadline(seconds_left: float | None, clock: Callable[[], float]) -> Callable[[], bool] | None:
    if seconds_left is None:
        return None
    end = clock() + seconds_left
    return lambda: clock() > end


def limits_of(
    settings: SearchConfig, maker: Opens, full: Artefact, *, meter: EnergyMeter, inferences: int
) -> SearchLimits:
    """What the job allows, and energy at most so much that a variant can pay it back.

    Cost: less than a second, for the energy of some inferences of the full model.
    """
    at_most = _joules_at_most(maker, full, meter, inferences)
    given = [joules for joules in (settings.joules or None, at_most) if joules is not None]
    return SearchLimits(
        seconds=settings.seconds or None, joules=min(given, default=None), num_trials=settings.trials
    )


def _joules_at_most(maker: Opens, full: Artefact, meter: EnergyMeter, inferences: int) -> float | None:
    """None when energy is unknown."""
    runtime, singles = maker.open(full), maker.inputs(1)
    latency = measure_latency({full.name: runtime}, singles, seconds=PROBE_SECONDS)[full.name]
    energy = measure_energy(
        runtime, singles, meter=meter, latency_seconds=latency.p50_seconds, seconds=PROBE_SECONDS
    )
    if energy.joules_per_1000 is None:
        return None
    return SPENT_AT_MOST * inferences * energy.joules_per_1000 / 1000


def _metered(
    trials: "_Trials[P]", trial: Trial[P], meter: EnergyMeter, clock: Callable[[], float]
) -> TrialOutcome:
    started = clock()
    drops: list[float | None] = []
    problems: list[str] = []

    def work() -> int:
        try:
            drops.append(trials.drop(trial))
        except AyniError as error:
            problems.append(str(error))
        return 1

    estimate = meter.measure(work)
    return TrialOutcome(
        drop=drops[0] if drops else None,
        seconds=clock() - started,
        joules=estimate.joules,
        problem=problems[0] if problems else "",
    )


class _Trials(Generic[P]):
    """Remembers what was made, and the variants that were measured in full."""

    def __init__(
        self, make: Callable[[Rung[P]], Made], maker: Judges, full: Artefact, *, is_lower: bool
    ) -> None:
        self._make, self._maker, self._full, self._is_lower = make, maker, full, is_lower
        self._full_proxy = maker.quick_metric(None, max_examples=NUM_PROXY_EXAMPLES)
        self._made: dict[str, Made] = {}
        self.found: dict[str, Artefact] = {}

    def drop(self, trial: Trial[P]) -> float | None:
        """What the first metric loses, at the trial's stage."""
        name = trial.rung.name
        if name not in self._made:
            self._made[name] = self._make(trial.rung)
        if trial.stage == "proxy":
            value = self._maker.quick_metric(self._made[name], max_examples=NUM_PROXY_EXAMPLES)
            of_full = self._full_proxy
        else:
            artefact = self._maker.judge(self._made.pop(name))
            self.found[artefact.name] = artefact
            metric, of_full = next(iter(self._full.quality.validation.items()))
            value = artefact.quality.validation.get(metric)
        return None if of_full is None else metric_drop(value, of_full, lower_is_better=self._is_lower)
