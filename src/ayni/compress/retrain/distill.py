"""Knowledge distillation: a smaller model learns to answer as the full model does.

    L = h * loss(y, z_s) + (1 - h) * T^2 * KL(softmax(z_t / T) || softmax(z_s / T)) + L_f

z_s, z_t: logits of student and teacher; T: temperature; h: weight of the task's own loss. KL is a mean
over all positions (examples, and tokens where there are any; not those of padding). T^2 keeps the gradient's
size, which otherwise falls as 1 / T^2. L_f compares hidden layers, if asked for (`feature_matching`).

The teacher sees exactly what the student sees: inputs are caught on their way into the student, after
any augmentation inside the task's loss, whatever their form (one tensor, several, by name).

For language models `sequence_distillation` lets the teacher write the labels. `DistillationTask` is this loss
as a task, for `ayni.train` on many machines.

Not covered: outputs whose classes are not the last axis; logits that are minus infinity for impossible
classes; resuming inside the step (it is short, and starts again).

Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531.
It writes the cross-entropy with soft targets; ours subtracts the teacher's entropy, which has no gradient.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ayni.compress.deploy.outputs import NoTensorOutputError
from ayni.compress.inputs import ModelInputs
from ayni.compress.retrain.class_scores import class_scores
from ayni.compress.retrain.feature_matching import FeatureMatcher, FeatureMatching
from ayni.compress.retrain.recover import keep_zeros
from ayni.compress.retrain.short_training import ShortTraining, tail_mean, train_shortly
from ayni.compress.steps import DistillStep
from ayni.compress.structure.restore import traced
from ayni.compress.weights.masks import apply_masks
from ayni.compress.weights.statistics import PADDING_MASK
from ayni.errors import AyniError, UserError
from ayni.task import Task, TaskFailedError
from ayni.train.local import batches, compute_gradients, make_optimizer, to_device

NUM_CHECKED = 8
"""Examples in the batch of a trial; more than one, for batch norm."""


class CannotDistillError(UserError):
    """The model's output is not a tensor of class scores."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"This model cannot be distilled: {reason}. Distillation compares scores of classes on the last "
            "axis of the output. Remove `distill` from compress.steps."
        )


def distillation_loss(
    student_logits_NC: torch.Tensor,
    teacher_logits_NC: torch.Tensor,
    *,
    temperature: float,
    counts_N: torch.Tensor | None = None,
) -> torch.Tensor:
    """T^2 * KL(softmax(z_t / T) || softmax(z_s / T)), mean over all but the last axis. Scalar, in nats.

    Where `counts_N` is given, the mean is over the places where it is not zero; without any it is 0.
    """
    num_classes = student_logits_NC.shape[-1]
    student_NC = student_logits_NC.reshape(-1, num_classes)
    teacher_NC = teacher_logits_NC.reshape(-1, num_classes)
    if counts_N is not None:
        counted_N = counts_N.reshape(-1) != 0
        student_NC, teacher_NC = student_NC[counted_N], teacher_NC[counted_N]
        if not len(student_NC):
            return student_logits_NC.sum() * 0
    divergence = nn.functional.kl_div(
        nn.functional.log_softmax(student_NC / temperature, dim=-1),
        nn.functional.log_softmax(teacher_NC / temperature, dim=-1),
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
    features: FeatureMatching | None = None,
    masks: Mapping[str, torch.Tensor] | None = None,
) -> float:
    """Train `student` in place on the training split; returns the mean loss of its last tenth.

    A function of its arguments: order and augmentation are drawn from `seed`, and torch's own generator
    is left as it was. Cost: for each batch a training step of the student and a forward pass of the teacher.

    Args:
        task: gives examples and its own loss.
        student: a model with the teacher's inputs and outputs.
        teacher: is not changed; any module with the student's call, a model from a hub too.
        step: temperature, epochs, weights.
        seed: of order, dropout and augmentation.
        device: where both models compute; they are back on the CPU afterwards.
        on_step: called with (steps done, steps in all).
        features: hidden layers that are compared too.
        masks: weights of a pruned student that stay zero; True where a weight is kept.

    Raises:
        CannotDistillError: the output has no classes or other ones than the teacher's, the loss never calls
            the model, or both share parameters.
        CannotMatchFeaturesError: paired layers that cannot be compared.
        CannotTrainShortlyError: no examples, or a student that is frozen.
        MaskMismatchError, NonFiniteLossError, TaskFailedError: as in recovery and training.
    """
    _refuse_shared_parameters(student, teacher)
    dataset = task.dataset("train")
    loss = _Loss(task, student.to(device), teacher.to(device).eval(), step, features)
    try:
        if masks:
            apply_masks(student, masks)
        if loss.matcher is not None and len(dataset):
            batch = next(batches(dataset, min(len(dataset), step.batch_size, NUM_CHECKED)))
            _make_projections(loss, student, to_device(batch, device), seed)
        losses = train_shortly(
            dataset,
            student,
            loss,
            ShortTraining(epochs=step.epochs, batch_size=step.batch_size, learning_rate=step.learning_rate),
            seed=seed,
            device=device,
            on_step=on_step,
            where="distillation",
            after_step=keep_zeros(student, masks),
            also_learning=None if loss.matcher is None else loss.matcher.projections,
        )
    finally:
        student.to("cpu").eval()
        teacher.to("cpu")
    return tail_mean(losses)


