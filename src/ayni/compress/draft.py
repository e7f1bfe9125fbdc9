"""The model while a pipeline works on it, and what each step does to it.

A step has two halves. One makes the shape (channels that go, layers that split) and is done anew when a run
is resumed, for it is quick and gives the layers that kept weights fit into. The other chooses or trains
values, takes long, and its result is kept (`ayni.compress.artefacts`).

Not covered: storing the result (`ayni.compress.stored_forms`).
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn

from ayni.compress.calibration import model_inputs
from ayni.compress.evidence.break_even import EnergyInterval
from ayni.compress.inputs import ModelInputs
from ayni.compress.retrain.distill import distill
from ayni.compress.retrain.feature_matching import FeatureMatching
from ayni.compress.retrain.recover import recover
from ayni.compress.retrain.sequence_distillation import SequenceTask, generate_sequences
from ayni.compress.retrain.short_training import ShortTraining
from ayni.compress.steps import (
    NUM_CALIBRATION_EXAMPLES,
    DistillStep,
    FactorizeStep,
    FoldStep,
    PruneStep,
    RecoverStep,
    Step,
)
from ayni.compress.structure.channels import cut_channels
from ayni.compress.structure.factorize import factorize
from ayni.compress.structure.fold import fold_batch_norm
from ayni.compress.structure.heads import prune_heads
from ayni.compress.weights.input_moments import input_moments
from ayni.compress.weights.layers import matrix_layers, require_layers
from ayni.compress.weights.masks import (
    NofM,
    Pattern,
    PruneReport,
    check_pattern,
    masks_of,
    prune_below,
    prune_by_magnitude,
)
from ayni.compress.weights.schedule import CubicSchedule
from ayni.compress.weights.second_order import SecondOrderConfig, prune_sparsegpt
from ayni.compress.weights.wanda import prune_wanda
from ayni.errors import UserError
from ayni.task import Task, TaskFailedError

OnStep = Callable[[int, int], None]
NUM_SHOWN_EXAMPLES = 9
NO_ENERGY = EnergyInterval(low_joules=0.0, joules=0.0, high_joules=0.0)
LARGE_MODEL = 50_000_000
"""Weights from which on a copy of the model for the original's answers would cost more than it gives."""


