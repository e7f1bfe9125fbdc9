"""Layers that compute with packed weights."""

from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.packed.kernels import (
    Int4Linear,
    Int8Embedding,
    Int8Linear,
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