def check_distillable(
    task: Task,
    *,
    student: nn.Module,
    teacher: nn.Module,
    step: DistillStep,
    features: FeatureMatching | None = None,
) -> None:
    """Compute the loss of one small batch, as `distill` would, and take no step.

    Raises:
        CannotDistillError: the output has no classes, or the loss never calls the model.
        NonFiniteLossError, LossShapeError, TaskFailedError: as in training.
    """
    _refuse_shared_parameters(student, teacher)
    dataset = task.dataset("train")
    indices = range(min(len(dataset), step.batch_size, NUM_CHECKED))
    if not indices:
        raise CannotDistillError("the training split is empty")
    if not any(parameter.requires_grad for parameter in student.parameters()):
        raise CannotDistillError("all of its parameters are frozen (requires_grad is False)")
    optimizer = make_optimizer(student.train(), learning_rate=step.learning_rate, weight_decay=0.01)
    loss = _Loss(task, student, teacher.eval(), step, features)
    try:
        with torch.random.fork_rng():
            batch = next(batches(dataset, len(indices), indices=indices))
            compute_gradients(student, optimizer, batch, loss, where="a trial of distillation")
    finally:
        student.eval()


class DistillationTask:
    """A task whose loss is the distillation loss, so that `ayni.train` can distill on many machines.

    In the job's task file: `task = DistillationTask(MyTask(), teacher=..., student=..., step=DistillStep())`.
    Everything but model and loss is the given task's. Fulfils ayni.task.Task.

    Not covered: feature matching, whose projections would have to be trained beside the model.
    """

    def __init__(
        self,
        task: Task,
        *,
        teacher: nn.Module,
        step: DistillStep,
        student: Callable[[], nn.Module] | None = None,
    ) -> None:
        self._task, self._teacher, self._step = task, teacher.eval(), step
        self._student = student or task.build_model

    def build_model(self) -> nn.Module:
        """A new student."""
        return self._student()

    def dataset(self, split: str) -> Sequence[Any]:
        """The task's own."""
        return self._task.dataset(split)

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """The task's loss and the teacher's opinion; the teacher moves to where the model is."""
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        return _Loss(self._task, model, self._teacher.to(device), self._step, None)(model, batch)

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        """The task's own: the student is judged by the truth, not by its teacher."""
        return self._task.evaluate(model, batches)

    def example_input(self) -> torch.Tensor:
        """The task's own."""
        return self._task.example_input()


class _Loss:
    """The task's loss plus the teacher's opinion on what the student was just asked."""

    def __init__(
        self,
        task: Task,
        student: nn.Module,
        teacher: nn.Module,
        step: DistillStep,
        features: FeatureMatching | None,
    ) -> None:
        self._task, self._teacher, self._step = task, teacher, step
        self.matcher = (
            None if features is None else FeatureMatcher(features, student=student, teacher=teacher)
        )

    def __call__(self, student: nn.Module, batch: Any) -> torch.Tensor:
        calls: list[tuple[ModelInputs, Any]] = []
        hook = student.register_forward_hook(
            lambda _module, args, kwargs, output: calls.append((ModelInputs(args, kwargs), output)),
            with_kwargs=True,
        )
        with contextlib.ExitStack() as stack:
            if self.matcher is not None:
                stack.enter_context(self.matcher.watching())
            try:
                hard = self._task.loss(student, batch)
            finally:
                hook.remove()
            if not calls:
                raise CannotDistillError("the task's loss does not call the model")
            soft = torch.stack([self._soft(inputs, output) for inputs, output in calls]).mean()
        weight = self._step.hard_label_weight
        total = weight * hard + (1 - weight) * soft
        return total if self.matcher is None else total + self.matcher.loss()

    def _soft(self, inputs: ModelInputs, output: Any) -> torch.Tensor:
        student_logits = _scores(output)
        if student_logits.ndim < 2 or student_logits.shape[-1] < 2:
            raise CannotDistillError(f"its output has the shape {tuple(student_logits.shape)}")
        with torch.no_grad():
            teacher_logits = _scores(inputs.run(self._teacher))
        if teacher_logits.shape != student_logits.shape:
            raise CannotDistillError(
                f"it answers with {tuple(student_logits.shape)} scores and its teacher with "
                f"{tuple(teacher_logits.shape)}"
            )
        counts = inputs.kwargs.get(PADDING_MASK)
        is_by_position = isinstance(counts, torch.Tensor) and counts.shape == student_logits.shape[:-1]
        return distillation_loss(
            student_logits,
            teacher_logits,
            temperature=self._step.temperature,
            counts_N=counts if is_by_position else None,
        )


def _scores(output: Any) -> torch.Tensor:
    try:
        return class_scores(output)
    except NoTensorOutputError as error:
        raise CannotDistillError("its output holds no tensor of scores") from error


def _make_projections(loss: _Loss, student: nn.Module, batch: Any, seed: int) -> None:
    """Run the loss once, so that feature matching learns the widths; batch norms must not notice."""
    with traced(student):
        torch.manual_seed(seed)
        try:
            loss(student, batch)
        except AyniError:
            raise
        except Exception as error:
            raise TaskFailedError(method="loss", cause=error) from error


def _refuse_shared_parameters(student: nn.Module, teacher: nn.Module) -> None:
    if {id(value) for value in student.parameters()} & {id(value) for value in teacher.parameters()}:
        raise CannotDistillError("its teacher shares parameters with it and would move too; use a deep copy")