class CannotTeachError(UserError):
    """There is no such teacher or student."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"This model cannot be distilled as the job asks: {reason}.")


class EmptyCalibrationError(UserError):
    """A step looks at inputs of the training split, and it has none."""

    def __init__(self, step: str) -> None:
        super().__init__(
            f"{step} needs examples of the training split to calibrate with, and the task's is empty. "
            "Give the task training data, or use a method without data, such as `method: magnitude`."
        )


@dataclass(slots=True)
class Draft:
    """A model on its way through a pipeline.

    steps: what was done to it.
    is_reshaped: it has other layers than the task builds, so that a file of weights alone cannot hold it.
    is_masked: zeros are meant, and have to stay.
    making: energy of what was done so far; None when a part of it is unknown.
    """

    model: nn.Module
    steps: tuple[Step, ...] = ()
    is_reshaped: bool = False
    is_masked: bool = False
    making: EnergyInterval | None = NO_ENERGY

    def copied(self) -> nn.Module:
        """A model of its own for a step that stores."""
        return copy.deepcopy(self.model)


@dataclass(eq=False)
class Workshop:
    """What steps work with. The teacher, which is the full model, is never changed.

    load_model: a model of the local hub by its name, for other teachers; None where there is no hub.
    """

    task: Task
    teacher: nn.Module
    seed: int
    device: torch.device
    num_calibration: int = NUM_CALIBRATION_EXAMPLES
    load_model: Callable[[str], nn.Module] | None = None
    on_step: OnStep = field(default=lambda done, total: None)

    @cached_property
    def calibration(self) -> list[ModelInputs]:
        """Inputs from the training split, as the model is called with them."""
        return model_inputs(self.task, self.teacher, split="train", num_examples=self.num_calibration)

    @cached_property
    def shown(self) -> list[ModelInputs]:
        """A few real inputs, on which exports and cuts are proven right."""
        return model_inputs(
            self.task, self.teacher, split="validation", num_examples=NUM_SHOWN_EXAMPLES, batch_size=3
        )

    def calibrated(self, step: str) -> list[ModelInputs]:
        """`calibration`, proven to be some.

        Raises:
            EmptyCalibrationError: the training split is empty.
        """
        if not len(self.task.dataset("train")):
            raise EmptyCalibrationError(step)
        return self.calibration


def reshape(draft: Draft, step: Step, shop: Workshop) -> str:
    """Do the half of a step that gives the model its shape; says in a few words what was done, or nothing.

    Raises:
        UserError: the step is impossible for this model; the message names the step to leave out.
    """
    text = ""
    if isinstance(step, PruneStep) and step.channels is not None:
        cut = cut_channels(
            draft.model, shop.shown[0], channels=step.channels, across_layers=step.across_layers
        )
        text = f"{len(cut.widths)} layers narrower"
    elif isinstance(step, PruneStep) and step.heads is not None:
        calibration = shop.calibrated("prune.heads")
        heads = prune_heads(
            draft.model,
            shop.shown[0],
            heads=step.heads,
            calibration=calibration,
            across_layers=step.across_layers,
        )
        before, after = (sum(counts[place] for counts in heads.num_heads.values()) for place in (0, 1))
        text = f"{after} of {before} heads left"
    elif isinstance(step, FactorizeStep):
        split = factorize(
            draft.model, energy=step.energy, ratio=step.ratio, input_moments=_moments(draft, step, shop)
        )
        text = f"{len(split.ranks)} layers of low rank"
    elif isinstance(step, FoldStep):
        text = f"{len(fold_batch_norm(draft.model, shop.shown[0]).folded)} batch norms folded"
    elif isinstance(step, DistillStep) and step.student is not None:
        draft.model = build_student(shop.task, step.student)
        text = f"a student by {step.student}()"
    if text:
        draft.is_reshaped = True
    return text


def _moments(draft: Draft, step: FactorizeStep, shop: Workshop) -> Any:
    if not step.uses_data:
        return None
    return input_moments(draft.model, matrix_layers(draft.model), shop.calibrated("factorize"))


def build_student(task: Task, method: str) -> nn.Module:
    """What a method of the task builds.

    Raises:
        CannotTeachError: there is no such method, or it makes no torch module.
        TaskFailedError: it raised.
    """
    build = getattr(task, method, None)
    if not callable(build):
        raise CannotTeachError(
            f"distill.student names {method!r}, and the task has no such method. Add one that builds it"
        )
    try:
        student = build()
    except Exception as error:
        raise TaskFailedError(method=method, cause=error) from error
    if not isinstance(student, nn.Module):
        raise CannotTeachError(f"the task's {method}() made {type(student).__name__} and no torch module")
    return student.eval()


def has_values_to_find(step: Step) -> bool:
    """Whether a step has the half that takes long."""
    return isinstance(step, RecoverStep | DistillStep) or (isinstance(step, PruneStep) and step.makes_masks)


def mark(draft: Draft, step: Step) -> None:
    """Note what a step will have done to the model, whether it is done now or was kept."""
    if isinstance(step, PruneStep) and step.makes_masks:
        draft.is_masked = True
    if isinstance(step, RecoverStep) and step.sparsity is not None:
        draft.is_masked = True
    draft.steps = (*draft.steps, step)


def find_values(draft: Draft, step: Step, shop: Workshop) -> str:
    """Do the half of a step that chooses or trains values; says in a few words what was done.

    Raises:
        AyniError: what pruning, recovery and distillation raise.
    """
    if isinstance(step, PruneStep):
        report = _prune_weights(draft.model, step, shop)
        return f"{report.sparsity:.1%} of the weights are zero"
    masks = masks_of(draft.model) if draft.is_masked else None
    if isinstance(step, RecoverStep):
        return _recover(draft, step, shop, masks)
    assert isinstance(step, DistillStep)
    return _distill(draft, step, shop, masks)


def pattern_of(step: PruneStep) -> Pattern:
    """The pattern of a step that makes masks by score."""
    if step.pattern is not None:
        return NofM.parse(step.pattern)
    assert step.weights is not None
    return step.weights


def check_prunable(model: nn.Module, step: PruneStep) -> None:
    """Whether single weights of a model can go; nothing is changed.

    Raises:
        NothingToCompressError, NonFiniteWeightError, PatternMismatchError: see there.
    """
    layers = require_layers(model, skip=(), step="prune")
    if step.threshold is None:
        check_pattern(pattern_of(step), layers)


def _prune_weights(model: nn.Module, step: PruneStep, shop: Workshop) -> PruneReport:
    if step.threshold is not None:
        return prune_below(model, step.threshold)
    pattern = pattern_of(step)
    if step.method == "magnitude":
        return prune_by_magnitude(model, pattern)
    if step.method == "global_magnitude":
        return prune_by_magnitude(model, pattern, scope="global")
    inputs = shop.calibrated(f"prune with the method {step.method}")
    if step.method == "wanda":
        return prune_wanda(model, inputs, pattern)
    report = prune_sparsegpt(model, inputs, pattern, config=second_order(model)).pruned
    assert report is not None
    return report


def second_order(model: nn.Module) -> SecondOrderConfig:
    """Settings of SparseGPT and GPTQ for a model of this size."""
    num_weights = sum(parameter.numel() for parameter in model.parameters())
    return SecondOrderConfig(follow_original=num_weights < LARGE_MODEL)


def _recover(draft: Draft, step: RecoverStep, shop: Workshop, masks: Any) -> str:
    plan = ShortTraining(epochs=step.epochs, batch_size=step.batch_size, learning_rate=step.learning_rate)
    gradual = None
    if step.sparsity is not None:
        num_steps = plan.num_steps(len(shop.task.dataset("train")))
        # The last fifth trains with all zeros in place.
        gradual = CubicSchedule(final_sparsity=step.sparsity, end_step=max(1, num_steps * 4 // 5))
    done = recover(
        shop.task,
        draft.model,
        plan=plan,
        seed=shop.seed,
        device=shop.device,
        on_step=shop.on_step,
        masks=None if gradual else masks,
        gradual=gradual,
    )
    zeros = "" if done.sparsity is None else f", {done.sparsity:.1%} zeros"
    return f"{step.epochs} epochs of recovery, loss {done.loss:.4f}{zeros}"


def _distill(draft: Draft, step: DistillStep, shop: Workshop, masks: Any) -> str:
    teacher = shop.teacher if step.teacher is None else _other_teacher(step.teacher, shop)
    task = shop.task
    if step.new_tokens:
        task = SequenceTask(task, _sequences(teacher, step, shop))
    features = FeatureMatching(pairs=step.features, weight=step.feature_weight) if step.features else None
    loss = distill(
        task,
        student=draft.model,
        teacher=teacher,
        step=step,
        seed=shop.seed,
        device=shop.device,
        on_step=shop.on_step,
        features=features,
        masks=masks,
    )
    return f"{step.epochs} epochs at T = {step.temperature:g}, loss {loss:.4f}"


def _other_teacher(name: str, shop: Workshop) -> nn.Module:
    if shop.load_model is None:
        raise CannotTeachError(f"distill.teacher names {name!r}, and there is no hub to load it from here")
    teacher = shop.load_model(name)
    if not isinstance(teacher, nn.Module):
        raise CannotTeachError(f"{name} is a model of {type(teacher).__module__} and not of torch")
    return teacher.eval()


def _sequences(teacher: nn.Module, step: DistillStep, shop: Workshop) -> list[Any]:
    prompts: Sequence[Any] = [
        tensor[row, : step.prompt_tokens]
        for batch in shop.calibrated("distill.new_tokens")
        for tensor in list(batch.tensors.values())[:1]
        for row in range(batch.num_examples)
    ]
    return generate_sequences(teacher, prompts, num_new_tokens=step.new_tokens, seed=shop.seed)
