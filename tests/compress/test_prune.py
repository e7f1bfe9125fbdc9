"""Structured pruning."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ayni.compress.prune import CannotPruneError, count_parameters, output_layers, prune_channels


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.norm = (
            nn.Conv2d(1, 8, 3, padding=1),
            nn.Conv2d(8, 8, 1),
            nn.BatchNorm2d(8),
        )
        self.last = nn.Linear(8, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.first(images)
        x = torch.relu(x + self.norm(self.inner(x)))
        logits: torch.Tensor = self.last(x.mean((2, 3)))
        return logits


@given(
    widths=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    channels=st.sampled_from([0.2, 0.25, 0.5, 0.75]),
)
@settings(max_examples=12, deadline=None)
def test_each_layer_keeps_its_share_and_the_output_its_size(widths: list[int], channels: float) -> None:
    sizes = [6, *widths, 5]
    model = nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise(sizes)))
    expected = [int(width * (1 - channels)) or width for width in widths]

    if expected == widths:
        with pytest.raises(CannotPruneError, match="no layer"):
            prune_channels(model, torch.zeros(1, 6), channels=channels)
        return
    prune_channels(model, torch.zeros(1, 6), channels=channels)

    assert [layer.out_features for layer in model] == [*expected, 5]


def test_the_channels_of_lowest_magnitude_go_whatever_their_sign() -> None:
    model = nn.Sequential(nn.Linear(2, 4, bias=False), nn.Linear(4, 3, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[-9.0, -9.0], [0.1, 0.1], [8.0, 8.0], [0.2, -0.2]]))
        model[1].weight.fill_(1.0)

    prune_channels(model, torch.zeros(1, 2), channels=0.5)

    assert model[0].weight.tolist() == [[-9.0, -9.0], [8.0, 8.0]]


def test_channels_joined_by_a_skip_connection_go_together() -> None:
    model = Residual()
    before = count_parameters(model)

    prune_channels(model, torch.zeros(1, 1, 6, 6), channels=0.5)

    assert model(torch.zeros(2, 1, 6, 6)).shape == (2, 4)
    assert (model.first.out_channels, model.norm.num_features, model.last.in_features) == (4, 4, 4)
    assert count_parameters(model) < before / 2


def test_pruning_the_same_weights_twice_removes_the_same_channels() -> None:
    torch.manual_seed(0)
    one, other = Residual(), Residual()
    other.load_state_dict(one.state_dict())

    prune_channels(one, torch.zeros(1, 1, 6, 6), channels=0.5)
    prune_channels(other, torch.zeros(1, 1, 6, 6), channels=0.5)

    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_all_layers_that_make_the_output_are_found_behind_norms_and_additions() -> None:
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.left, self.right = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 2)
            self.norm = nn.BatchNorm1d(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            body = self.body(x)
            normed: torch.Tensor = self.norm(self.left(body)) + self.right(body)
            return normed

    model = TwoHeads().eval()

    found = output_layers(model, torch.zeros(1, 3))

    assert set(found) == {model.left, model.right}


def test_a_model_whose_shape_is_written_into_its_code_is_refused_with_the_reason() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.last(self.first(x).view(-1, 6))
            return logits

    with pytest.raises(CannotPruneError, match="Remove `prune`"):
        prune_channels(Fixed(), torch.zeros(1, 4), channels=0.5)


def test_a_model_without_weights_is_refused() -> None:
    with pytest.raises(CannotPruneError, match="depends on weights"):
        prune_channels(nn.ReLU(), torch.zeros(1, 4), channels=0.5)
