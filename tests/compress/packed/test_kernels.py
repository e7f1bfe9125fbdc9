"""Layers that compute with packed weights."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.deploy.prepacked import PrepackedLinear, can_prepack, prepacked_weight
from ayni.compress.packed.kernels import (
    Int4Linear,
    Int8Embedding,
    Int8Linear,
    Int8x8Linear,
    NoPackedKernelError,
    use_packed_kernels,
)
from ayni.compress.packed.weight import QuantizedWeight, SharedWeight
from ayni.compress.weights.grids import Grid
from ayni.task import Task

INT8 = Grid(bits=8, scheme="symmetric")


def packed(weight: torch.Tensor, grid: Grid) -> QuantizedWeight:
    parameters = grid.fit(weight)
    return QuantizedWeight(grid=grid, parameters=parameters, codes=grid.quantize(weight, parameters))


def int4(scheme: Any = "affine", group_size: int = 32) -> Grid:
    return Grid(bits=4, scheme=scheme, granularity="group", group_size=group_size)


@pytest.mark.parametrize(
    ("grid", "shape"),
    [
        (INT8, (48, 64)),
        (INT8, (7, 33)),
        (INT8, (1, 16)),
        (int4(), (48, 64)),
        (int4("symmetric", 64), (16, 64)),
        (int4("minimum"), (32, 96)),
    ],
)
@pytest.mark.parametrize("batch_shape", [(1,), (5,), (2, 3), (40,)])
def test_a_layer_computes_what_its_dense_weights_would(
    grid: Grid, shape: tuple[int, int], batch_shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(shape[1], shape[0])
    weight = packed(layer.weight.data, grid)
    x = torch.randn(*batch_shape, shape[1])
    expected = nn.functional.linear(x, weight.values_OI(), layer.bias.data)
    model = nn.Sequential(layer)

    use_packed_kernels(model, {"0.weight": weight})
    actual = model(x)

    assert actual.dtype == torch.float32
    assert float((actual - expected).detach().norm() / expected.norm()) < 0.01


def test_float16_is_nearer_than_bfloat16() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 48, bias=False)
    weight = packed(layer.weight.data, int4())
    x = torch.randn(5, 64)
    expected = x @ weight.values_OI().t()

    errors = []
    for dtype in (torch.float16, torch.bfloat16):
        model = nn.Sequential(nn.Linear(64, 48, bias=False))
        use_packed_kernels(model, {"0.weight": weight}, compute_dtype=dtype)
        errors.append(float((model(x) - expected).norm()))

    assert errors[0] < errors[1] / 3


def test_a_tied_head_and_its_table_share_codes(symbols: Task) -> None:
    model: Any = symbols.build_model()
    ids = torch.arange(12)[None] % 8
    weight = packed(model.symbols.weight.data, INT8)
    model.symbols.weight.data = weight.values_OI()
    expected = model(ids)

    result = use_packed_kernels(model, {"head.weight": weight})

    assert (result.int8, result.embeddings) == (("head",), ("symbols",))
    assert isinstance(model.head, Int8Linear)
    assert isinstance(model.symbols, Int8Embedding)
    assert model.head.codes is model.symbols.codes
    torch.testing.assert_close(model(ids), expected, rtol=0.05, atol=0.05)


def test_a_shared_module_is_replaced_in_both_places() -> None:
    layer = nn.Linear(32, 32)
    model = nn.Sequential(layer, nn.ReLU(), layer)

    use_packed_kernels(model, {"0.weight": packed(layer.weight.data, int4())})

    assert isinstance(model[0], Int4Linear)
    assert model[2] is model[0]


def test_what_has_no_kernel_is_left_with_the_reason() -> None:
    class Many(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.good, self.odd = nn.Linear(32, 16), nn.Linear(32, 15)
            self.ragged, self.plain = nn.Linear(40, 16), nn.Linear(4, 4)
            self.image, self.table = nn.Conv2d(2, 16, 4), nn.Embedding(16, 32, max_norm=1.0)
            self.clustered, self.three = nn.Linear(32, 16), nn.Linear(32, 16)

    model = Many()
    weights: dict[str, Any] = {
        f"{name}.weight": packed(getattr(model, name).weight.data.flatten(1), int4())
        for name in ("good", "odd", "ragged", "image")
    }
    weights["table.weight"] = packed(model.table.weight.data, INT8)
    weights["three.weight"] = packed(model.three.weight.data, Grid(bits=3))
    codes = torch.zeros((16, 32), dtype=torch.uint8)
    weights["clustered.weight"] = SharedWeight(codebook=torch.zeros(4), codes=codes)

    result = use_packed_kernels(model, weights)

    assert result.int4 == ("good",)
    assert set(result.skipped) == {"odd", "ragged", "plain", "image", "table", "clustered", "three"}
    assert result.skipped["plain"] == "its weight is not packed"
    assert "sixteens" in result.skipped["odd"]
    assert "convolution" in result.skipped["image"]
    assert isinstance(model.odd, nn.Linear)


def test_nothing_to_replace_is_an_error_and_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(32, 15))

    with pytest.raises(NoPackedKernelError, match="sixteens"):
        use_packed_kernels(model, {"0.weight": packed(model[0].weight.data, int4())})
    with pytest.raises(NoPackedKernelError):
        use_packed_kernels(nn.ReLU(), {})
    with pytest.raises(ValueError, match="16-bit"):
        use_packed_kernels(model, {}, compute_dtype=torch.float32)
    assert isinstance(model[0], nn.Linear)


def test_degenerate_weights_are_computed() -> None:
    for values in (torch.zeros(16, 32), torch.full((16, 32), 3.0)):
        model = nn.Sequential(nn.Linear(32, 16, bias=False))
        use_packed_kernels(model, {"0.weight": packed(values, int4())})
        expected = torch.ones(2, 32) @ values.t()
        torch.testing.assert_close(model(torch.ones(2, 32)), expected, rtol=0.02, atol=1e-6)


@pytest.mark.skipif(not can_prepack(), reason="this processor or torch has no oneDNN for bfloat16")
@pytest.mark.parametrize("grid", [int4("minimum"), INT8])
@pytest.mark.parametrize(
    ("batch_shape", "is_dense"), [((1,), False), ((1, 3), False), ((4,), True), ((2, 3), True)]
)
def test_many_rows_are_multiplied_with_a_dense_copy_and_few_with_codes(
    grid: Grid, batch_shape: tuple[int, ...], is_dense: bool
) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 48)
    weight = packed(layer.weight.data, grid)
    x = torch.randn(*batch_shape, 64).bfloat16()
    with_copy, without = nn.Sequential(copy.deepcopy(layer)), nn.Sequential(copy.deepcopy(layer))
    use_packed_kernels(without, {"0.weight": weight})
    dense = PrepackedLinear(prepacked_weight(weight.values_OI()), layer.bias)

    use_packed_kernels(with_copy, {"0.weight": weight}, dense_rows=4)

    assert not torch.equal(dense(x), without(x))
    assert torch.equal(with_copy(x), dense(x) if is_dense else without(x))


def rounded(layer: nn.Linear) -> tuple[nn.Sequential, QuantizedWeight]:
    weight = packed(layer.weight.data, INT8)
    model = nn.Sequential(layer)
    assert use_packed_kernels(model, {"0.weight": weight}, round_activations=["*"]).int8x8 == ("0",)
    return model, weight


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(48, 64), (7, 33), (192, 576), (1, 16)])
@pytest.mark.parametrize("batch_shape", [(), (1,), (2, 3), (40,), (0,)])
def test_rounded_activations_are_multiplied_as_integers(
    batch_shape: tuple[int, ...], shape: tuple[int, int], bias: bool
) -> None:
    torch.manual_seed(0)
    model, weight = rounded(nn.Linear(shape[1], shape[0], bias=bias))
    x = torch.randn(*batch_shape, shape[1])
    scale = x.abs().amax(-1, keepdim=True) / 127
    # Whole numbers below 2^24: exact in float32 and in any order.
    whole = (x / scale).round() @ (weight.codes.float() - 128).t()
    expected = whole * weight.parameters.scale[:, 0].float() * scale
    if bias:
        expected = expected + model[0].bias

    actual = model(x)

    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    assert model(x.bfloat16()).dtype == torch.bfloat16


def test_a_loud_token_or_one_of_zeros_changes_no_other() -> None:
    torch.manual_seed(0)
    model, weight = rounded(nn.Linear(64, 48, bias=False))
    x = torch.randn(3, 64)
    expected = x @ weight.values_OI().t()
    loud = torch.cat([x, 1e4 * x[:1], torch.zeros(1, 64)])

    actual = model(loud)

    assert torch.equal(actual[:3], model(x))
    assert float((actual[:3] - expected).norm() / expected.norm()) < 0.02
    assert float((actual[3] - 1e4 * expected[0]).norm() / expected[0].norm()) < 200
    assert torch.equal(actual[4], torch.zeros(48))


def test_activations_that_are_no_numbers_do_not_become_some() -> None:
    model, _ = rounded(nn.Linear(64, 48, bias=False))
    x = torch.ones(2, 64)
    x[0, 3] = float("nan")

    actual = model(x)

    assert bool(actual[0].isnan().all()) and bool(actual[1].isfinite().all())


def test_only_the_layers_that_are_named_round_their_activations(symbols: Task) -> None:
    model: Any = symbols.build_model()
    ids = torch.arange(12)[None] % 8
    weight = packed(model.symbols.weight.data, INT8)
    dense = packed(model.dense.weight.data, INT8)
    model.symbols.weight.data, model.dense.weight.data = weight.values_OI(), dense.values_OI()
    expected = model(ids)

    result = use_packed_kernels(
        model, {"head.weight": weight, "dense.weight": dense}, round_activations=["head"]
    )

    assert (result.int8x8, result.int8, result.embeddings) == (("head",), ("dense",), ("symbols",))
    assert isinstance(model.head, Int8x8Linear)
    assert float((model(ids) - expected).detach().norm()) < 0.04 * float(expected.detach().norm())


def test_dense_copies_of_other_types_or_for_no_rows_are_refused() -> None:
    model = nn.Sequential(nn.Linear(32, 16))
    weights = {"0.weight": packed(model[0].weight.data, int4())}

    with pytest.raises(ValueError, match="not 0 of"):
        use_packed_kernels(model, weights, dense_rows=0)
    with pytest.raises(ValueError, match="float16"):
        use_packed_kernels(model, weights, dense_rows=4, compute_dtype=torch.float16)
    assert isinstance(model[0], nn.Linear)
