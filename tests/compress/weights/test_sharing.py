"""Weights that share a few values."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ayni.compress.packed.weight import check_unchanged
from ayni.compress.weights.layers import NonFiniteWeightError, NothingToCompressError
from ayni.compress.weights.sharing import cluster, share_weights, shared_weight


def error_of(weights_N: torch.Tensor, values_K: torch.Tensor) -> float:
    return float((weights_N[:, None].double() - values_K.double()).square().amin(1).sum())


def best_error(weights: list[float], num_values: int) -> float:
    """Least sum of squares over all ways to cut the sorted weights into ranges."""
    ordered = torch.tensor(sorted(weights), dtype=torch.float64)
    cuts = itertools.combinations(range(1, len(weights)), num_values - 1)
    return min(
        sum(
            float((part - part.mean()).square().sum())
            for part in (ordered[a:b] for a, b in itertools.pairwise([0, *cut, len(weights)]))
        )
        for cut in cuts
    )


def test_groups_that_lie_apart_are_found() -> None:
    weights = torch.tensor([-1.0, -1.2, 0.4, 0.5, 0.6, 3.0, 3.2])

    values_K = cluster(weights, 3)

    assert torch.allclose(values_K, torch.tensor([-1.1, 0.5, 3.1]))
    assert error_of(weights, values_K) == pytest.approx(best_error(weights.tolist(), 3))


@given(weights=st.lists(st.floats(-4, 4, width=16), min_size=1, max_size=40), num_values=st.integers(2, 9))
@settings(deadline=None)
def test_every_value_is_the_mean_of_the_weights_nearest_to_it(weights: list[float], num_values: int) -> None:
    tensor = torch.tensor(weights).reshape(1, -1)

    shared = shared_weight(tensor, num_values)

    assert 1 <= len(shared.codebook) <= num_values
    assert shared.codebook.tolist() == sorted(set(shared.codebook.tolist()))
    values_1I = shared.values_OI()
    nearest_1I = (tensor[..., None] - shared.codebook).abs().amin(-1)
    assert torch.allclose((tensor - values_1I).abs(), nearest_1I, atol=1e-6)
    borders = (shared.codebook[1:] + shared.codebook[:-1]) / 2
    is_on_a_border = bool(((tensor[..., None] - borders).abs() < 1e-5).any())
    for code in range(len(shared.codebook)):
        group = tensor[shared.codes == code]
        assert len(group), "a value that nobody uses"
        if 0 not in weights and not is_on_a_border:
            assert float(group.mean()) == pytest.approx(float(shared.codebook[code]), abs=1e-5)


@given(weights=st.lists(st.floats(-4, 4, width=16), min_size=3, max_size=40), num_values=st.integers(2, 5))
@settings(deadline=None)
def test_pruned_weights_stay_zero(weights: list[float], num_values: int) -> None:
    tensor = torch.tensor([[*weights, 0.0]])

    values = shared_weight(tensor, num_values).values_OI()

    assert bool((values[tensor == 0] == 0).all())


@given(st.lists(st.floats(-4, 4, width=16), min_size=2, max_size=40))
@settings(deadline=None)
def test_it_is_no_worse_than_the_even_spacing_that_it_starts_with(weights: list[float]) -> None:
    tensor = torch.tensor(weights)
    even = torch.linspace(float(tensor.min()), float(tensor.max()), 4)

    if 0 not in weights:
        assert error_of(tensor, cluster(tensor, 4)) <= error_of(tensor, even) + 1e-4


def test_few_distinct_values_are_kept_exactly() -> None:
    weights = torch.tensor([[0.1, -7.0, 0.1, 3.0]])

    shared = shared_weight(weights, 8)

    assert torch.equal(shared.values_OI(), weights)
    assert shared.bits == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layers_share_values_in_place_and_their_codes_say_so(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.Conv2d(2, 4, 3), nn.Linear(4, 4)).to(dtype)
    left_alone = model[2].weight.clone()

    result = share_weights(model, num_values=8, skip=["2"])

    assert set(result.weights) == {"0.weight", "1.weight"}
    for name, shared in result.weights.items():
        assert len(model.get_parameter(name).unique()) <= 8
        check_unchanged(shared, model.get_parameter(name), name=name)
    assert torch.equal(model[2].weight, left_alone)
    assert "2" in result.skipped
    assert result.num_weights == 256 + 72
    assert result.stored_bits == (256 + 72) * 3 + 2 * 8 * 32
    assert result.largest_error > 0


@pytest.mark.parametrize("num_values", [1, 257])
def test_numbers_of_values_out_of_range_are_refused(num_values: int) -> None:
    with pytest.raises(ValueError, match="2 to 256"):
        share_weights(nn.Linear(2, 2), num_values=num_values)


def test_what_cannot_share_is_refused_and_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with torch.no_grad():
        model[1].weight[0, 0] = float("inf")
    before = model[0].weight.clone()

    with pytest.raises(NonFiniteWeightError):
        share_weights(model)

    assert torch.equal(model[0].weight, before)
    with pytest.raises(NothingToCompressError):
        share_weights(nn.Embedding(3, 3))
