"""Knowledge distillation."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ayni.compress.artefacts import load_full_model
from ayni.compress.retrain.distill import (
    CannotDistillError,
    DistillationTask,
    check_distillable,
    distill,
    distillation_loss,
)
from ayni.compress.retrain.feature_matching import CannotMatchFeaturesError, FeatureMatching
from ayni.compress.retrain.short_training import CannotTrainShortlyError
from ayni.compress.steps import DistillStep
from ayni.compress.weights.masks import masks_of, prune_by_magnitude
from ayni.task import Task

CPU = torch.device("cpu")
STEP = DistillStep(epochs=3, learning_rate=1e-2, batch_size=32)


def ignore(_done: int, _total: int) -> None:
    pass


@given(seed=st.integers(0, 1000), temperature=st.floats(0.5, 10))
@settings(max_examples=25, deadline=None)
def test_the_loss_is_the_formula_computed_in_numpy(seed: int, temperature: float) -> None:
    rng = np.random.default_rng(seed)
    student, teacher = rng.normal(size=(2, 5, 4))

    def softmax(logits: np.ndarray) -> np.ndarray:
        powers = np.exp(logits / temperature)
        return np.asarray(powers / powers.sum(1, keepdims=True))

    p, q = softmax(teacher), softmax(student)
    expected = temperature**2 * (p * np.log(p / q)).sum(1).mean()

    actual = distillation_loss(torch.tensor(student), torch.tensor(teacher), temperature=temperature)

    assert float(actual) == pytest.approx(expected, abs=1e-9)


def test_the_loss_is_a_mean_over_tokens_too() -> None:
    student, teacher = torch.randn(2, 6, 4), torch.randn(2, 6, 4)

    of_tokens = distillation_loss(student, teacher, temperature=2.0)

    assert float(of_tokens) == pytest.approx(
        float(distillation_loss(student.flatten(0, 1), teacher.flatten(0, 1), temperature=2.0))
    )


def test_the_gradient_keeps_its_size_when_the_temperature_rises() -> None:
    student, teacher = torch.randn(8, 4, requires_grad=True), torch.randn(8, 4)

    sizes = []
    for temperature in (20.0, 40.0):
        (gradient,) = torch.autograd.grad(
            distillation_loss(student, teacher, temperature=temperature), student
        )
        sizes.append(float(gradient.norm()))

    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)


def test_a_student_learns_from_its_teacher_alone_and_the_teacher_does_not_move(
    bars: Task, bars_file: Path
) -> None:
    torch.manual_seed(0)
    teacher, student = load_full_model(bars, bars_file), bars.build_model()
    before = copy.deepcopy(teacher.state_dict())
    images = torch.stack([image for image, _ in bars.dataset("validation")])

    distill(
        bars,
        student=student,
        teacher=teacher,
        step=DistillStep(epochs=4, hard_label_weight=0.0, learning_rate=1e-2),
        seed=1,
        device=CPU,
        on_step=ignore,
    )

    agreement = (student(images).argmax(1) == teacher(images).argmax(1)).float().mean()
    assert float(agreement) > 0.95
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_the_result_is_a_function_of_the_seed_and_torch_is_left_as_it_was(bars: Task) -> None:
    torch.manual_seed(3)
    teacher, first = bars.build_model(), bars.build_model()
    second = copy.deepcopy(first)
    state = torch.get_rng_state()

    for student in (first, second):
        distill(bars, student=student, teacher=teacher, step=STEP, seed=5, device=CPU, on_step=ignore)

    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_teacher_sees_the_inputs_that_the_task_augmented(bars: Task) -> None:
    class Shifted:
        def __init__(self) -> None:
            self.dataset = bars.dataset

        def loss(self, model: Any, batch: Any) -> torch.Tensor:
            return bars.loss(model, (batch[0] + 100, batch[1]))

    seen: list[float] = []
    teacher = bars.build_model()
    teacher.register_forward_pre_hook(lambda _module, arguments: seen.append(float(arguments[0].mean())))

    distill(
        Shifted(),  # type: ignore[arg-type]
        student=bars.build_model(),
        teacher=teacher,
        step=DistillStep(epochs=1),
        seed=0,
        device=CPU,
        on_step=ignore,
    )

    assert min(seen) > 90


def test_progress_counts_every_batch_once(bars: Task) -> None:
    heard: list[tuple[int, int]] = []

    distill(
        bars,
        student=bars.build_model(),
        teacher=bars.build_model(),
        step=DistillStep(epochs=2, batch_size=80),
        seed=0,
        device=CPU,
        on_step=lambda done, total: heard.append((done, total)),
    )

    assert heard == [(done, 6) for done in range(1, 7)]


def test_a_model_without_classes_is_refused(bars: Task) -> None:
    class Regression:
        def dataset(self, split: str) -> Any:
            return bars.dataset(split)

        def loss(self, model: Any, batch: Any) -> torch.Tensor:
            value: torch.Tensor = model(batch[0].flatten(1)).square().mean()
            return value

    with pytest.raises(CannotDistillError, match=r"\(32, 1\)"):
        distill(
            Regression(),  # type: ignore[arg-type]
            student=nn.Linear(64, 1),
            teacher=nn.Linear(64, 1),
            step=DistillStep(),
            seed=0,
            device=CPU,
            on_step=ignore,
        )


class Named(nn.Module):
    """Named inputs with padding, and a named answer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(8, 8)

    def forward(self, *, ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"hidden": self.table(ids), "logits": self.table(ids)}


