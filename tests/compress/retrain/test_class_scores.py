"""The scores in an answer."""

from typing import Any, NamedTuple

import pytest
import torch

from ayni.compress.deploy.outputs import NoTensorOutputError
from ayni.compress.retrain.class_scores import class_scores

SCORES = torch.zeros(2, 3)


class Named(NamedTuple):
    loss: Any
    logits: Any


@pytest.mark.parametrize(
    "output",
    [SCORES, (SCORES, torch.ones(1)), {"loss": torch.ones(()), "logits": SCORES}, Named(None, SCORES)],
)
def test_scores_are_found_whatever_the_form(output: Any) -> None:
    assert class_scores(output) is SCORES


def test_integers_are_no_scores() -> None:
    assert class_scores((torch.zeros(2, dtype=torch.long), SCORES)) is SCORES
    for output in ({"ids": torch.zeros(2, dtype=torch.long)}, None, "text"):
        with pytest.raises(NoTensorOutputError):
            class_scores(output)
