"""Try proposed pipelines on a model until the budget is used up or nothing is left to try.

`proposals` says what to try, `search` in which order; here it is made and measured. Variants and what was
trained for them are kept as in any other compression, so that a search that was stopped goes on.

A search must not cost more than it can save: it stops when it has spent half of the energy that all declared
inferences of the full model take.

Not covered: several trials at once.
"""

import copy
import time
from collections.abc import Callable

from ayni.compress.artefacts import ArtefactMaker, Made
from ayni.compress.compress_progress import CompressProgress
from ayni.compress.config import CompressConfig, SearchConfig
from ayni.compress.deploy.runtimes import TorchRuntime
from ayni.compress.draft import Workshop
from ayni.compress.evidence.inference_cost import measure_energy, measure_latency
from ayni.compress.inputs import one_by_one
from ayni.compress.ports import EnergyMeter
from ayni.compress.proposals import Pipeline, join, ladders_for, traits_of
from ayni.compress.retrain.distill import check_distillable
from ayni.compress.score import metric_drop
from ayni.compress.search import Search, SearchLimits, SearchSummary, Trial, TrialOutcome
from ayni.compress.steps import STORING_STEPS, DistillStep
from ayni.compress.variants import Artefact, MetricDirection
from ayni.errors import AyniError

NUM_PROXY_EXAMPLES = 128
SPENT_AT_MOST = 0.5
"""Share of what all declared inferences of the full model take."""
PROBE_SECONDS = 0.3


def search_pipelines(
    maker: ArtefactMaker,
    config: CompressConfig,
    full: Artefact,
    *,
    metric_direction: MetricDirection,
    meter: EnergyMeter,
    progress: CompressProgress,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Artefact], SearchSummary]:
    """The variants that were measured in full, and what the search did.

    A pipeline that is impossible for this model is left out, with its reason in the summary.
    """
    assert config.search is not None
    settings = config.search
    shop = maker.shop
    traits = traits_of(
        shop.teacher,
        gives_scores=_gives_scores(shop),
        can_train=settings.trains and len(shop.task.dataset("train")) > 0,
    )
    search = Search(
        ladders_for(traits),
        max_drop=config.max_accuracy_drop,
        limits=_limits(settings, _joules_at_most(maker, meter, config.inferences)),
        join=join,
    )
    trials = _Trials(
        maker, full, is_lower=metric_direction == "lower", meter=meter, progress=progress, clock=clock
    )
    while (trial := search.next()) is not None:
        search.record(trials.run(trial))
        progress.finish_trial(len(trials.found), settings.trials)
    progress.finish_trial(1, 1)
    return list(trials.found.values()), search.summary()


class _Trials:
    """Carries out trials; remembers the variants that were measured in full."""

    def __init__(
        self,
        maker: ArtefactMaker,
        full: Artefact,
        *,
        is_lower: bool,
        meter: EnergyMeter,
        progress: CompressProgress,
        clock: Callable[[], float],
    ) -> None:
        self._maker, self._full, self._is_lower = maker, full, is_lower
        self._meter, self._progress, self._clock = meter, progress, clock
        self._full_proxy = maker.quick_metric(None, max_examples=NUM_PROXY_EXAMPLES)
        self._made: dict[str, Made] = {}
        self.found: dict[str, Artefact] = {}

    def run(self, trial: Trial[Pipeline]) -> TrialOutcome:
        """Make the pipeline, measure it at the trial's stage, and say what it took."""
        started = self._clock()
        drops: list[float | None] = []
        problems: list[str] = []

        def work() -> int:
            try:
                drops.append(self._drop(trial))
            except AyniError as error:
                problems.append(str(error))
            return 1

        self._progress.start(trial.rung.name, f"trying {trial.rung.name}")
        estimate = self._meter.measure(work)
        return TrialOutcome(
            drop=drops[0] if drops else None,
            seconds=self._clock() - started,
            joules=estimate.joules,
            problem=problems[0] if problems else "",
        )

    def _drop(self, trial: Trial[Pipeline]) -> float | None:
        made = self._make(trial)
        if trial.stage == "proxy":
            value = self._maker.quick_metric(made, max_examples=NUM_PROXY_EXAMPLES)
            of_full = self._full_proxy
        else:
            artefact = self._maker.judge(self._made.pop(trial.rung.name))
            self.found[artefact.name] = artefact
            metric, of_full = next(iter(self._full.quality.validation.items()))
            value = artefact.quality.validation.get(metric)
        return None if of_full is None else metric_drop(value, of_full, lower_is_better=self._is_lower)

    def _make(self, trial: Trial[Pipeline]) -> Made:
        """The files of a pipeline; what others began with is taken from where it was kept."""
        name = trial.rung.name
        if name not in self._made:
            draft, notes = self._maker.draft(), []
            *before, last = trial.rung.pipeline
            stores = isinstance(last, STORING_STEPS)
            for step in before if stores else trial.rung.pipeline:
                notes.append(self._maker.change(draft, step, self._progress.within(step)))
            self._made[name] = self._maker.make(
                draft, name, step=last if stores else None, note="; ".join(notes)
            )
        return self._made[name]


def _limits(settings: SearchConfig, joules_at_most: float | None) -> SearchLimits:
    given = [joules for joules in (settings.joules or None, joules_at_most) if joules is not None]
    return SearchLimits(
        seconds=settings.seconds or None, joules=min(given, default=None), num_trials=settings.trials
    )


def _joules_at_most(maker: ArtefactMaker, meter: EnergyMeter, inferences: int) -> float | None:
    """What the search may cost at most, so that a variant can pay it back; None when energy is unknown."""
    runtime, singles = TorchRuntime(maker.shop.teacher), one_by_one(maker.shop.shown)
    latency = measure_latency({"full": runtime}, singles, seconds=PROBE_SECONDS)["full"]
    energy = measure_energy(
        runtime, singles, meter=meter, latency_seconds=latency.p50_seconds, seconds=PROBE_SECONDS
    )
    if energy.joules_per_1000 is None:
        return None
    return SPENT_AT_MOST * inferences * energy.joules_per_1000 / 1000


def _gives_scores(shop: Workshop) -> bool:
    """Whether the model's answer can be distilled: scores of at least two classes."""
    try:
        check_distillable(
            shop.task, student=copy.deepcopy(shop.teacher), teacher=shop.teacher, step=DistillStep()
        )
    except AyniError:
        return False
    return True