class NamedTask:
    """Batches are dictionaries; the loss counts real tokens only."""

    def __init__(self, examples: list[dict[str, torch.Tensor]]) -> None:
        self._examples = examples

    def dataset(self, _split: str) -> list[dict[str, torch.Tensor]]:
        return self._examples

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        logits = model(ids=batch["ids"], attention_mask=batch["attention_mask"])["logits"]
        return nn.functional.cross_entropy(logits.flatten(0, 1), batch["ids"].flatten())


def named_task(mask: list[int]) -> Any:
    return NamedTask([{"ids": torch.tensor([1, 2, 3]), "attention_mask": torch.tensor(mask)}] * 4)


def test_batches_may_be_dictionaries_and_padding_does_not_count() -> None:
    torch.manual_seed(0)
    teacher, student = Named(), Named()
    step = DistillStep(epochs=60, hard_label_weight=0.0, learning_rate=0.1, temperature=1.0, batch_size=4)
    before = student.table.weight[3].clone()

    distill(
        named_task([1, 1, 0]), student=student, teacher=teacher, step=step, seed=0, device=CPU, on_step=ignore
    )

    def distance(row: int) -> float:
        wanted = teacher.table.weight[row].log_softmax(0)
        return float((student.table.weight[row].log_softmax(0) - wanted).abs().max().detach())

    assert distance(1) < 0.5 and distance(2) < 0.5 and distance(3) > 2
    # Weight decay alone moved the row of the padding.
    torch.testing.assert_close(student.table.weight[3], before, atol=0.05, rtol=0.1)


def test_a_batch_of_padding_alone_has_no_loss_and_no_nan() -> None:
    student, teacher = torch.randn(2, 3, 4, requires_grad=True), torch.randn(2, 3, 4)

    loss = distillation_loss(student, teacher, temperature=2.0, counts_N=torch.zeros(2, 3))
    loss.backward()

    assert float(loss.detach()) == 0.0 and not bool(student.grad.any())


def test_counted_places_alone_make_the_mean() -> None:
    student, teacher = torch.randn(3, 4), torch.randn(3, 4)

    some = distillation_loss(student, teacher, temperature=2.0, counts_N=torch.tensor([1, 0, 1]))

    assert float(some) == pytest.approx(
        float(distillation_loss(student[::2], teacher[::2], temperature=2.0)), abs=1e-6
    )


def test_hidden_layers_of_another_width_are_matched_and_the_projection_is_thrown_away(
    bars: Task, bars_file: Path
) -> None:
    torch.manual_seed(0)
    teacher = load_full_model(bars, bars_file)
    student = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(),
        nn.Linear(16, 3),
    )  # fmt: skip
    names, step = set(student.state_dict()), DistillStep(epochs=4, learning_rate=1e-2)
    features = FeatureMatching(pairs=(("2", "2"),), weight=0.5)

    def run(model: nn.Module, seed: int) -> float:
        return distill(
            bars,
            student=model,
            teacher=teacher,
            step=step,
            seed=seed,
            device=CPU,
            on_step=ignore,
            features=features,
        )

    twin = copy.deepcopy(student)
    state = torch.get_rng_state()
    assert run(student, 1) == run(twin, 1)
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), twin.parameters(), strict=True))
    assert set(student.state_dict()) == names and torch.equal(torch.get_rng_state(), state)
    # The look at the widths does not count as a step of batch norm: 24 steps of 32 examples.
    assert int(student[1].num_batches_tracked) == 24
    assert not any(layer._forward_hooks for layer in (*student.modules(), *teacher.modules()))
    check_distillable(bars, student=student, teacher=teacher, step=step, features=features)
    with pytest.raises(CannotMatchFeaturesError, match="no layer"):
        check_distillable(
            bars, student=student, teacher=teacher, step=step, features=FeatureMatching(pairs=(("x", "2"),))
        )


