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
from ayni.compress.config import DistillStep
from ayni.compress.distill import CannotDistillError, distill, distillation_loss
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
