"""Attributions meet closed forms: linear models, where each part's share is known."""

import pytest
import torch
from torch import nn

from ayni.explain.attribution import attribute, class_logits, class_probabilities, why_not_attributable


class Gather(nn.Module):
    """Logits [N, T, C]: rows of a table looked up for each symbol [N, T], summed up to each place."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.table = table

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        return self.table[symbols].cumsum(1)


def test_of_a_linear_model_each_input_gets_weight_times_value_with_its_sign() -> None:
    model = nn.Linear(4, 3)
    inputs = torch.tensor([[1.0, -2.0, 0.0, 3.0], [0.5, 0.0, 1.0, -1.0]])
    classes = torch.tensor([2, 0])

    found = attribute(model, inputs, classes)

    torch.testing.assert_close(found.values, (model.weight[classes] * inputs).detach())
    assert "integrated gradients" in found.method


def test_integrated_gradients_add_up_to_the_change_of_the_logit() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)).eval()
    inputs, classes = torch.randn(5, 6), torch.tensor([0, 1, 2, 0, 1])

    found = attribute(model, inputs, classes)

    change = (model(inputs) - model(torch.zeros(1, 6)))[torch.arange(5), classes]
    torch.testing.assert_close(found.values.sum(1), change.detach(), atol=1e-2, rtol=0)


def test_of_a_sum_of_symbols_ablation_finds_each_symbols_part_at_the_last_place() -> None:
    table = torch.tensor([[0.0, 0.0], [1.0, -1.0], [-2.0, 3.0]])
    symbols = torch.tensor([[1, 2, 0, 1], [2, 2, 1, 0]])

    found = attribute(Gather(table), symbols, torch.tensor([0, 1]))

    assert found.values.tolist() == [[1.0, -2.0, 0.0, 1.0], [3.0, 3.0, -1.0, 0.0]]
    assert "ablation" in found.method


def test_attributing_leaves_no_gradients_behind() -> None:
    model = nn.Linear(4, 3)

    attribute(model, torch.ones(1, 4), torch.tensor([0]))

    assert model.weight.grad is None
    assert model.weight.requires_grad


@pytest.mark.parametrize(
    ("output", "inputs", "reason"),
    [
        (torch.zeros(1, 3), torch.zeros(1, 4), ""),
        (torch.zeros(1, 5, 3), torch.zeros(1, 5, dtype=torch.int64), ""),
        (torch.zeros(1), torch.zeros(1, 4), "neither"),
        (torch.zeros(1, 1), torch.zeros(1, 4), "single value"),
        (torch.zeros(1, 3), torch.zeros(1, 4, dtype=torch.bool), "bool"),
        ([torch.zeros(1, 3)], torch.zeros(1, 4), "list"),
    ],
)
def test_what_cannot_be_attributed_has_a_reason(
    output: torch.Tensor, inputs: torch.Tensor, reason: str
) -> None:
    found = why_not_attributable(output, inputs)

    assert reason in found
    assert bool(found) == bool(reason)


def test_probabilities_are_those_of_the_last_place_in_any_number_of_batches() -> None:
    logits = torch.randn(300, 5, 4)

    probabilities = class_probabilities(lambda rows: logits[rows.flatten()], torch.arange(300)[:, None])

    torch.testing.assert_close(probabilities, class_logits(logits).softmax(-1))
