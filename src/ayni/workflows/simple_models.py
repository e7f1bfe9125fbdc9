"""The simple models beside a network, and what can be learned from them: weights as pictures, importance.

Not covered: deciding whether the network is worth its energy; the report shows both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ayni.data.baseline import Baseline, Baselines, NoBaseline, WeightImage, fit_baselines
from ayni.data.simple_models import on_arrays
from ayni.explain.explanation import Importance
from ayni.explain.importance import NoImportance, permutation_importances
from ayni.explain.pictures import as_image, draw_attribution
from ayni.files import explain_os_errors
from ayni.task import Task

MAX_PICTURES = 12
Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimpleModels:
    """What stands beside the network."""

    baseline: Baseline | None
    no_baseline_reason: str | None
    tree: Baseline | None
    importance: Sequence[Importance]
    """Of the network and of the baseline; empty where examples are no rows of a table."""


def look_beside(
    task: Task, model: Any, *, better: Better, seed: int, folder: Path, takes_arrays: bool
) -> SimpleModels:
    """Fit the simple models, draw what the linear one weighs, and ask what each feature is worth.

    Args:
        task: What is learned.
        model: The network, as the task's `evaluate` calls it.
        better: Which way the first metric is better.
        seed: Of samples and shuffles.
        folder: Where pictures go.
        takes_arrays: The task's `evaluate` works on numpy arrays, as that of a Keras model does.

    Raises:
        TaskFailedError: the task's dataset, names or evaluate raised.
        DiskFullError, NotWritableError: the folder cannot be written.
    """
    fitted = fit_baselines(task, seed=seed, takes_arrays=takes_arrays)
    first = fitted.first
    return SimpleModels(
        baseline=None if isinstance(first, NoBaseline) else replace(first, images=_pictures(fitted, folder)),
        no_baseline_reason=first.reason if isinstance(first, NoBaseline) else None,
        tree=fitted.tree,
        importance=_importance(task, model, fitted, better=better, seed=seed, takes_arrays=takes_arrays),
    )


def _importance(
    task: Task, model: Any, fitted: Baselines, *, better: Better, seed: int, takes_arrays: bool
) -> list[Importance]:
    found = permutation_importances(
        task, model, of="model", better=better, seed=seed, takes_arrays=takes_arrays
    )
    if isinstance(found, NoImportance):
        return []
    if fitted.model is None:
        return [found]
    linear = on_arrays(fitted.model) if takes_arrays else fitted.model
    other = permutation_importances(
        task, linear, of="baseline", better=better, seed=seed, takes_arrays=takes_arrays
    )
    return [found] if isinstance(other, NoImportance) else [found, other]


def _pictures(fitted: Baselines, folder: Path) -> Sequence[WeightImage]:
    """One for each answer; none where the weights have no shape of an image, or there are too many."""
    if fitted.weights is None or len(fitted.weights) > MAX_PICTURES:
        return ()
    images = [as_image(weights) for weights in fitted.weights]
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number, (answer, image) in enumerate(zip(fitted.weight_names, images, strict=True)):
        if image is not None:
            draw_attribution(image, folder / f"baseline_{number:02d}.png")
            found.append(WeightImage(answer=answer, image=f"baseline_{number:02d}.png"))
    return tuple(found)
