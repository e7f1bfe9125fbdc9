"""Try proposed pipelines on a torch model until the budget is used up or nothing is left to try.

`proposals` says what to try, `search` in which order, `trials` carries it out. Variants and what was trained
for them are kept as in any other compression, so that a search that was stopped goes on.

Not covered: models of Keras (`ayni.compress.keras.pipeline`).
"""

import copy
import time
from collections.abc import Callable

from ayni.compress.artefacts import ArtefactMaker
from ayni.compress.compress_progress import CompressProgress
from ayni.compress.config import CompressConfig
from ayni.compress.draft import Workshop
from ayni.compress.ports import EnergyMeter
from ayni.compress.proposals import Pipeline, join, ladders_for, traits_of
from ayni.compress.records import Made
from ayni.compress.retrain.distill import check_distillable
from ayni.compress.search import Rung, Search, SearchSummary
from ayni.compress.steps import STORING_STEPS, DistillStep
from ayni.compress.trials import carry_out, limits_of
from ayni.compress.variants import Artefact, MetricDirection
from ayni.errors import AyniError


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
        has_examples=len(shop.task.dataset("train")) > 0,
        trains=settings.trains,
    )
    search = Search(
        ladders_for(traits),
        max_drop=config.max_accuracy_drop,
        limits=limits_of(settings, maker, full, meter=meter, inferences=config.inferences),
        join=join,
    )
    return carry_out(
        search,
        lambda rung: _make(maker, rung, progress),
        maker,
        full,
        metric_direction=metric_direction,
        num_trials=settings.trials,
        meter=meter,
        progress=progress,
        clock=clock,
    )


def _make(maker: ArtefactMaker, rung: Rung[Pipeline], progress: CompressProgress) -> Made:
    """The files of a pipeline; what others began with is taken from where it was kept."""
    draft, notes = maker.draft(), []
    *before, last = rung.pipeline
    stores = isinstance(last, STORING_STEPS)
    for step in before if stores else rung.pipeline:
        notes.append(maker.change(draft, step, progress.within(step)))
    return maker.make(draft, rung.name, step=last if stores else None, note="; ".join(notes))


def _gives_scores(shop: Workshop) -> bool:
    """Whether the model's answer can be distilled: scores of at least two classes."""
    try:
        check_distillable(
            shop.task, student=copy.deepcopy(shop.teacher), teacher=shop.teacher, step=DistillStep()
        )
    except AyniError:
        return False
    return True
