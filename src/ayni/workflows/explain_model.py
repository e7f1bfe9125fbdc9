"""Understand what was made: its data, a simple baseline, and what model and variant look at."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from threadpoolctl import threadpool_limits

from ayni.compress.open_form import open_form
from ayni.compress.variants import CompressResult
from ayni.data.baseline import Baseline
from ayni.data.card import DataCard, read_data_card
from ayni.data.corruptions.robustness import Robustness
from ayni.data.splits import SplitCheck, check_splits
from ayni.explain.explaining import explain
from ayni.explain.explanation import ExplainResult, Explanation
from ayni.jobs.runs import Run
from ayni.keras_weights import is_keras
from ayni.train.local import one_thread
from ayni.train.result import TrainResult
from ayni.workflows import corrupt_model
from ayni.workflows.augmentation_record import augmentation_record
from ayni.workflows.corrupt_model import corrupt_run
from ayni.workflows.house import House
from ayni.workflows.progress import Progress
from ayni.workflows.simple_models import look_beside
from ayni.workflows.trained_model import load_trained

FOLDER = "explain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Understanding:
    """What the explain step found out. Paths are relative to the run's folder."""

    explanations: ExplainResult
    baseline: Baseline | None
    no_baseline_reason: str | None
    data: DataCard
    splits: SplitCheck
    tree: Baseline | None = None
    """A decision tree beside rows of a table."""
    augmentation: Mapping[str, Any] | None = None
    """What the training batches went through, see augmentation_record.py."""

    robustness: Robustness | None = None
    """None when the job does not ask for corruptions."""

    def to_json(self) -> dict[str, Any]:
        """The explanations' own keys, with `baseline` and `data` beside them."""
        return {
            **self.explanations.to_json(),
            "baseline": None if self.baseline is None else self.baseline.to_json(),
            "no_baseline_reason": self.no_baseline_reason,
            "tree": None if self.tree is None else self.tree.to_json(),
            "robustness": None if self.robustness is None else self.robustness.to_json(),
            "data": {
                **self.data.to_json(),
                "splits": self.splits.to_json(),
                "augmentation": self.augmentation,
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The value that `to_json` wrote."""
        own = ("baseline", "no_baseline_reason", "tree", "data", "robustness")
        # Runs from before there were trees have none.
        tree = data.get("tree")
        card = dict(data["data"])
        splits, augmentation = SplitCheck.from_json(card.pop("splits")), card.pop("augmentation", None)
        return cls(
            explanations=ExplainResult.from_json({name: data[name] for name in data if name not in own}),
            baseline=None if data["baseline"] is None else Baseline.from_json(data["baseline"]),
            no_baseline_reason=data["no_baseline_reason"],
            tree=None if tree is None else Baseline.from_json(tree),
            data=DataCard.from_json(card),
            splits=splits,
            augmentation=augmentation,
            robustness=None
            if (robustness := data.get("robustness")) is None
            else Robustness.from_json(robustness),
        )


def explain_model(
    run: Run, house: House, trained: TrainResult, compressed: CompressResult | None, *, progress: Progress
) -> Understanding:
    """Attributions of examples and disagreements, baseline, corrupted images, the data's card and splits."""
    spec = run.job.spec
    task = run.job.task.load()
    chosen = (
        None if compressed is None or compressed.chosen is None else compressed.variant(compressed.chosen)
    )
    model = load_trained(run, task, trained)
    uses_keras = is_keras(model)
    # On a machine that others use too, threads can wait for each other longer than they compute (dev/LOG.md).
    with one_thread(), threadpool_limits(1):
        found = (
            _not_explained("the model is one of Keras, and explanations look into models of torch")
            if uses_keras
            else explain(
                task,
                model,
                variant=None
                if chosen is None
                else open_form(run.folder / chosen.file, chosen.artefact.runtime, task.build_model),
                num_samples=spec.explain.samples,
                seed=spec.seed,
                folder=run.folder / FOLDER,
                wanted=spec.explain.method,
            )
        )
        beside = look_beside(
            task,
            model,
            better=spec.metric.better,
            seed=spec.seed,
            folder=run.folder / FOLDER,
            takes_arrays=uses_keras,
        )
    robustness = None
    if spec.explain.corruptions is not None:
        robustness = corrupt_run(
            run,
            task,
            house.hub,
            trained,
            compressed,
            advanced=lambda share: progress.advanced(
                "explain", done=share, text=f"corrupted images, {share:.0%}"
            ),
        )
    return Understanding(
        explanations=replace(
            found, items=[_within_run(item) for item in found.items], importance=beside.importance or None
        ),
        baseline=None if beside.baseline is None else _baseline_within_run(beside.baseline),
        no_baseline_reason=beside.no_baseline_reason,
        tree=beside.tree,
        data=read_data_card(task),
        splits=check_splits(task),
        augmentation=augmentation_record(run.job, task, trained),
        robustness=robustness,
    )


def text_of(understanding: Understanding) -> str:
    """The result in a few words."""
    found = understanding.explanations
    parts = [f"{len(found.items)} examples"]
    if found.num_disagreements is not None:
        parts.append(f"the variant differs on {found.num_disagreements} of {found.num_compared}")
    if understanding.robustness is not None:
        parts.append(corrupt_model.text_of(understanding.robustness))
    if understanding.splits.has_leak:
        parts.append("the splits share examples: see the report")
    return ", ".join(parts)


def _not_explained(reason: str) -> ExplainResult:
    return ExplainResult(
        items=[],
        num_compared=0,
        num_disagreements=None,
        method=None,
        note=f"Not explained: {reason}.",
    )


def _within_run(item: Explanation) -> Explanation:
    """The same with paths that start at the run's folder instead of the step's."""
    return replace(
        item,
        input_image=_prefixed(item.input_image),
        attribution_image=_prefixed(item.attribution_image),
        attribution_file=_prefixed(item.attribution_file),
        change_image=_prefixed(item.change_image),
    )


def _baseline_within_run(baseline: Baseline) -> Baseline:
    return replace(
        baseline, images=tuple(replace(one, image=f"{FOLDER}/{one.image}") for one in baseline.images)
    )


def _prefixed(path: str | None) -> str | None:
    return None if path is None else f"{FOLDER}/{path}"
