"""Low-rank layers."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune as masking

from ayni.compress.inputs import ModelInputs
from ayni.compress.structure.factorize import (
    CannotFactorizeError,
    LowRank,
    factorize,
    largest_useful_rank,
)
from ayni.compress.weights.input_moments import input_moments
from ayni.compress.weights.layers import NonFiniteWeightError, matrix_layers


@given(outputs=st.integers(1, 40), inputs=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_the_largest_useful_rank_is_the_last_that_saves_weights(outputs: int, inputs: int) -> None:
    rank = largest_useful_rank(outputs, inputs)

    assert rank == max((r for r in range(0, 41) if r * (outputs + inputs) < outputs * inputs), default=0)


@given(
    singular=st.lists(st.floats(0.1, 9), min_size=6, max_size=6),
    energy=st.floats(0.05, 0.999),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_the_rank_is_the_smallest_that_keeps_the_energy(
    singular: list[float], energy: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.linalg.qr(torch.randn(n, 6, generator=generator).double())[0] for n in (14, 16))
    model = nn.Sequential(nn.Linear(16, 14).double())
    with torch.no_grad():
        model[0].weight.copy_(left @ torch.diag(torch.tensor(singular, dtype=torch.float64)) @ right.T)
    squares = sorted((value**2 for value in singular), reverse=True)
    enough = next(r for r in range(1, 7) if sum(squares[:r]) >= (energy - 1e-9) * sum(squares))

    done = factorize(model, energy=energy)

    assert done.ranks == {"0": enough}
    assert done.lost_energy["0"] == pytest.approx(1 - sum(squares[:enough]) / sum(squares), abs=1e-9)


def test_a_layer_of_low_rank_answers_as_before_and_its_size_is_the_formula() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 4))
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(10, 2) @ torch.randn(2, 12))
    x = torch.randn(5, 12)
    before = model(x)

    done = factorize(model, energy=0.9999999, skip=("2",))

    torch.testing.assert_close(model(x), before)
    assert done.ranks == {"0": 2} and "skip names it" in done.skipped["2"]
    assert isinstance(model[0], LowRank)
    torch.testing.assert_close(model[0].weight @ x.T + model[0].bias[:, None], model[0](x).T)
    assert done.parameters_after == 2 * (12 + 10) + 10 + 10 * 4 + 4


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(8, 16, 1, stride=2, padding=1),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, dilation=2, padding_mode="reflect"),
        nn.Conv1d(8, 16, 3, padding="same", bias=False),
        nn.Conv3d(4, 16, (1, 2, 3)),
    ],
)
def test_a_convolution_of_low_rank_answers_as_before(convolution: nn.Module) -> None:
    torch.manual_seed(0)
    size = convolution.weight[0].numel()
    with torch.no_grad():
        convolution.weight.copy_((torch.randn(16, 2) @ torch.randn(2, size)).view(convolution.weight.shape))
    model = nn.Sequential(convolution)
    axes = len(convolution.kernel_size)
    images = torch.randn(2, convolution.in_channels, *(7, 6, 5)[:axes])
    before = model(images)

    done = factorize(model, energy=0.999999)

    assert done.ranks == {"0": 2}
    torch.testing.assert_close(model(images), before, atol=1e-5, rtol=1e-4)


@given(seed=st.integers(0, 99), ratio=st.floats(0.3, 0.95))
@settings(max_examples=20, deadline=None)
def test_the_ratio_is_kept_and_used_up_to_one_rank(seed: int, ratio: float) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 25), nn.Linear(25, 9))
    before = sum(layer.weight.numel() for layer in model)

    done = factorize(model, ratio=ratio)

    after = sum(
        sum(part.weight.numel() for part in layer) if isinstance(layer, LowRank) else layer.weight.numel()
        for layer in model
    )
    assert after <= ratio * before
    could_grow = [
        sum(part.weight.numel() for part in model[int(name)]) // rank
        for name, rank in done.ranks.items()
        if rank < largest_useful_rank(model[int(name)][1].out_features, model[int(name)][0].in_features)
    ]
    assert not could_grow or after + min(could_grow) > ratio * before


def test_the_ratio_is_spent_where_it_saves_most_as_trying_all_plans_shows() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.diag(torch.tensor([9.0, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])))
        model[1].weight.copy_(torch.diag(torch.tensor([3.0, 3, 3, 3, 3, 0.1, 0.1, 0.1])))

    # 64 weights for one whole layer and 32 for the other at rank 2.
    done = factorize(model, ratio=0.75)

    assert done.ranks == {"0": 2} and done.skipped == {"1": "the budget is met without it"}


def test_with_moments_the_outputs_of_real_inputs_are_kept_better() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(16, 16))
    scales = torch.logspace(-2, 1, 16)
    batches = [ModelInputs((torch.randn(64, 16) * scales,)) for _ in range(4)]
    whole, informed = copy.deepcopy(plain), copy.deepcopy(plain)
    moments = input_moments(informed, matrix_layers(informed), batches)

    factorize(plain, ratio=0.5)
    factorize(informed, ratio=0.5, input_moments=moments)

    x = torch.randn(500, 16) * scales

    def error(model: nn.Module) -> float:
        return float((model(x) - whole(x)).square().sum().detach())

    assert error(informed) < 0.3 * error(plain)


def test_inputs_that_are_always_zero_do_not_make_moments_singular() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 10))
    moments = torch.diag(torch.tensor([1.0] * 5 + [0.0] * 5))

    factorize(model, ratio=0.5, input_moments={"0": moments})

    assert all(bool(torch.isfinite(value).all()) for value in model.parameters())
    with pytest.raises(ValueError, match="10 x 10"):
        factorize(nn.Sequential(nn.Linear(10, 10)), ratio=0.5, input_moments={"0": moments[:5, :5]})


def test_moments_that_rounding_made_indefinite_are_damped_until_they_are_not() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 30, bias=False))
    # All inputs are nearly one direction, and rounding took a little away from the others.
    moments = torch.ones(40, 40, dtype=torch.float64) - 1e-3 * torch.eye(40, dtype=torch.float64)
    before = model[0].weight.sum(dim=1).detach()

    factorize(model, ratio=0.5, input_moments={"0": moments})

    with torch.no_grad():
        after = model(torch.ones(1, 40))[0]
    assert torch.allclose(after, before, atol=1e-2)


def test_layers_that_cannot_be_two_are_named_with_the_reason() -> None:
    shared = nn.Embedding(12, 10)
    model = nn.ModuleDict(
        {
            "embed": shared,
            "head": nn.Linear(10, 12),
            "twin": nn.Linear(10, 12),
            "grouped": nn.Conv2d(12, 12, 3, groups=3),
            "hooked": nn.Linear(12, 12),
            "thin": nn.Linear(1, 12),
            "attention": nn.MultiheadAttention(12, 2),
            "masked": nn.Linear(12, 12),
            "good": nn.Linear(12, 12),
        }
    )
    model["head"].weight = shared.weight
    model["hooked"].register_forward_hook(lambda *_: None)
    masking.l1_unstructured(model["masked"], "weight", 0.5)

    done = factorize(model, ratio=0.5)

    assert set(done.ranks) == {"twin", "good"}
    assert set(done.skipped) == {"head", "grouped", "hooked", "thin", "attention.out_proj", "masked"}
    assert model["head"].weight is shared.weight


def test_two_layers_with_one_weight_stay_tied_and_a_layer_in_two_places_is_replaced_in_both() -> None:
    model = nn.Sequential(nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 12))
    model[1].weight = model[0].weight
    model.append(model[2])

    done = factorize(model, ratio=0.6)

    assert set(done.ranks) == {"2"} and model[2] is model[3]
    assert model[1].weight is model[0].weight


def test_what_cannot_be_factorized_is_refused_and_unchanged() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 12), nn.Linear(12, 12))
    layers = list(model)

    with pytest.raises(CannotFactorizeError, match=r"would need rank 12"):
        factorize(model, energy=1.0)
    with pytest.raises(CannotFactorizeError, match="rank 1 everywhere takes"):
        factorize(model, ratio=0.01)
    with pytest.raises(CannotFactorizeError, match="the model itself"):
        factorize(nn.Linear(12, 12), energy=0.5)
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    with pytest.raises(NonFiniteWeightError):
        factorize(model, energy=0.5)
    with pytest.raises(ValueError, match="either"):
        factorize(model)

    assert list(model) == layers


def test_zeros_bf16_frozen_weights_and_modes() -> None:
    model = nn.Sequential(nn.Linear(12, 12), nn.Linear(12, 12)).to(torch.bfloat16).eval()
    nn.init.zeros_(model[0].weight)
    model[1].weight.requires_grad_(False)

    done = factorize(model, ratio=0.5)

    assert set(done.ranks) == {"0", "1"} and not model[1].training and not model[1][0].training
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}
    assert not model[1][0].weight.requires_grad and model[1].bias.requires_grad
    assert bool(torch.isfinite(model(torch.ones(1, 12, dtype=torch.bfloat16))).all())


def test_a_factorized_model_is_factorized_again_part_by_part() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 40))
    first = factorize(model, ratio=0.8)

    second = factorize(model, ratio=0.5)

    assert set(second.ranks) <= {"0.0", "0.1"} and second.parameters_after < first.parameters_after
