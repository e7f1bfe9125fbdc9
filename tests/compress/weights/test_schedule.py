"""The cubic schedule, and pruning along it."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ayni.compress.weights.schedule import CubicSchedule, GradualPruner


def test_the_schedule_is_the_papers_cubic() -> None:
    schedule = CubicSchedule(final_sparsity=0.8, initial_sparsity=0.2, begin_step=10, end_step=50, every=20)

    # Half way one eighth of the difference is left: 0.8 - 0.6 / 8.
    assert schedule.sparsity_at(30) == pytest.approx(0.725)
    assert [schedule.sparsity_at(step) for step in (0, 9, 10, 50, 99)] == pytest.approx(
        [0.0, 0.0, 0.2, 0.8, 0.8]
    )
    assert [step for step in range(70) if schedule.is_due(step)] == [10, 30, 50]


def test_masks_are_renewed_at_the_end_also_when_it_is_no_turn() -> None:
    schedule = CubicSchedule(final_sparsity=0.5, end_step=7, every=3)

    assert [step for step in range(12) if schedule.is_due(step)] == [0, 3, 6, 7]


@given(
    sparsities=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)).map(sorted),
    begin=st.integers(0, 50),
    length=st.integers(1, 50),
)
def test_sparsity_never_falls_and_slows_down(sparsities: list[float], begin: int, length: int) -> None:
    low, high = sparsities
    schedule = CubicSchedule(
        initial_sparsity=low, final_sparsity=high, begin_step=begin, end_step=begin + length
    )

    values = [schedule.sparsity_at(step) for step in range(begin, begin + length + 2)]

    growth = [b - a for a, b in itertools.pairwise(values)]
    assert all(g >= -1e-12 for g in growth)
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(growth))
    assert values[-1] == pytest.approx(high)


@pytest.mark.parametrize(
    "wrong",
    [
        {"final_sparsity": 1.0, "end_step": 5},
        {"final_sparsity": 0.2, "initial_sparsity": 0.3, "end_step": 5},
        {"final_sparsity": 0.5, "end_step": 0},
        {"final_sparsity": 0.5, "begin_step": 6, "end_step": 5},
        {"final_sparsity": 0.5, "end_step": 5, "every": 0},
    ],
)
def test_schedules_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"sparsity|step"):
        CubicSchedule(**wrong)  # type: ignore[arg-type]


def test_a_model_gets_sparser_while_it_learns_and_no_weight_comes_back() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    pruner = GradualPruner(model, CubicSchedule(final_sparsity=0.75, begin_step=2, end_step=12, every=5))
    zeros, sparsities = torch.zeros(16, 8, dtype=torch.bool), []
    assert pruner.masks == {}

    for step in range(15):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(16, 8)), torch.arange(16) % 4).backward()
        optimizer.step()
        pruner.after_step(step)
        assert bool((model[0].weight == 0)[zeros].all())
        zeros = model[0].weight == 0
        sparsities.append(pruner.report().sparsity)

    assert sparsities == sorted(sparsities)
    assert sparsities[1] == 0 and sparsities[-1] == 0.75
    assert set(pruner.masks) == {"0", "2"}


def test_skipped_layers_stay_dense_and_are_named() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    pruner = GradualPruner(model, CubicSchedule(final_sparsity=0.5, end_step=1), skip=["1"], scope="global")

    pruner.after_step(1)

    assert int((model[1].weight == 0).sum()) == 0
    assert "1" in pruner.report().skipped
