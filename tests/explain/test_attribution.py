"""Which decision is explained, and what stands for a part that is gone."""

import pytest
import torch
from torch import nn

from ayni.explain.attribution import class_logits, class_probabilities, reference_of, why_not_attributable


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


def test_the_reference_is_zero_or_the_padding_of_the_models_embedding() -> None:
    symbols = torch.ones(1, 3, dtype=torch.int64)

    assert reference_of(nn.Embedding(5, 2, padding_idx=3), symbols) == 3
    assert reference_of(nn.Embedding(5, 2), symbols) == 0
    assert reference_of(nn.Linear(3, 2), torch.ones(1, 3)) == 0
