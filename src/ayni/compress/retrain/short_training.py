"""A short training after a model was changed: recovery and distillation run the same loop.

AdamW; the learning rate rises over the first tenth of the steps and falls along half a cosine. Whoever needs
something after each step (zeros that stay zeros) says so.

Not covered: several processes (`ayni.train` does that; `ayni.compress.retrain.distill.DistillationTask` is a
task for it), and going on in the middle.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ayni.errors import UserError
from ayni.train.local import batches, make_optimizer, run_steps, to_device

PEAK_SHARE = 0.1
"""Share of the steps in which the learning rate rises: the moments of a new AdamW are noise at first."""

OnStep = Callable[[int, int], None]


class CannotTrainShortlyError(UserError):
    """There is nothing to train, or nothing to train on."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"This model cannot be trained after its compression: {reason}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortTraining:
    """How long and how fast.

    epochs: passes over the training split.
    batch_size: examples in one step.
    learning_rate: peak of the schedule.
    weight_decay: of AdamW, per unit of learning rate.
    """

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-3
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(
                f"at least 1 epoch of batches of 1, not epochs {self.epochs} and batch_size {self.batch_size}"
            )
        if self.learning_rate <= 0 or self.weight_decay < 0:
            raise ValueError(
                "learning_rate must be above 0 and weight_decay not below it, not "
                f"{self.learning_rate} and {self.weight_decay}"
            )

    def num_steps(self, num_examples: int) -> int:
        """Steps of the optimizer in all."""
        return self.epochs * math.ceil(num_examples / self.batch_size)


def train_shortly(
    dataset: Sequence[Any],
    model: nn.Module,
    loss: Callable[[nn.Module, Any], torch.Tensor],
    plan: ShortTraining,
    *,
    seed: int,
    device: torch.device,
    on_step: OnStep,
    where: str,
    after_step: Callable[[int], None] | None = None,
    also_learning: nn.Module | None = None,
) -> list[float]:
    """Train `model` in place; returns the loss of each step.

    The model is on the CPU and in evaluation mode afterwards. A function of its arguments: the order is
    drawn from `seed`, dropout and augmentation from torch's generator, which is seeded with it and left as
    it was.

    Args:
        dataset: examples; batches are what default_collate makes of them, dictionaries too.
        model: what learns.
        loss: scalar of the model and a batch.
        plan: epochs, batch size, learning rate.
        seed: of order, dropout and augmentation.
        device: where the model computes.
        on_step: called with (steps done, steps in all).
        where: said in error messages.
        after_step: called with the number of the step, from 0, when the parameters have moved.
        also_learning: a module whose parameters learn too and that is not part of the model.

    Raises:
        CannotTrainShortlyError: no examples, or no parameter that learns.
        NonFiniteLossError, LossShapeError, TaskFailedError: as in training.
    """
    if not len(dataset):
        raise CannotTrainShortlyError("its training split is empty")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise CannotTrainShortlyError("all of its parameters are frozen (requires_grad is False)")
    num_steps = plan.num_steps(len(dataset))
    learning = nn.ModuleList([model] if also_learning is None else [model, also_learning]).to(device)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            optimizer = make_optimizer(
                learning, learning_rate=plan.learning_rate, weight_decay=plan.weight_decay
            )
            if after_step is not None:
                _call_after_each_step(optimizer, after_step)
            return run_steps(
                model,
                optimizer,
                _shuffled(dataset, plan, device, on_step, num_steps),
                loss,
                learning_rate_at=lambda index: plan.learning_rate * schedule(index, num_steps),
                where=where,
            )
    finally:
        learning.to("cpu").eval()


def schedule(index: int, num_steps: int) -> float:
    """Share of the peak learning rate: linear rise over PEAK_SHARE of the steps, then half a cosine."""
    rise = max(1, round(PEAK_SHARE * num_steps))
    if index < rise:
        return (index + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (index - rise) / max(1, num_steps - rise)))


def tail_mean(losses: Sequence[float]) -> float:
    """Mean of the last tenth, at least of one."""
    tail = losses[-max(1, len(losses) // 10) :]
    return sum(tail) / len(tail)


def _call_after_each_step(optimizer: torch.optim.Optimizer, after_step: Callable[[int], None]) -> None:
    steps = itertools.count()

    def call(*_: Any) -> None:
        after_step(next(steps))

    optimizer.register_step_post_hook(call)


def _shuffled(
    dataset: Sequence[Any], plan: ShortTraining, device: torch.device, on_step: OnStep, num_steps: int
) -> Iterator[Any]:
    # A generator of its own: augmentation in the loss draws from torch's global one in between.
    generator = torch.Generator().manual_seed(torch.initial_seed())
    done = 0
    for _ in range(plan.epochs):
        order = torch.randperm(len(dataset), generator=generator).tolist()
        for batch in batches(dataset, plan.batch_size, indices=order):
            yield to_device(batch, device)
            done += 1
            on_step(done, num_steps)
