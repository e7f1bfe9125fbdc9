"""Models in 16-bit floats."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.deploy.torch_variants import (
    CannotBeHalfError,
    computes_bfloat16,
    computes_float16,
    half_runtime,
    to_half,
)
from ayni.compress.inputs import ModelInputs
from ayni.task import Task


class Rotary(nn.Module):
    """A buffer that is no state and must keep its digits, and a count that is an integer."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 4)
        self.register_buffer("frequencies", torch.tensor([1.0, 0.123456789]), persistent=False)
        self.register_buffer("scale", torch.ones(4))
        self.register_buffer("num_calls", torch.tensor(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        angle = (self.frequencies * 500).sin().to(x.dtype)
        rotated: torch.Tensor = self.dense(x) * self.scale + angle.sum()
        return rotated


def batch_of(tensor: torch.Tensor) -> list[ModelInputs]:
    return [ModelInputs(args=(tensor,))]


def test_floats_become_16_bits_and_frequencies_and_integers_stay() -> None:
    model = Rotary()

    result = to_half(model, batch_of(torch.randn(2, 4)))

    assert result.kept_buffers == ("frequencies",)
    assert result.num_parameters == 20
    assert (model.dense.weight.dtype, model.scale.dtype) == (torch.bfloat16, torch.bfloat16)
    assert (model.frequencies.dtype, model.num_calls.dtype) == (torch.float32, torch.int64)


def test_constants_that_meet_activations_are_converted_too() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(4, 4)
            self.register_buffer("places", torch.randn(4), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.dense(x + self.places)
            return y

    model = Table()

    assert to_half(model, batch_of(torch.randn(2, 4))).kept_buffers == ()
    assert model.places.dtype == torch.bfloat16


def test_the_runtime_takes_and_gives_32_bits_and_is_near(bars: Task) -> None:
    model = bars.build_model().eval()
    x = torch.randn(5, 1, 8, 8)
    expected = model(x).detach()

    to_half(model, batch_of(x))
    actual = half_runtime(model)(x)

    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, rtol=0.1, atol=0.05)


def test_tied_weights_stay_tied(symbols: Task) -> None:
    model: Any = symbols.build_model()

    to_half(model, batch_of(torch.zeros(2, 12, dtype=torch.long)))

    assert model.head.weight is model.symbols.weight
    assert model.head.weight.dtype == torch.bfloat16


def test_a_model_that_overflows_is_left_as_it_was() -> None:
    model = nn.Linear(4, 2)
    model.weight.data.fill_(1e6)
    before = copy.deepcopy(model.state_dict())

    with pytest.raises(CannotBeHalfError, match=r"float16.*infinite"):
        to_half(model, batch_of(torch.ones(1, 4)), dtype=torch.float16)

    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert to_half(model, batch_of(torch.ones(1, 4))).dtype == torch.bfloat16


def test_a_model_that_raises_in_16_bits_is_left_as_it_was() -> None:
    class Insists(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(4, 2)
            self.register_buffer("table", torch.ones(2), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.dtype != torch.float32:
                raise TypeError("32 bits, please")
            y: torch.Tensor = self.dense(x)
            return y

    model = Insists()

    with pytest.raises(CannotBeHalfError, match="32 bits, please"):
        to_half(model, batch_of(torch.ones(1, 4)))
    assert {tensor.dtype for tensor in (*model.parameters(), *model.buffers())} == {torch.float32}


def test_an_answer_that_was_never_finite_is_no_reason_to_refuse() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.dense(x)
            return y.masked_fill(torch.tensor([True, False]), float("-inf"))

    assert to_half(Masked(), batch_of(torch.ones(1, 4))).num_parameters == 10


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="float64"):
        to_half(nn.Linear(2, 2), batch_of(torch.ones(1, 2)), dtype=torch.float64)
    with pytest.raises(ValueError, match="at least one batch"):
        to_half(nn.Linear(2, 2), [])


def test_a_model_of_32_bits_runs_as_it_is_and_hardware_is_a_yes_or_a_no() -> None:
    model = nn.Linear(2, 2).eval()
    x = torch.randn(3, 2)

    torch.testing.assert_close(half_runtime(model)(x), model(x).detach())
    assert computes_bfloat16() in (True, False)
    assert computes_float16() in (True, False)
