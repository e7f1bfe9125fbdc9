"""Bits where they are needed, within a budget."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ayni.compress.inputs import ModelInputs
from ayni.compress.weights.grids import Grid
from ayni.compress.weights.layers import NothingToCompressError
from ayni.compress.weights.sensitivity import (
    ByteBudgetTooSmallError,
    Choice,
    UnusableLossError,
    allocate,
    measure_sensitivity,
    output_error,
)
from ayni.compress.weights.weight_only import quantize_weights

GRIDS = [Grid(bits=bits) for bits in (2, 4, 8)]


def choice(num_bytes: int, loss: float) -> Choice:
    return Choice(grid=GRIDS[0], num_bytes=num_bytes, loss=loss)


choices_of_layers = st.dictionaries(
    st.sampled_from("abcd"),
    st.lists(st.builds(choice, st.integers(1, 30), st.integers(-5, 50).map(float)), min_size=1, max_size=4),
    min_size=1,
)


@given(choices=choices_of_layers, budget_bytes=st.integers(1, 120))
@settings(deadline=None)
def test_the_choice_keeps_the_budget_and_is_near_the_best(
    choices: dict[str, list[Choice]], budget_bytes: int
) -> None:
    all_of_them = [
        (sum(one.num_bytes for one in combination), sum(one.loss for one in combination))
        for combination in itertools.product(*choices.values())
    ]
    fitting = [loss for num_bytes, loss in all_of_them if num_bytes <= budget_bytes]
    if not fitting:
        with pytest.raises(ByteBudgetTooSmallError):
            allocate(choices, budget_bytes=budget_bytes)
        return

    allocation = allocate(choices, budget_bytes=budget_bytes)

    assert allocation.num_bytes <= budget_bytes
    assert set(allocation.grids) == set(choices)
    # The greedy choice misses at most what the one step saves that no longer fits.
    largest_step = max(
        max(one.loss for one in of_layer) - min(one.loss for one in of_layer) for of_layer in choices.values()
    )
    assert min(fitting) <= allocation.loss <= min(fitting) + largest_step


@given(choices=choices_of_layers)
@settings(deadline=None)
def test_with_bytes_to_spare_every_layer_gets_its_best(choices: dict[str, list[Choice]]) -> None:
    allocation = allocate(choices, budget_bytes=10**9)

    assert allocation.loss == sum(min(one.loss for one in of_layer) for of_layer in choices.values())


def test_bytes_go_where_each_saves_most() -> None:
    few, many = Grid(bits=2), Grid(bits=8)
    choices = {
        "calm": [
            Choice(grid=few, num_bytes=10, loss=0.2),
            Choice(grid=many, num_bytes=40, loss=0.1),
        ],
        "delicate": [
            Choice(grid=few, num_bytes=10, loss=5.0),
            Choice(grid=many, num_bytes=40, loss=0.1),
        ],
    }

    allocation = allocate(choices, budget_bytes=60)

    assert allocation.grids == {"calm": few, "delicate": many}
    assert (allocation.num_bytes, allocation.loss) == (50, pytest.approx(0.3))


def test_a_budget_that_is_too_small_says_what_is_needed() -> None:
    with pytest.raises(ByteBudgetTooSmallError, match=r"at least 30 bytes.*20 are the budget"):
        allocate({"a": [choice(10, 1.0)], "b": [choice(20, 1.0)]}, budget_bytes=20)


def two_layers() -> nn.Sequential:
    """The second layer's rows have one large weight each, which makes coarse grids useless there."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32))
    with torch.no_grad():
        model[2].weight[:, 0] = 3.0
    return model


def inputs() -> list[ModelInputs]:
    generator = torch.Generator().manual_seed(1)
    return [ModelInputs((torch.randn(8, 32, generator=generator),)) for _ in range(2)]


def test_the_layer_with_outliers_is_found_and_the_model_left_as_it_was() -> None:
    model = two_layers().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    heard: list[tuple[int, int]] = []
    random_state = torch.get_rng_state()

    found = measure_sensitivity(
        model, output_error(model, inputs()), grids=GRIDS, on_layer=lambda *done: heard.append(done)
    )

    assert heard == [(1, 2), (2, 2)]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training and torch.equal(torch.get_rng_state(), random_state)
    losses = {name: [one.loss for one in of_layer] for name, of_layer in found.items()}
    assert losses["2"][1] > losses["0"][1]
    assert all(of_layer == sorted(of_layer, reverse=True) for of_layer in losses.values())
    assert [one.num_bytes for one in found["0"]] == [
        32 * 32 * bits // 8 + 32 * (16 + bits) // 8 for bits in (2, 4, 8)
    ]


def test_the_allocation_is_what_weight_only_quantization_takes() -> None:
    model = two_layers()
    loss = output_error(model, inputs())
    found = measure_sensitivity(model, loss, grids=GRIDS)
    even = sum(of_layer[1].num_bytes for of_layer in found.values())

    allocation = allocate(found, budget_bytes=int(even * 1.05) + 600)
    result = quantize_weights(model, grids=allocation.grids)

    assert result.stored_bits // 8 == allocation.num_bytes
    assert {name: weight.bits for name, weight in result.weights.items()} == {"0.weight": 4, "2.weight": 8}


def test_a_loss_without_a_number_is_refused_and_the_weight_comes_back() -> None:
    model = two_layers()
    before = model[0].weight.clone()
    answers = iter([1.0, math.nan])

    with pytest.raises(UnusableLossError, match="with 0 rounded is nan"):
        measure_sensitivity(model, lambda _: next(answers), grids=GRIDS)

    assert torch.equal(model[0].weight, before)
    with pytest.raises(UnusableLossError, match="as it is is inf"):
        measure_sensitivity(model, lambda _: math.inf, grids=GRIDS)
    with pytest.raises(NothingToCompressError):
        measure_sensitivity(model, lambda _: 0.0, skip=["*"])


def test_the_error_of_outputs_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(2.0)
    loss = output_error(model, [ModelInputs((torch.tensor([[1.0], [3.0]]),))])

    with torch.no_grad():
        model.weight.fill_(3.0)

    # Outputs were 2 and 6 and are 3 and 9: (1 + 9) / (4 + 36).
    assert loss(model) == 0.25
