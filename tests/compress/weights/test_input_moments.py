"""Second moments of what layers are given."""

import pytest
import torch
from torch import nn

from ayni.compress.inputs import ModelInputs
from ayni.compress.weights.input_moments import input_moments
from ayni.compress.weights.layers import matrix_layers
from ayni.compress.weights.statistics import CalibrationError


def test_moments_are_the_mean_outer_product_without_padding() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.layer(x)
            return y

    model, x = Masked(), torch.tensor([[[1.0, 2.0], [3.0, 4.0], [99.0, 99.0]]])
    batch = ModelInputs(kwargs={"x": x, "attention_mask": torch.tensor([[1, 1, 0]])})

    moments = input_moments(model, matrix_layers(model), [batch])

    assert moments["layer"].tolist() == [[5.0, 7.0], [7.0, 10.0]]
    assert input_moments(model, matrix_layers(model), []) == {}


def test_layers_that_are_not_reached_and_grouped_convolutions_have_none_and_calls_add_up() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)
            self.grouped = nn.Conv1d(2, 2, 1, groups=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.twice(x) + self.twice(3 * x)
            return self.grouped(y[..., None])

    model = Net().train()
    batches = [ModelInputs((torch.tensor([[1.0, 0.0]]),)), ModelInputs((torch.tensor([[0.0, 1.0]]),))]

    moments = input_moments(model, matrix_layers(model), batches)

    # Rows are (1, 0), (3, 0), (0, 1) and (0, 3).
    assert set(moments) == {"twice"} and moments["twice"].tolist() == [[2.5, 0.0], [0.0, 2.5]]
    assert model.training and not model.twice._forward_pre_hooks


def test_inputs_that_are_not_finite_are_refused_and_hooks_are_gone() -> None:
    model = nn.Sequential(nn.Linear(1, 1))

    with pytest.raises(CalibrationError):
        input_moments(model, matrix_layers(model), [ModelInputs((torch.tensor([[float("inf")]]),))])

    assert not model[0]._forward_pre_hooks
