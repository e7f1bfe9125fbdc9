"""Whether a model and its loss treat every example apart, tried out before any privacy is spent.

Two things break the promise of DP-SGD without a word: layers that mix examples (BatchNorm, and what Opacus'
validator knows), which are refused by name; and anything else that mixes them, in the model, the loss or the
augmentation. The latter is found by experiment: one example of a small batch is replaced by another, all else
equal, random numbers too. The gradients of the other examples must stay as they were.

Not covered: mixing that shows only now and then, on batches of other sizes, or in evaluation.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ayni.errors import UserError
from ayni.task import Task, TaskFailedError
from ayni.train.local import collate, resolve_device, to_device
from ayni.train.privacy_accounting import PrivacyTargetError
from ayni.train.private_gradients import NotPerExampleError, PerExampleGradients
from ayni.train.randomness import seeded

_BATCH = 3
_NUM_TRIALS = 4
_TOLERANCE = 1e-3


class UnsafeLayerError(UserError):
    """Layers that break the guarantee of DP-SGD."""

    def __init__(self, layers: Sequence[tuple[str, str, str]]) -> None:
        self.layers = tuple(layers)
        named = "; ".join(f"{name or 'the model'} ({kind}): {remedy}" for name, kind, remedy in layers)
        super().__init__(
            f"train.privacy cannot be kept with {len(layers)} of the model's layers. {named}. "
            "Mend build_model, or leave train.privacy out."
        )


# What Opacus' validator refuses, and what to use instead; its own texts are pages long.
_REMEDIES = (
    (nn.modules.batchnorm._BatchNorm, "it mixes the examples of a batch; use nn.GroupNorm(groups, channels)"),
    (
        nn.modules.instancenorm._InstanceNorm,
        "its running statistics are not noised; track_running_stats=False",
    ),
    (nn.LSTM, "no gradient by example can be had; use opacus.layers.DPLSTM"),
    (nn.GRU, "no gradient by example can be had; use opacus.layers.DPGRU"),
    (nn.RNN, "no gradient by example can be had; use opacus.layers.DPRNN"),
    (nn.MultiheadAttention, "no gradient by example can be had; use opacus.layers.DPMultiheadAttention"),
)


def check_layers(model: nn.Module) -> None:
    """Refuse layers that Opacus' validator refuses, and BatchNorm wherever it computes statistics.

    Raises:
        UnsafeLayerError: the message names each, with what to use instead.
    """
    from opacus.validators import ModuleValidator

    model.train()
    found = []
    for name, layer in model.named_modules():
        # The validator passes over layers without parameters of their own that learn.
        is_batch_norm = isinstance(layer, nn.modules.batchnorm._BatchNorm)
        validate = ModuleValidator.VALIDATORS.get(type(layer))
        if is_batch_norm or (validate is not None and validate(layer)) or _has_buffers_beside(layer):
            found.append((name, type(layer).__name__, _remedy(layer)))
    if found:
        raise UnsafeLayerError(found)


def _has_buffers_beside(layer: nn.Module) -> bool:
    """Whether a layer that Opacus must run as a function has buffers, which it cannot."""
    from opacus.grad_sample import GradSampleHooks

    learns = any(parameter.requires_grad for parameter in layer.parameters(recurse=False))
    return learns and type(layer) not in GradSampleHooks.GRAD_SAMPLERS and any(True for _ in layer.buffers())


def _remedy(layer: nn.Module) -> str:
    return next(
        (text for kind, text in _REMEDIES if isinstance(layer, kind)),
        "Opacus finds no gradients by example here",
    )


def check_examples_apart(
    task: Task, model: nn.Module, dataset: Sequence[Any], *, device: str, seed: int
) -> None:
    """Try out on a few batches of three that no example touches another's gradient. Hooks stay on `model`.

    Raises:
        PrivacyTargetError: fewer than four training examples.
        NotPerExampleError: an example does, or a parameter's gradients by example do not add up.
        TaskFailedError, LossShapeError: by the task's doing.
    """
    if len(dataset) <= _BATCH:
        raise PrivacyTargetError(f"train.privacy needs more than {_BATCH} training examples.")
    place = resolve_device(device)
    model = model.to(place)
    gradients = PerExampleGradients(model)
    rows = torch.Generator().manual_seed(seed)
    for trial in range(_NUM_TRIALS):
        chosen = torch.randperm(len(dataset), generator=rows)[: _BATCH + 1].tolist()

        def of(indices: Sequence[int], trial: int = trial) -> list[torch.Tensor]:
            with seeded(seed, "privacy", trial):
                batch = to_device(_collated(dataset, indices), place)
                return gradients.of_batch(batch, len(indices), task.loss)[1]

        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        first = of(chosen[:_BATCH])
        _check_sums(gradients, first)
        _check_buffers(model, buffers)
        second = of([chosen[_BATCH], *chosen[1:_BATCH]])
        _check_others(list(gradients.parameters), first, second)


def _collated(dataset: Sequence[Any], indices: Sequence[int]) -> Any:
    try:
        return collate([dataset[index] for index in indices])
    except Exception as error:
        raise TaskFailedError(method="dataset('train')[index]", cause=error) from error


def _check_sums(gradients: PerExampleGradients, by_example: Sequence[torch.Tensor]) -> None:
    """The mean of the gradients by example is the gradient of the loss."""
    scale = _norm_of(by_example)
    for (name, parameter), of_examples in zip(gradients.parameters.items(), by_example, strict=True):
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        if not _is_near(of_examples.mean(0), expected, scale=scale):
            raise NotPerExampleError(
                f"the gradients of {name} by example do not add up to its gradient; it is used outside of "
                "the layer that owns it"
            )


def _check_others(
    names: Sequence[str], first: Sequence[torch.Tensor], second: Sequence[torch.Tensor]
) -> None:
    scale = _norm_of(first)
    for name, before, after in zip(names, first, second, strict=True):
        if not _is_near(before[1:], after[1:], scale=scale):
            raise NotPerExampleError(
                f"another example in the batch changed the gradient of {name} for those that stayed"
            )


def _check_buffers(model: nn.Module, before: dict[str, torch.Tensor]) -> None:
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point() and not torch.equal(buffer, before[name]):
            raise NotPerExampleError(f"the buffer {name} follows the data without noise")


def _norm_of(tensors: Sequence[torch.Tensor]) -> float:
    return math.sqrt(sum(float(one.square().sum()) for one in tensors))


def _is_near(found: torch.Tensor, expected: torch.Tensor, *, scale: float) -> bool:
    """Equal but for rounding, which is about a share of `scale` where the gradient itself is zero."""
    distance = float((found - expected).norm())
    # Written so that NaN counts as near: a loss that is not finite is said to be that, later.
    return not distance > _TOLERANCE * max(float(expected.norm()), _TOLERANCE * scale, 1e-12)
