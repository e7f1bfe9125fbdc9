"""The loop of recovery and distillation."""

import itertools

import torch
from torch import nn

from ayni.compress.retrain.short_training import ShortTraining, schedule, tail_mean, train_shortly

from ..conftest import Bars

CPU = torch.device("cpu")


def test_what_is_to_happen_after_each_step_sees_the_parameters_moved(bars: Bars) -> None:
    torch.manual_seed(0)
    model = bars.build_model()
    seen: list[tuple[int, float]] = []
    heard: list[tuple[int, int]] = []

    losses = train_shortly(
        bars.dataset("train"),
        model,
        bars.loss,
        ShortTraining(epochs=2, batch_size=100),
        seed=0,
        device=CPU,
        on_step=lambda *counts: heard.append(counts),
        where="a test",
        after_step=lambda step: seen.append((step, float(model[0].weight.detach().sum()))),
    )

    assert [step for step, _ in seen] == [0, 1, 2, 3] and len(losses) == 4
    assert len({total for _, total in seen}) == 4
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_module_beside_the_model_learns_too(bars: Bars) -> None:
    torch.manual_seed(0)
    model, beside = bars.build_model(), nn.Linear(3, 3)
    before = beside.weight.detach().clone()

    train_shortly(
        bars.dataset("train"),
        model,
        lambda module, batch: nn.functional.cross_entropy(beside(module(batch[0])), batch[1]),
        ShortTraining(epochs=1),
        seed=0,
        device=CPU,
        on_step=lambda *_: None,
        where="a test",
        also_learning=beside,
    )

    assert not torch.equal(beside.weight, before) and not model.training


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    shares = [schedule(index, 40) for index in range(40)]

    assert shares[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert all(a >= b for a, b in itertools.pairwise(shares[3:])) and shares[-1] < 0.01
    assert schedule(0, 1) == 1.0


def test_the_tail_is_the_last_tenth_and_at_least_one() -> None:
    assert tail_mean([5.0, 3.0]) == 3.0
    assert tail_mean([float(value) for value in range(20)]) == 18.5
