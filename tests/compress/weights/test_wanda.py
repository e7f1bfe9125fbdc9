"""Pruning by weight times the norm of the input."""

import pytest
import torch
from torch import nn

from ayni.compress.inputs import ModelInputs
from ayni.compress.weights.layers import NothingToCompressError
from ayni.compress.weights.masks import NofM, PatternMismatchError, prune_by_magnitude
from ayni.compress.weights.statistics import CalibrationError
from ayni.compress.weights.wanda import prune_wanda, wanda_keep


def test_the_papers_score_by_hand() -> None:
    # The third input is ten times as strong: 0.2 * 10 beats 1 * 1.
    weights = torch.tensor([[1.0, -3.0, 0.2, 0.5], [-0.1, 0.2, 0.01, 4.0]])
    squared_norms = torch.tensor([[1.0, 1.0, 100.0, 1.0]])

    keep = wanda_keep(weights, squared_norms, 0.5)

    assert keep.tolist() == [[False, True, True, False], [False, True, False, True]]


def test_each_row_loses_the_same_share_and_no_weight_moves() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
    before = [model[index].weight.detach().clone() for index in (0, 2)]

    report = prune_wanda(model, [ModelInputs((torch.randn(20, 8),))], 0.5)

    for weight, old in zip((model[0].weight, model[2].weight), before, strict=True):
        assert ((weight != 0).sum(1) == weight.shape[1] // 2).all()
        assert torch.equal(weight[weight != 0], old[weight != 0])
    assert report.sparsity == 0.5


def test_inputs_matter_to_the_answer_more_than_magnitude_alone() -> None:
    torch.manual_seed(0)
    strength = torch.logspace(-1, 1, 32)
    inputs = torch.randn(200, 32) * strength
    wanda, magnitude = nn.Linear(32, 16), nn.Linear(32, 16)
    magnitude.load_state_dict(wanda.state_dict())
    with torch.no_grad():
        wanted = wanda(inputs)

        prune_wanda(wanda, [ModelInputs((inputs,))], 0.5)
        prune_by_magnitude(magnitude, 0.5)

        assert (wanda(inputs) - wanted).norm() < 0.6 * (magnitude(inputs) - wanted).norm()


def test_groups_of_a_convolution_have_norms_of_their_own() -> None:
    model = nn.Conv1d(2, 2, 2, groups=2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[[1.0, 2.0]], [[2.0, 1.0]]]))
    signal = torch.tensor([[[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]])

    prune_wanda(model, [ModelInputs((signal,))], 0.5)

    # The first kernel position sees the first value, the last one the last.
    assert model.weight.tolist() == [[[1.0, 0.0]], [[0.0, 1.0]]]


def test_two_of_four() -> None:
    model = nn.Linear(8, 4)

    prune_wanda(model, [ModelInputs((torch.randn(5, 8),))], NofM(kept=2, of=4))

    assert ((model.weight != 0).view(4, 2, 4).sum(-1) == 2).all()


def test_what_does_not_apply_is_refused_and_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(6, 4))
    before = model[0].weight.detach().clone()
    inputs = [ModelInputs((torch.randn(5, 6),))]

    with pytest.raises(PatternMismatchError):
        prune_wanda(model, inputs, NofM(kept=2, of=4))
    with pytest.raises(CalibrationError):
        prune_wanda(model, [], 0.5)
    with pytest.raises(NothingToCompressError):
        prune_wanda(model, inputs, 0.5, skip=["*"])
    with pytest.raises(ValueError, match="share"):
        prune_wanda(model, inputs, 1.0)

    assert torch.equal(model[0].weight, before)


def test_layers_that_no_input_reaches_are_reported_or_refused_when_they_are_all() -> None:
    class Idle(nn.Module):
        def __init__(self, uses_one: bool) -> None:
            super().__init__()
            self.used, self.idle, self.uses_one = nn.Linear(4, 4), nn.Linear(4, 4), uses_one

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.used(x) if self.uses_one else x
            return y

    inputs = [ModelInputs((torch.randn(5, 4),))]

    report = prune_wanda(Idle(True), inputs, 0.5)
    assert list(report.sparsity_by_layer) == ["used"]
    assert "never reach" in report.skipped["idle"]
    with pytest.raises(CalibrationError, match="none of the model's"):
        prune_wanda(Idle(False), inputs, 0.5)
