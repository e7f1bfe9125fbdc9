"""Which layers there are, and that each is rows times a matrix."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ayni.compress.weights.layers import (
    NonFiniteWeightError,
    NothingToCompressError,
    input_rows_NI,
    matrix_layers,
    num_groups,
    require_layers,
    skipped_layers,
    tied_names,
    weight_OI,
)


class Conv1D(nn.Module):
    """As in Transformers: the weight is [inputs, outputs]."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight, self.bias = nn.Parameter(torch.randn(nx, nf)), nn.Parameter(torch.zeros(nf))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + self.bias


def by_rows(layer: nn.Module, activation: torch.Tensor) -> torch.Tensor:
    """Outputs of all positions, [N, O], computed from the two matrices alone."""
    rows = input_rows_NI(layer, activation).unflatten(1, (num_groups(layer), -1))
    weight = weight_OI(layer).unflatten(0, (num_groups(layer), -1))
    return torch.einsum("ngi,goi->ngo", rows, weight).flatten(1)


@given(
    num_axes=st.integers(1, 3),
    groups=st.sampled_from([1, 2]),
    size=st.integers(1, 3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.integers(0, 2),
    mode=st.sampled_from(["zeros", "circular", "replicate"]),
)
@settings(max_examples=40, deadline=None)
def test_a_convolution_is_its_rows_times_its_weight(
    *, num_axes: int, groups: int, size: int, stride: int, dilation: int, padding: int, mode: str
) -> None:
    kind: Callable[..., nn.Module] = [nn.Conv1d, nn.Conv2d, nn.Conv3d][num_axes - 1]
    layer = kind(
        4, 6, size, stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=mode,
        bias=False,
    ).double()  # fmt: skip
    activation = torch.randn(2, 4, *[7] * num_axes, dtype=torch.float64)

    expected = layer(activation).movedim(1, -1).reshape(-1, 6)

    assert torch.allclose(by_rows(layer, activation), expected)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_convolution_may_name_its_padding(padding: str) -> None:
    layer = nn.Conv2d(2, 3, (2, 3), padding=padding, dilation=2, bias=False)
    activation = torch.randn(2, 2, 9, 8)

    expected = layer(activation).movedim(1, -1).reshape(-1, 3)

    assert torch.allclose(by_rows(layer, activation), expected, atol=1e-5)


def test_linear_and_transformers_conv1d_are_rows_times_weight() -> None:
    linear, conv1d = nn.Linear(5, 3, bias=False), Conv1D(3, 5)
    activation = torch.randn(2, 4, 5)

    for layer in (linear, conv1d):
        assert torch.allclose(by_rows(layer, activation), layer(activation).reshape(-1, 3), atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(4, 3),
        nn.Conv2d(2, 3, 3, groups=1),
        nn.Conv2d(2, 4, 3).to(memory_format=torch.channels_last),
        Conv1D(3, 4),
        nn.Linear(4, 3).bfloat16(),
    ],
    ids=["linear", "convolution", "channels last", "conv1d", "bfloat16"],
)
def test_writing_to_the_matrix_writes_to_the_layer(layer: nn.Module) -> None:
    parameter, before = layer.weight, layer.weight.detach().clone()

    weight_OI(layer)[0, 1] = 7.0

    assert layer.weight is parameter
    assert int((layer.weight != before).sum()) == 1
    assert layer.weight.max().item() == 7.0


def test_channels_last_keeps_its_values() -> None:
    layer = nn.Conv2d(3, 4, 3)
    expected = layer.weight.detach().flatten(1).clone()
    layer = layer.to(memory_format=torch.channels_last)

    assert torch.equal(weight_OI(layer), expected)


def test_layers_come_in_order_of_definition_and_shared_ones_once() -> None:
    shared = nn.Linear(4, 4)
    model = nn.ModuleDict({"b": shared, "a": nn.Conv1d(1, 1, 1), "again": shared, "norm": nn.LayerNorm(4)})

    assert list(matrix_layers(model)) == ["b", "a"]


def test_of_tied_layers_the_first_is_taken_and_a_head_tied_to_an_embedding_is_not() -> None:
    model = nn.ModuleDict(
        {
            "symbols": nn.Embedding(6, 4),
            "one": nn.Linear(4, 4),
            "two": nn.Linear(4, 4),
            "head": nn.Linear(4, 6),
        }
    )
    model["two"].weight = model["one"].weight
    model["head"].weight = model["symbols"].weight

    assert list(matrix_layers(model)) == ["one"]
    assert tied_names(model) == {"two.weight": "one.weight", "head.weight": "symbols.weight"}
    skipped = skipped_layers(model)
    assert "that of one" in skipped["two"] and "symbols.weight" in skipped["head"]


def test_parameters_over_the_same_memory_are_tied_too() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = nn.Parameter(model[0].weight.data)

    assert tied_names(model) == {"1.weight": "0.weight"}
    assert list(matrix_layers(model)) == ["0"]


def test_a_skipped_layer_does_not_change_through_the_one_tied_to_it() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight

    assert matrix_layers(model, skip=["0"]) == {}


def test_a_layer_alone_is_a_model_and_patterns_skip_by_name() -> None:
    model = nn.ModuleDict({"body": nn.Sequential(nn.Linear(2, 2)), "head": nn.Linear(2, 2)})

    assert list(matrix_layers(nn.Linear(2, 2))) == [""]
    assert list(matrix_layers(model, skip=["*head"])) == ["body.0"]
    assert "skip names it" in skipped_layers(model, skip=["body.*"])["body.0"]


def test_layers_whose_weight_cannot_be_written_are_left_out_with_the_reason() -> None:
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    model = nn.ModuleDict(
        {
            "normed": normed,
            "lazy": nn.LazyLinear(2),
            "meta": nn.Linear(2, 2, device="meta"),
            "empty": nn.Linear(0, 2),
            "complex": nn.Linear(2, 2, dtype=torch.complex64),
        }
    )

    assert matrix_layers(model) == {}
    assert {name: reason.split()[-1] for name, reason in skipped_layers(model).items()} == {
        "normed": "first",
        "lazy": "call",
        "meta": "values",
        "empty": "empty",
        "complex": "torch.complex64",
    }
    with pytest.raises(TypeError, match="matrix_layers"):
        weight_OI(normed)


def test_a_model_without_layers_or_with_nan_weights_is_refused() -> None:
    with pytest.raises(NothingToCompressError, match="leave this step out"):
        require_layers(nn.Sequential(nn.ReLU()), skip=(), step="Wanda")
    with pytest.raises(NothingToCompressError, match="skip names it"):
        require_layers(nn.Sequential(nn.Linear(2, 2)), skip=["*"], step="Wanda")
    broken = nn.Linear(2, 2)
    with torch.no_grad():
        broken.weight[0, 0] = float("nan")
    with pytest.raises(NonFiniteWeightError, match="1 of the 4"):
        require_layers(broken, skip=(), step="Wanda")


def test_an_example_without_batch_axis_is_one_example() -> None:
    layer = nn.Conv2d(2, 3, 3, bias=False)
    activation = torch.randn(2, 5, 5)

    assert torch.allclose(by_rows(layer, activation), layer(activation).flatten(1).T, atol=1e-6)
