"""Clipping and noise: against a loop over examples, and the statistics of what is drawn."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ayni.task import Task, TaskFailedError, TaskReference
from ayni.train.local import NonFiniteLossError, collate
from ayni.train.privacy_accounting import PrivacyPlan

pytest.importorskip("opacus")

from ayni.train.private_gradients import (
    ExampleSampler,
    NotPerExampleError,
    PrivateGradients,
)

TASKS = Path(__file__).with_name("private_tasks.py")


def load(name: str) -> Task:
    return TaskReference(module_path=TASKS, object_name=name).load()


def make_plan(noise: float = 0.0, clip: float = 0.1, batch: int = 10) -> PrivacyPlan:
    return PrivacyPlan(
        noise_multiplier=noise,
        sample_rate=0.1,
        clip=clip,
        expected_batch_size=batch,
        max_attempts=1,
        steps_per_attempt=1,
    )


def compute(
    task: Task, model: nn.Module, plan: PrivacyPlan, examples: Sequence[Any], piece: int = 0
) -> float:
    private = PrivateGradients(model, plan, device=torch.device("cpu"))
    private.piece_size = piece or private.piece_size
    batch = private.batch(examples, collate)
    return private.compute(batch, task.loss, where="a test", learning_rate=0.1)


def clipped_sum(task: Task, model: nn.Module, examples: Sequence[Any], clip: float) -> list[torch.Tensor]:
    """By the definition: one backward pass an example."""
    sums = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for example in examples:
        model.zero_grad()
        task.loss(model, collate([example])).backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in model.parameters()]
        norm = torch.stack([one.norm() for one in gradients if one is not None]).norm()
        for total, one in zip(sums, gradients, strict=True):
            assert one is not None
            total.add_(one, alpha=min(1.0, clip / float(norm)))
    return sums


@pytest.mark.parametrize("clip", [0.05, 0.5, 100.0])
@pytest.mark.parametrize("piece", [0, 3])
def test_without_noise_the_gradient_is_the_sum_of_clipped_ones(clip: float, piece: int) -> None:
    task = load("Plain")
    torch.manual_seed(0)
    model = task.build_model()
    examples = task.dataset("train")[:7]
    expected = clipped_sum(task, model, examples, clip)

    loss = compute(task, model, make_plan(clip=clip, batch=10), examples, piece)

    for parameter, total in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, total / 10, rtol=1e-4, atol=1e-6)
    assert loss == pytest.approx(task.loss(model, collate(examples)).item(), rel=1e-4)


def test_noise_has_the_deviation_of_the_plan_also_when_nothing_is_drawn() -> None:
    task = load("Large")
    model = task.build_model()

    compute(task, model, make_plan(noise=3.0, clip=0.5, batch=10), [])

    noise = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])  # type: ignore[union-attr]
    # Nine million draws.
    assert float(noise.std()) == pytest.approx(3.0 * 0.5 / 10, rel=2e-3)
    assert float(noise.mean()) == pytest.approx(0.0, abs=2e-4)


def test_one_example_moves_the_gradient_by_at_most_the_clip() -> None:
    task = load("Plain")
    model = task.build_model()
    examples = task.dataset("train")[:9]

    found = []
    for drawn in (examples, examples[:-1]):
        fresh = task.build_model()
        fresh.load_state_dict(model.state_dict())
        compute(task, fresh, make_plan(clip=0.05, batch=1), drawn)
        found.append(torch.cat([parameter.grad.flatten() for parameter in fresh.parameters()]))  # type: ignore[union-attr]

    assert 0 < float((found[0] - found[1]).norm()) <= 0.05 * 1.0001


def test_noise_does_not_come_from_the_seed() -> None:
    task = load("Plain")
    found = []
    for _ in range(2):
        torch.manual_seed(5)
        model = task.build_model()
        compute(task, model, make_plan(noise=1.0), [])
        found.append(next(iter(model.parameters())).grad)

    assert not torch.equal(found[0], found[1])  # type: ignore[arg-type]


def test_a_parameter_that_a_batch_does_not_use_gets_noise_too() -> None:
    task = load("Plain")
    model = task.build_model()
    model.unused = nn.Linear(2, 2)

    compute(task, model, make_plan(noise=1.0), task.dataset("train")[:3])

    assert model.unused.weight.grad is not None
    assert float(model.unused.weight.grad.norm()) > 0


def test_a_layer_that_sees_another_number_of_examples_is_refused() -> None:
    task = load("Flattened")

    with pytest.raises(NotPerExampleError, match="saw 10 examples in a batch of 5"):
        compute(task, task.build_model(), make_plan(), task.dataset("train")[:5])


@pytest.mark.parametrize(
    ("name", "error"), [("ExplodingApart", NonFiniteLossError), ("RaisingApart", TaskFailedError)]
)
def test_errors_of_the_task_are_those_of_other_trainings(name: str, error: type[Exception]) -> None:
    task = load(name)

    with pytest.raises(error):
        compute(task, task.build_model(), make_plan(), task.dataset("train")[:3])


def test_each_example_is_drawn_with_the_same_probability_apart_from_the_others() -> None:
    sampler = ExampleSampler(num_examples=200, sample_rate=0.1)
    draws = torch.zeros(2000, 200)
    for row in draws:
        row[sampler.draw()] = 1

    sizes = draws.sum(1)
    # Binomial: mean 20, variance 18.
    assert float(sizes.mean()) == pytest.approx(20, abs=0.5)
    assert float(sizes.var()) == pytest.approx(18, rel=0.15)
    assert float((draws.mean(0) - 0.1).abs().max()) < 5 * (0.09 / 2000) ** 0.5
    assert _draws(ExampleSampler) != _draws(ExampleSampler)


def _draws(make: Callable[..., ExampleSampler]) -> list[int]:
    return make(num_examples=500, sample_rate=0.5).draw()
