"""Rounding weights to nearest."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.packed.weight import WeightChangedError, check_unchanged
from ayni.compress.weights.grids import CannotQuantizeError, Grid, GridParameters
from ayni.compress.weights.layers import NothingToCompressError, weight_OI
from ayni.compress.weights.weight_only import (
    INT4_GRID,
    quantize_embeddings,
    quantize_weights,
    quantized_layers,
    round_rest,
)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.body = nn.Embedding(20, 64), nn.Linear(64, 64)
        self.head = nn.Linear(64, 20, bias=False)
        self.head.weight = self.words.weight


def tied() -> Tied:
    torch.manual_seed(0)
    return Tied()


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_matrices_get_four_bits_and_embeddings_eight_and_the_rest_stays() -> None:
    model = tied()
    before = state(model)

    result = quantize_weights(model)

    assert {name: weight.bits for name, weight in result.weights.items()} == {
        "body.weight": 4,
        "words.weight": 8,
    }
    assert result.num_weights == 64 * 64 + 20 * 64
    assert result.stored_bits == 64 * 64 * 4 + 128 * 20 + 20 * 64 * 8 + 20 * 24
    assert result.bits_per_weight == result.stored_bits / result.num_weights
    assert "words.weight" in result.skipped["head"]
    assert torch.equal(model.body.bias, before["body.bias"])
    assert model.head.weight is model.words.weight
    changes = [float((model.state_dict()[name] - before[name]).abs().max()) for name in before]
    assert result.largest_error == max(changes) > 0
    for name, weight in result.weights.items():
        check_unchanged(weight, model.get_parameter(name), name=name)


def test_rounding_twice_to_symmetric_grids_changes_nothing_more() -> None:
    model = tied()
    grids = {"grid": Grid(bits=4, scheme="symmetric"), "embeddings": Grid(bits=8, scheme="symmetric")}
    quantize_weights(model, **grids)
    before = state(model)

    again = quantize_weights(model, **grids)

    assert again.largest_error == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(model).items())


def test_layers_can_have_grids_of_their_own_and_be_left_out() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Conv2d(2, 3, 3))
    before = state(model)

    result = quantize_weights(model, Grid(bits=8), grids={"2": Grid(bits=3)}, skip=["1"])

    assert {name: weight.bits for name, weight in result.weights.items()} == {"0.weight": 8, "2.weight": 3}
    assert torch.equal(model[1].weight, before["1.weight"])
    assert "1" in result.skipped


def test_embeddings_alone() -> None:
    model = tied()
    before = state(model)

    result = quantize_embeddings(model)

    assert list(result.weights) == ["words.weight"]
    assert torch.equal(model.body.weight, before["body.weight"])
    none = quantize_embeddings(nn.Linear(2, 2))
    assert (none.weights, none.bits_per_weight, none.largest_error) == ({}, 0.0, 0.0)


def test_embeddings_can_stay_and_a_model_can_be_one_layer() -> None:
    assert list(quantize_weights(tied(), embeddings=None).weights) == ["body.weight"]
    assert list(quantize_weights(nn.Linear(4, 4)).weights) == ["weight"]


def broken(model: Tied) -> Tied:
    with torch.no_grad():
        model.words.weight[3, 3] = float("nan")
    return model


def pruned(model: Tied) -> Tied:
    with torch.no_grad():
        model.body.weight[:, ::2] = 0
    return model


@pytest.mark.parametrize(
    ("change", "arguments", "error", "reason"),
    [
        (broken, {}, CannotQuantizeError, r"words\.weight: 1 of its 1280 values"),
        (pruned, {"grid": Grid(bits=4, scheme="minimum")}, CannotQuantizeError, "pruned.*'affine'"),
        (tied, {"skip": ["*"]}, NothingToCompressError, "finds nothing"),
        (tied, {"grids": {"nowhere": Grid(bits=8)}}, ValueError, "'nowhere'"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    change: Callable[..., Tied], arguments: dict[str, Any], error: type[Exception], reason: str
) -> None:
    model = tied() if change is tied else change(tied())
    before = state(model)

    with pytest.raises(error, match=reason):
        quantize_weights(model, **arguments)

    assert all(torch.equal(a.nan_to_num(7), before[name].nan_to_num(7)) for name, a in state(model).items())


def test_pruned_weights_stay_pruned() -> None:
    model = pruned(tied())

    quantize_weights(model)

    assert bool((model.body.weight[:, ::2] == 0).all())


def fitted(model: nn.Module, names: list[str]) -> dict[str, GridParameters]:
    """As a method that fits grids leaves it: values on the grid, and where the grid lies."""
    found = {}
    for name in names:
        matrix_OI = weight_OI(model.get_submodule(name))
        found[name] = INT4_GRID.fit(matrix_OI)
        matrix_OI.copy_(INT4_GRID.dequantize(INT4_GRID.quantize(matrix_OI, found[name]), found[name]))
    return found


def test_layers_that_lie_on_fitted_grids_get_their_codes() -> None:
    model = nn.Sequential(nn.Linear(40, 8), nn.Conv1d(4, 8, 3))
    parameters = fitted(model, ["0", "1"])

    weights = quantized_layers(model, INT4_GRID, parameters)

    assert set(weights) == {"0.weight", "1.weight"}
    with pytest.raises(ValueError, match="'2' is no layer"):
        quantized_layers(model, INT4_GRID, {"2": parameters["0"]})
    with torch.no_grad():
        model[0].weight += 1e-3
    with pytest.raises(WeightChangedError, match=r"0\.weight"):
        quantized_layers(model, INT4_GRID, parameters)


def test_the_rest_is_rounded_to_16_bits_where_it_fits() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    with torch.no_grad():
        model[2].bias.fill_(1e6)
        model[1].bias.fill_(0.1)
        model[1].running_var.fill_(1e-9)
    before = state(model)

    rounded = round_rest(model, ["0.weight"])

    assert set(rounded) == {"0.bias", "1.weight", "1.bias", "2.weight"}
    after = state(model)
    assert torch.equal(after["1.bias"], before["1.bias"].half().float())
    for name in ("0.weight", "2.bias", "1.running_var"):
        assert torch.equal(after[name], before[name])


def test_a_weight_that_lies_in_the_memory_of_a_quantized_one_is_not_rounded_again() -> None:
    model = tied()
    model.head.weight = nn.Parameter(model.words.weight.detach())
    weights = quantize_weights(model).weights

    round_rest(model, list(weights))

    check_unchanged(weights["words.weight"], model.head.weight, name="head.weight")
