"""Recovery: train a model on after it was pruned, factorized or rounded, and know what that was worth.

Whatever trains longer gets better. So the model before compression gets the same extra epochs, in the same
order, as a control: what compression cost is the difference of the two at the end, not the difference
between the compressed model and the original at its start.

Not covered: choosing the number of epochs; quantizing while it learns (`ayni.compress.weights.qat`).
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ayni.compress.retrain.short_training import (
    CannotTrainShortlyError,
    OnStep,
    ShortTraining,
    tail_mean,
    train_shortly,
)
from ayni.compress.weights.layers import matrix_layers, weight_OI
from ayni.compress.weights.masks import apply_masks
from ayni.compress.weights.schedule import CubicSchedule, GradualPruner
from ayni.task import Task
from ayni.train.local import evaluate


class CannotRecoverError(CannotTrainShortlyError):
    """A control that cannot be compared with the compressed model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What `recover` did.

    loss: mean of the last tenth of the steps.
    sparsity: zeros / weights of the layers with masks, after the training; None without masks.
    """

    num_steps: int
    loss: float
    sparsity: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlledRecovery:
    """Metrics on a split, of the compressed model and of the control, before and after the same epochs."""

    recovery: Recovery
    control: Recovery
    before: Mapping[str, float]
    after: Mapping[str, float]
    control_before: Mapping[str, float]
    control_after: Mapping[str, float]

    @property
    def differences(self) -> dict[str, float]:
        """Compressed minus control, each after the training, by metric: what the compression changed."""
        return {name: value - self.control_after[name] for name, value in self.after.items()}


def recover(
    task: Task,
    model: nn.Module,
    *,
    plan: ShortTraining,
    seed: int,
    device: torch.device,
    on_step: OnStep,
    masks: Mapping[str, torch.Tensor] | None = None,
    gradual: CubicSchedule | None = None,
) -> Recovery:
    """Train `model` in place on the task's training split, with the task's own loss.

    Zeros of `masks` stay zero at every step (`masks_of` reads them off a pruned model). Cost: one training
    step for each batch of each epoch. A function of its arguments.

    Source: Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015,
    section 3.2, arXiv:1506.02626.

    Args:
        task: gives examples and loss; batches may be dictionaries.
        model: is on the CPU and in evaluation mode afterwards.
        plan: epochs, batch size, learning rate.
        seed: of order, dropout and augmentation.
        device: where the model computes.
        on_step: called with (steps done, steps in all).
        masks: True where a weight is kept, by layer name in the shape of weight_OI.
        gradual: prune while it learns, by this schedule, instead of keeping masks; `plan.num_steps` says
            how many steps there will be.

    Raises:
        CannotTrainShortlyError: no examples, or nothing that learns.
        MaskMismatchError: masks that do not fit; the model is as it was.
        NonFiniteLossError, LossShapeError, TaskFailedError: as in training.
    """
    if masks and gradual:
        raise ValueError("recovery either keeps masks or prunes gradually, not both")
    pruner = GradualPruner(model, gradual) if gradual else None
    if masks:
        apply_masks(model, masks)
    losses = train_shortly(
        task.dataset("train"),
        model,
        task.loss,
        plan,
        seed=seed,
        device=device,
        on_step=on_step,
        where="recovery",
        after_step=pruner.after_step if pruner else keep_zeros(model, masks),
    )
    pruned = pruner.masks if pruner else masks
    return Recovery(
        num_steps=len(losses),
        loss=tail_mean(losses),
        sparsity=_sparsity(model, pruned) if pruned else None,
    )


def recover_with_control(
    task: Task,
    model: nn.Module,
    *,
    original: nn.Module,
    plan: ShortTraining,
    seed: int,
    device: torch.device,
    on_step: OnStep,
    masks: Mapping[str, torch.Tensor] | None = None,
    gradual: CubicSchedule | None = None,
    split: str = "validation",
) -> ControlledRecovery:
    """`recover`, and the same for a copy of the model before compression.

    `original` itself is not changed. `on_step` counts the steps of both. Cost: twice that of `recover`, and
    four evaluations of the split.

    Raises:
        CannotRecoverError: `original` is `model`, or shares parameters with it.
        CannotTrainShortlyError, NonFiniteLossError, LossShapeError, TaskFailedError: as `recover`.
    """
    if {id(value) for value in model.parameters()} & {id(value) for value in original.parameters()}:
        raise CannotRecoverError("its control is the model itself or shares parameters with it; give a copy")
    control_model = copy.deepcopy(original)

    def metrics(subject: nn.Module) -> dict[str, float]:
        found = evaluate(task, subject.to(device), task.dataset(split), device=device)
        subject.to("cpu").eval()
        return found

    before, control_before = metrics(model), metrics(control_model)
    recovery = recover(
        task,
        model,
        plan=plan,
        seed=seed,
        device=device,
        on_step=lambda done, total: on_step(done, 2 * total),
        masks=masks,
        gradual=gradual,
    )
    control = recover(
        task,
        control_model,
        plan=plan,
        seed=seed,
        device=device,
        on_step=lambda done, total: on_step(total + done, 2 * total),
    )
    return ControlledRecovery(
        recovery=recovery,
        control=control,
        before=before,
        after=metrics(model),
        control_before=control_before,
        control_after=metrics(control_model),
    )


def keep_zeros(model: nn.Module, masks: Mapping[str, torch.Tensor] | None) -> Callable[[int], None] | None:
    """What to do after each step so that the zeros of masks stay; None where there are no masks.

    Weight decay and momentum move a weight even where its gradient is zero.
    """
    return (lambda _step: apply_masks(model, masks)) if masks else None


def _sparsity(model: nn.Module, masks: Mapping[str, torch.Tensor]) -> float:
    layers = matrix_layers(model)
    weights = [weight_OI(layers[name]) for name in masks]
    return sum(int((weight_OI == 0).sum()) for weight_OI in weights) / sum(w_OI.numel() for w_OI in weights)
