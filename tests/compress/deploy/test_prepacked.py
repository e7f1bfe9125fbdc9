"""Linear layers with weights in oneDNN's order."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.deploy.prepacked import (
    CannotPrepackError,
    PrepackedLinear,
    can_prepack,
    prepack_linears,
)
from ayni.compress.deploy.torch_variants import half_runtime, to_half
from ayni.compress.inputs import ModelInputs
from ayni.task import Task

pytestmark = pytest.mark.skipif(
    not can_prepack(), reason="this processor or torch has no oneDNN for bfloat16"
)


def halved(num_inputs: int, num_outputs: int, *, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(num_inputs, num_outputs, bias=bias)).bfloat16().eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(32, 48), (17, 33), (1, 1), (96, 7)])
@pytest.mark.parametrize("batch_shape", [(), (1,), (5,), (2, 3), (0,), (130,)])
def test_a_layer_computes_what_it_did_before(
    batch_shape: tuple[int, ...], shape: tuple[int, int], bias: bool
) -> None:
    model = halved(*shape, bias=bias)
    x = torch.randn(*batch_shape, shape[0]).bfloat16()
    expected = model(x).detach()

    result = prepack_linears(model)

    assert result.names == ("0",)
    assert result.weight_bytes == 2 * shape[0] * shape[1]
    assert model(x).dtype == torch.bfloat16
    # Sums in another order may end in the next bfloat16.
    torch.testing.assert_close(model(x), expected, rtol=2**-7, atol=2**-8)


def test_other_float_types_go_in_and_come_out() -> None:
    model = halved(16, 8)
    x = torch.randn(3, 16)
    expected = model(x.bfloat16()).detach().float()

    prepack_linears(model)

    assert model(x).dtype == torch.float32
    torch.testing.assert_close(model(x), expected, rtol=2**-7, atol=2**-8)


def test_inputs_that_are_not_contiguous_are_read_as_they_are_meant() -> None:
    model = halved(16, 8)
    x = torch.randn(16, 5, 3).bfloat16().permute(2, 1, 0)
    expected = model(x).detach()

    prepack_linears(model)

    torch.testing.assert_close(model(x), expected, rtol=2**-7, atol=2**-8)


def test_a_tied_head_has_its_own_copy_and_the_embedding_stays(symbols: Task) -> None:
    model: Any = symbols.build_model()
    ids = torch.arange(12)[None] % 8
    to_half(model, [ModelInputs(args=(ids,))])
    expected = half_runtime(model)(ids)
    table = model.symbols.weight

    prepack_linears(model)

    assert isinstance(model.head, PrepackedLinear)
    assert model.symbols.weight is table
    torch.testing.assert_close(half_runtime(model)(ids), expected, rtol=0.02, atol=0.02)


def test_two_layers_with_one_weight_share_it_and_a_layer_in_two_places_stays_one() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.ReLU()).bfloat16()
    model[1].weight = model[0].weight
    model.append(model[0])

    result = prepack_linears(model)

    assert result.names == ("0", "1")
    assert result.weight_bytes == 128
    assert model[3] is model[0]


def test_layers_whose_weights_others_read_and_those_of_32_bits_are_left() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True).bfloat16()
            self.wide = nn.Linear(8, 8)
            self.dense = nn.Linear(8, 8).bfloat16()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.dense(self.attention(x, x, x)[0])
            return y

    model = Model().eval()
    x = torch.randn(1, 3, 8).bfloat16()
    expected = model(x).detach()

    assert prepack_linears(model).names == ("dense",)
    assert type(model.wide) is nn.Linear
    torch.testing.assert_close(model(x), expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("model", [nn.Sequential(nn.Linear(4, 4)), nn.Linear(4, 4).bfloat16(), nn.ReLU()])
def test_a_model_without_such_layers_is_refused_and_left(model: nn.Module) -> None:
    before = copy.deepcopy(model)

    with pytest.raises(CannotPrepackError, match="no linear layers of bfloat16"):
        prepack_linears(model)

    assert str(model) == str(before)