def test_zeros_of_a_pruned_student_stay(bars: Task) -> None:
    torch.manual_seed(0)
    teacher, student = bars.build_model(), bars.build_model()
    prune_by_magnitude(student, 0.5)
    masks = masks_of(student)

    distill(
        bars, student=student, teacher=teacher, step=STEP, seed=1, device=CPU, on_step=ignore, masks=masks
    )

    assert set(masks_of(student)) == set(masks)
    assert all(torch.equal(masks_of(student)[name], keep) for name, keep in masks.items())


def test_a_task_of_distillation_has_the_loss_of_both_and_the_metrics_of_its_task(bars: Task) -> None:
    torch.manual_seed(0)
    teacher = bars.build_model()
    step = DistillStep(hard_label_weight=0.25, temperature=2.0)
    task = DistillationTask(bars, teacher=teacher, step=step, student=lambda: bars.build_model().eval())
    student = task.build_model()
    batch = torch.utils.data.default_collate(list(task.dataset("train"))[:8])

    loss = task.loss(student, batch)

    soft = distillation_loss(student(batch[0]), teacher(batch[0]), temperature=2.0)
    expected = 0.25 * bars.loss(student, batch) + 0.75 * soft
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert student[0].weight.grad is not None and teacher[0].weight.grad is None
    assert isinstance(task, Task) and task.example_input().shape == (1, 1, 8, 8)
    assert task.evaluate(student, [batch]) == bars.evaluate(student, [batch])
    assert not student._forward_hooks


def test_teachers_that_do_not_fit_are_refused_before_anything_moves(bars: Task) -> None:
    student = bars.build_model()
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    before = copy.deepcopy(student.state_dict())

    def run(**changes: Any) -> None:
        settings: dict[str, Any] = {"student": student, "teacher": bars.build_model(), "step": STEP}
        check_distillable(bars, **(settings | changes))

    with pytest.raises(CannotDistillError, match=r"\(8, 3\) scores and its teacher with \(8, 4\)"):
        run(teacher=other)
    with pytest.raises(CannotDistillError, match="shares parameters"):
        run(teacher=student)
    with pytest.raises(CannotDistillError, match="shares parameters"):
        distill(bars, student=student, teacher=student, step=STEP, seed=0, device=CPU, on_step=ignore)

    assert all(
        torch.equal(value, before[name])
        for name, value in student.state_dict().items()
        if "running" not in name and "tracked" not in name
    )


def test_empty_splits_frozen_students_and_losses_without_a_model_are_refused(bars: Task) -> None:
    class Odd:
        def __init__(self, *, is_empty: bool) -> None:
            self.is_empty = is_empty

        def dataset(self, split: str) -> Any:
            return [] if self.is_empty else bars.dataset(split)

        def loss(self, model: Any, batch: Any) -> torch.Tensor:
            return next(model.parameters()).sum()

    student, teacher = bars.build_model(), bars.build_model()

    def run(task: Any, **changes: Any) -> None:
        settings: dict[str, Any] = {"student": student, "teacher": teacher, "step": STEP}
        distill(task, seed=0, device=CPU, on_step=ignore, **(settings | changes))

    with pytest.raises(CannotTrainShortlyError, match="empty"):
        run(Odd(is_empty=True))
    with pytest.raises(CannotDistillError, match="empty"):
        check_distillable(Odd(is_empty=True), student=student, teacher=teacher, step=STEP)  # type: ignore[arg-type]
    with pytest.raises(CannotDistillError, match="does not call the model"):
        run(Odd(is_empty=False))
    with pytest.raises(CannotTrainShortlyError, match="frozen"):
        run(bars, student=bars.build_model().requires_grad_(False))


def test_a_split_of_one_class_distills_without_nan(bars: Task) -> None:
    class OneClass:
        def dataset(self, split: str) -> Any:
            return [example for example in bars.dataset(split) if example[1] == 0]

        loss = staticmethod(bars.loss)

    loss = distill(
        OneClass(),  # type: ignore[arg-type]
        student=bars.build_model(),
        teacher=bars.build_model(),
        step=STEP,
        seed=0,
        device=CPU,
        on_step=ignore,
    )

    assert np.isfinite(loss)
