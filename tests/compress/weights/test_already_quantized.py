"""Weights that lie on a grid already."""

import pytest
import torch
from torch import nn

from ayni.compress.weights.already_quantized import find_low_bit_layers, low_bit_share
from ayni.compress.weights.grids import Grid, Scheme
from ayni.compress.weights.weight_only import quantize_weights


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(96, 64), nn.Linear(64, 40), nn.Conv2d(8, 8, 3))


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("scheme", ["affine", "symmetric", "minimum"])
def test_weights_of_up_to_four_bits_are_found(bits: int, scheme: Scheme) -> None:
    quantized = model()
    quantize_weights(quantized, Grid(bits=bits, scheme=scheme, granularity="group", group_size=32))

    report = find_low_bit_layers(quantized)

    assert report.low_bit_layers == ["0", "1", "2"]
    assert report.num_low_bit_weights == report.num_weights == 96 * 64 + 64 * 40 + 8 * 72
    assert report.warning is not None and "3 of 3 layers (100% of all weights there)" in report.warning


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_trained_weights_of_any_type_are_not(dtype: torch.dtype) -> None:
    report = find_low_bit_layers(model().to(dtype))

    assert set(report.shares) == {"0", "1", "2"}
    assert max(report.shares.values()) < 0.05
    assert report.warning is None


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.9])
def test_pruned_weights_are_not_taken_for_quantized_ones(sparsity: float) -> None:
    pruned = model()
    with torch.no_grad():
        for layer in pruned:
            layer.weight[torch.rand(layer.weight.shape) < sparsity] = 0

    assert find_low_bit_layers(pruned).warning is None


def test_pruned_and_quantized_weights_are_found() -> None:
    both = model()
    with torch.no_grad():
        for layer in both:
            layer.weight[torch.rand(layer.weight.shape) < 0.3] = 0
    quantize_weights(both, Grid(bits=3, granularity="group", group_size=32))

    assert len(find_low_bit_layers(both).low_bit_layers) == 3


def test_one_layer_among_several_is_named() -> None:
    mixed = model()
    quantize_weights(mixed, skip=["0", "2"])

    report = find_low_bit_layers(mixed)

    assert report.low_bit_layers == ["1"]
    assert report.warning is not None and "1 of 3 layers" in report.warning


def test_blocks_by_hand() -> None:
    two_values = torch.tensor([[1.0, 2.0] * 16])
    all_different = torch.arange(1.0, 33.0)[None]

    assert low_bit_share(two_values) == 1
    assert low_bit_share(all_different) == 0
    assert low_bit_share(torch.cat([two_values, all_different], dim=1)) == 0.5
    assert low_bit_share(torch.cat([two_values, all_different[:, :9]], dim=1)) == 1


@pytest.mark.parametrize("weight_OI", [torch.zeros(4, 64), torch.ones(5, 1), torch.tensor([[3.0]])])
def test_nothing_to_judge_is_unknown(weight_OI: torch.Tensor) -> None:
    assert low_bit_share(weight_OI) is None


def test_a_model_without_layers_has_nothing_to_warn_of() -> None:
    assert find_low_bit_layers(nn.ReLU()).warning is None
