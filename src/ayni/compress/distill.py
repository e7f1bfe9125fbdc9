"""Knowledge distillation: a pruned model learns to answer as the full model does.

    L = h * loss(y, z_s) + (1 - h) * T^2 * KL(softmax(z_t / T) || softmax(z_s / T))

z_s, z_t: logits of student and teacher; T: temperature; h: weight of the task's own loss. KL is a mean
over all positions (examples, and tokens where there are any). T^2 keeps the gradient's size, which
otherwise falls as 1 / T^2.

The teacher sees exactly what the student sees: inputs are caught on their way into the student, after
any augmentation inside the task's loss.

Not covered: outputs whose classes are not the last axis; distillation of hidden layers; resuming inside
the step (it is short, and starts again).

Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531.
It writes the cross-entropy with soft targets; ours subtracts the teacher's entropy, which has no gradient.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from ayni.compress.config import DistillStep
from ayni.errors import UserError
from ayni.task import Task
from ayni.train.local import batches, compute_gradients, make_optimizer, run_steps, to_device

PEAK_SHARE = 0.1
"""Share of the steps in which the learning rate rises: the moments of a new AdamW are noise at first."""

NUM_CHECKED = 8
"""Examples in the batch of a trial; more than one, for batch norm."""


class CannotDistillError(UserError):
    """The model's output is not a tensor of class scores."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"This model cannot be distilled: {reason}. Distillation compares scores of classes on the last "
            "axis of the output. Remove `distill` from compress.steps."
        )


def distillation_loss(
    student_logits_NC: torch.Tensor, teacher_logits_NC: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """T^2 * KL(softmax(z_t / T) || softmax(z_s / T)), mean over all but the last axis. Scalar, in nats."""
    num_classes = student_logits_NC.shape[-1]
    divergence = nn.functional.kl_div(
        nn.functional.log_softmax(student_logits_NC.reshape(-1, num_classes) / temperature, dim=-1),
        nn.functional.log_softmax(teacher_logits_NC.reshape(-1, num_classes) / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    return temperature**2 * divergence


def distill(
    task: Task,
    *,
    student: nn.Module,
    teacher: nn.Module,
    step: DistillStep,
    seed: int,
    device: torch.device,
    on_step: Callable[[int, int], None],
) -> float:
    """Train `student` in place on the training split; returns the mean loss of its last tenth.

    A function of its arguments: order and augmentation are drawn from `seed`, and torch's own generator
    is left as it was.

    Args:
        task: gives examples and its own loss.
        student: a model with the teacher's inputs and outputs.
        teacher: is not changed.
        step: temperature, epochs, weights.
        seed: of order, dropout and augmentation.
        device: where both models compute; they are back on the CPU afterwards.
        on_step: called with (steps done, steps in all).

    Raises:
        CannotDistillError: the output has no classes, or the loss never calls the model.
        NonFiniteLossError, TaskFailedError: as in training.
    """
    dataset = task.dataset("train")
    num_steps = step.epochs * math.ceil(len(dataset) / step.batch_size)
    optimizer = make_optimizer(student.to(device), learning_rate=step.learning_rate, weight_decay=0.01)
    loss = _Loss(task, teacher.to(device).eval(), step)
    hook = student.register_forward_hook(loss.catch)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            losses = run_steps(
                student,
                optimizer,
                _shuffled(dataset, step, device, on_step, num_steps),
                loss,
                learning_rate_at=lambda index: step.learning_rate * _schedule(index, num_steps),
                where="distillation",
            )
    finally:
        hook.remove()
        student.to("cpu").eval()
        teacher.to("cpu")
    tail = losses[-max(1, len(losses) // 10) :]
    return sum(tail) / len(tail)


def check_distillable(task: Task, *, student: nn.Module, teacher: nn.Module, step: DistillStep) -> None:
    """Compute the loss of one small batch, as `distill` would, and take no step.

    Raises:
        CannotDistillError: the output has no classes, or the loss never calls the model.
        NonFiniteLossError, LossShapeError, TaskFailedError: as in training.
    """
    dataset = task.dataset("train")
    indices = range(min(len(dataset), step.batch_size, NUM_CHECKED))
    optimizer = make_optimizer(student.train(), learning_rate=step.learning_rate, weight_decay=0.01)
    loss = _Loss(task, teacher.eval(), step)
    hook = student.register_forward_hook(loss.catch)
    try:
        with torch.random.fork_rng():
            batch = next(batches(dataset, len(indices), indices=indices))
            compute_gradients(student, optimizer, batch, loss, where="a trial of distillation")
    finally:
        hook.remove()
        student.eval()


class _Loss:
    """The task's loss plus the teacher's opinion on what the student was just asked."""

    def __init__(self, task: Task, teacher: nn.Module, step: DistillStep) -> None:
        self._task, self._teacher, self._step = task, teacher, step
        self._calls: list[tuple[torch.Tensor, torch.Tensor]] = []

    def catch(self, _module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        """Forward hook of the student."""
        if len(arguments) != 1 or not isinstance(output, torch.Tensor):
            raise CannotDistillError("it does not map one tensor to one tensor")
        self._calls.append((arguments[0], output))

    def __call__(self, student: nn.Module, batch: Any) -> torch.Tensor:
        self._calls.clear()
        hard = self._task.loss(student, batch)
        if not self._calls:
            raise CannotDistillError("the task's loss does not call the model")
        soft = torch.stack([self._soft(inputs, logits) for inputs, logits in self._calls]).mean()
        weight = self._step.hard_label_weight
        return weight * hard + (1 - weight) * soft

    def _soft(self, inputs: torch.Tensor, student_logits: torch.Tensor) -> torch.Tensor:
        if student_logits.ndim < 2 or student_logits.shape[-1] < 2:
            raise CannotDistillError(f"its output has the shape {tuple(student_logits.shape)}")
        with torch.no_grad():
            teacher_logits = self._teacher(inputs)
        return distillation_loss(student_logits, teacher_logits, temperature=self._step.temperature)


def _shuffled(
    dataset: Sequence[Any],
    step: DistillStep,
    device: torch.device,
    on_step: Callable[[int, int], None],
    num_steps: int,
) -> Iterator[Any]:
    # A generator of its own: augmentation in the loss draws from torch's global one in between.
    generator = torch.Generator().manual_seed(torch.initial_seed())
    done = 0
    for _ in range(step.epochs):
        order = torch.randperm(len(dataset), generator=generator).tolist()
        for batch in batches(dataset, step.batch_size, indices=order):
            yield to_device(batch, device)
            done += 1
            on_step(done, num_steps)


def _schedule(index: int, num_steps: int) -> float:
    """Share of the peak learning rate: linear rise over PEAK_SHARE of the steps, then half a cosine."""
    rise = max(1, round(PEAK_SHARE * num_steps))
    if index < rise:
        return (index + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (index - rise) / max(1, num_steps - rise)))
