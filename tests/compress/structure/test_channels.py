"""Structured pruning."""

import contextlib
import gc
import itertools
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune as masking

from ayni.compress.inputs import ModelInputs
from ayni.compress.structure.channels import (
    CannotPruneError,
    count_parameters,
    cut_channels,
    output_layers,
    prune_channels,
)

from .attentions import Block, Stack, text


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


class TwoInputs(nn.Module):
    """Named inputs, a named answer, a tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.symbols, self.wide, self.narrow = nn.Embedding(9, 8), nn.Linear(8, 16), nn.Linear(16, 8)
        self.head = nn.Linear(8, 9, bias=False)
        self.head.weight = self.symbols.weight

    def forward(self, ids: torch.Tensor, *, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.symbols(ids) * mask[..., None]
        x = x + self.narrow(torch.relu(self.wide(x)))
        return {"logits": self.head(x), "pooled": x.mean(1)}


def two_inputs() -> ModelInputs:
    return ModelInputs((torch.arange(6).view(2, 3),), {"mask": torch.ones(2, 3)})


def test_a_model_with_several_inputs_and_a_named_answer_is_pruned_and_stays_tied() -> None:
    model = TwoInputs()

    done = cut_channels(model, two_inputs(), channels=0.5)

    assert done.widths == {"wide": (16, 8)}
    assert model.head.weight is model.symbols.weight
    assert two_inputs().run(model)["logits"].shape == (2, 3, 9)
    assert "output" in done.kept_whole["narrow"]


def test_tied_weights_are_cut_together_and_counted_once() -> None:
    class Tied(TwoInputs):
        def forward(self, ids: torch.Tensor, *, mask: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logits": super().forward(ids, mask=mask)["logits"]}

    model = Tied()

    done = cut_channels(model, two_inputs(), channels=0.5)

    assert model.head.weight is model.symbols.weight and model.symbols.weight.shape == (9, 4)
    assert done.parameters_after == count_parameters(model) == 9 * 4 + (4 * 8 + 8) + (8 * 4 + 4)


def test_weights_that_would_be_cut_differently_are_refused_and_nothing_changed() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    model[2].weight = model[0].weight
    weight, output = model[0].weight, model(torch.ones(1, 6))

    with pytest.raises(CannotPruneError, match="one parameter"):
        prune_channels(model, torch.zeros(1, 6), channels=0.5)

    assert model[0].weight is weight is model[2].weight
    assert torch.equal(model(torch.ones(1, 6)), output)


def test_a_failed_step_leaves_modes_weights_and_hooks_as_they_were() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.last(self.first(x).view(-1, 6))
            return logits

    model = Fixed().train()
    parameters = list(model.parameters())

    with pytest.raises(CannotPruneError):
        prune_channels(model, torch.zeros(1, 4), channels=0.5)

    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert model.training and model.first.out_features == 6
    assert not model.first._forward_hooks


def test_channels_that_add_nothing_go_and_the_answers_stay() -> None:
    torch.manual_seed(0)
    model = Residual().eval()
    with torch.no_grad():
        for tensor in (model.first.weight, model.first.bias, model.norm.weight, model.norm.bias):
            tensor[1::2] = 0
        model.inner.weight[:, 1::2] = 0
        model.last.weight[:, 1::2] = 0
        images = torch.randn(3, 1, 6, 6)
        before = model(images)

    prune_channels(model, images[:1], channels=0.5)

    torch.testing.assert_close(model(images), before)


def test_layers_around_attention_keep_their_channels() -> None:
    model = Stack(Block(), Block("eager"))

    done = cut_channels(model, text(), channels=0.5)

    assert done.widths.keys() >= {"wide"} and not done.widths.keys() & {"blocks.0.query", "blocks.1.value"}
    assert done.kept_whole["blocks.0.query"] == "it feeds an attention of 4 heads"
    assert model.blocks[1].value.out_features == 12


def test_torchs_own_attention_keeps_its_width() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)

    done = cut_channels(model, torch.randn(2, 3, 8), channels=0.5)

    assert done.widths == {"linear1": (12, 6)} and "2 heads" in done.kept_whole["self_attn"]


def test_skipped_layers_keep_their_channels_and_widths_are_multiples() -> None:
    model = nn.Sequential(nn.Linear(4, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 2))

    done = cut_channels(model, torch.zeros(1, 4), channels=0.3, skip=("0",), multiple_of=8)

    assert done.widths == {"2": (20, 8)} and done.kept_whole["0"] == "skip names it"


def test_across_layers_the_less_important_layer_loses_more() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 2))
    with torch.no_grad():
        model[0].weight[:15] *= 0.01
        model[2].weight[:, :15] *= 0.01

    cut_channels(model, torch.zeros(1, 4), channels=0.4, across_layers=True)

    assert model[0].out_features <= 6 < model[2].out_features


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    with torch.no_grad():
        model[0].weight[0, 0] = value

    with pytest.raises(CannotPruneError, match=r"0\.weight holds values"):
        prune_channels(model, torch.zeros(1, 4), channels=0.5)


def test_masks_and_parametrizations_are_refused_with_what_to_do() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    masking.l1_unstructured(model[0], "weight", 0.5)

    with pytest.raises(CannotPruneError, match=r"prune\.remove"):
        prune_channels(model, torch.zeros(1, 4), channels=0.5)


def test_weights_that_are_all_zero_frozen_layers_and_integer_buffers_are_no_obstacle() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)).to(torch.float64)
    model.register_buffer("steps", torch.tensor(3))
    nn.init.zeros_(model[0].weight)
    model[0].weight.requires_grad_(False)
    model[1].num_batches_tracked += 5

    prune_channels(model, torch.zeros(1, 4, dtype=torch.float64), channels=0.5)

    assert model[0].weight.shape == (3, 4) and not model[0].weight.requires_grad
    assert model[2].weight.requires_grad and int(model[1].num_batches_tracked) == 5


def test_a_pruned_model_is_pruned_again_until_nothing_can_go() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))

    prune_channels(model, torch.zeros(1, 4), channels=0.5)
    prune_channels(model, torch.zeros(1, 4), channels=0.5)

    assert model[0].out_features == 1
    with pytest.raises(CannotPruneError, match="no layer"):
        prune_channels(model, torch.zeros(1, 4), channels=0.5)


def test_a_model_that_fails_on_its_example_and_a_fraction_of_one_are_refused() -> None:
    with pytest.raises(CannotPruneError, match="example input"):
        prune_channels(nn.Linear(4, 2), torch.zeros(1, 5), channels=0.5)
    with pytest.raises(ValueError, match="fraction"):
        prune_channels(nn.Linear(4, 2), torch.zeros(1, 4), channels=1.0)


def test_old_models_are_not_kept_alive_by_the_library() -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    layer = weakref.ref(model[0])

    with contextlib.suppress(CannotPruneError):
        prune_channels(model, torch.zeros(1, 4, 3, 3), channels=0.5)
    del model
    gc.collect()

    assert layer() is None
