"""Masks by magnitude, threshold and n:m, and zeros that stay zeros."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ayni.compress.weights.layers import NonFiniteWeightError, NothingToCompressError, matrix_layers
from ayni.compress.weights.masks import (
    MaskMismatchError,
    NofM,
    PatternMismatchError,
    apply_masks,
    keep_by_score,
    keep_masks,
    lowest,
    magnitude_masks,
    masks_of,
    prune_below,
    prune_by_magnitude,
)


def linear(*rows: list[float]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(rows))
    return layer


@given(values=st.lists(st.integers(0, 3), min_size=1, max_size=30), share=st.floats(0, 1))
@settings(deadline=None)
def test_exactly_so_many_of_the_lowest_go_also_among_equals(values: list[int], share: float) -> None:
    score, count = torch.tensor(values, dtype=torch.float32), round(share * len(values))

    taken = lowest(score, count)

    assert int(taken.sum()) == count
    if 0 < count < len(values):
        assert score[taken].max() <= score[~taken].min()
    assert torch.equal(taken, lowest(score, count))


@given(
    rows=st.integers(1, 4),
    groups=st.integers(1, 4),
    pattern=st.sampled_from([(2, 4), (1, 4), (1, 2), (3, 5)]),
)
@settings(deadline=None)
def test_of_every_m_inputs_the_n_highest_stay(rows: int, groups: int, pattern: tuple[int, int]) -> None:
    kept, of = pattern
    score = torch.rand(rows, groups * of)

    keep = keep_by_score(score, NofM(kept=kept, of=of))

    by_group, scores = keep.view(rows, groups, of), score.view(rows, groups, of)
    assert (by_group.sum(-1) == kept).all()
    highest = scores.masked_fill(by_group, -1).amax(-1)
    assert (scores.masked_fill(~by_group, 2).amin(-1) >= highest).all()


def test_magnitude_counts_and_not_the_sign() -> None:
    model = linear([-9.0, 0.1, 8.0, -0.2])

    report = prune_by_magnitude(model, 0.5)

    assert model.weight.tolist() == [[-9.0, 0.0, 8.0, 0.0]]
    assert (report.num_zeros, report.num_weights, report.sparsity) == (2, 4, 0.5)


def test_global_masks_compare_layers_and_layer_masks_do_not() -> None:
    model = nn.Sequential(linear([1.0, 2.0]), linear([3.0], [4.0]))

    prune_by_magnitude(model, 0.5, scope="global")

    assert model[0].weight.tolist() == [[0.0, 0.0]]
    assert model[1].weight.tolist() == [[3.0], [4.0]]
    model = nn.Sequential(linear([1.0, 2.0]), linear([3.0], [4.0]))
    prune_by_magnitude(model, 0.5, scope="layer")
    assert model[0].weight.tolist() == [[0.0, 2.0]]
    assert model[1].weight.tolist() == [[0.0], [4.0]]


def test_a_threshold_deletes_what_lies_below_it_on_both_sides_of_zero() -> None:
    model = linear([-0.5, -0.04, 0.04, 0.05, 0.5])

    report = prune_below(model, 0.05)

    assert [value != 0 for value in model.weight[0].tolist()] == [True, False, False, True, True]
    assert report.sparsity == pytest.approx(0.4)


def test_all_equal_weights_still_give_the_sparsity_asked_for() -> None:
    model = nn.Sequential(linear([1.0] * 10), linear([0.0] * 10))

    assert prune_by_magnitude(model, 0.3).sparsity_by_layer == {"0": 0.3, "1": 1.0}


def test_biases_buffers_and_other_layers_stay() -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Embedding(3, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}

    prune_by_magnitude(model, 0.5)

    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["0.weight"]


def test_tied_weights_are_pruned_and_counted_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight

    report = prune_by_magnitude(model, 0.5, scope="global")

    assert report.num_weights == 16
    assert int((model[1].weight == 0).sum()) == 8
    assert "1" in report.skipped


def test_bfloat16_stays_bfloat16() -> None:
    model = nn.Linear(8, 8, bias=False).bfloat16()

    assert prune_by_magnitude(model, 0.25).num_zeros == 16
    assert model.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, math.nan])
def test_a_sparsity_that_is_no_share_is_refused(sparsity: float) -> None:
    with pytest.raises(ValueError, match="share"):
        prune_by_magnitude(nn.Linear(2, 2), sparsity)


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.inf, math.nan])
def test_a_threshold_that_prunes_nothing_or_all_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        prune_below(nn.Linear(2, 2), threshold)


def test_n_of_m_needs_inputs_that_divide() -> None:
    model = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 2))
    before = model[0].weight.detach().clone()

    with pytest.raises(PatternMismatchError, match="1 has 6 inputs"):
        prune_by_magnitude(model, NofM.parse("2:4"))

    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize("text", ["", "2", "2:", "4:2", "0:4", "2:2", "-1:4", "a:b"])
def test_words_that_are_no_pattern_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="n:m"):
        NofM.parse(text)


def test_models_that_cannot_be_pruned_are_refused() -> None:
    with pytest.raises(NothingToCompressError):
        prune_by_magnitude(nn.ReLU(), 0.5)
    model = linear([1.0, math.nan])
    with pytest.raises(NonFiniteWeightError):
        prune_by_magnitude(model, 0.5)


def test_zeros_stay_through_training_until_they_are_let_go() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2))
    prune_by_magnitude(model, 0.5)
    masks = masks_of(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    let_go = keep_masks(model, masks, optimizer)

    def step() -> None:
        optimizer.zero_grad()
        model(torch.ones(3, 6)).square().sum().backward()
        optimizer.step()

    before = model[0].weight.detach().clone()
    step()
    assert not torch.equal(model[0].weight, before)
    assert all(torch.equal(mask, masks_of(model)[name]) for name, mask in masks.items())
    let_go()
    step()
    assert int((model[0].weight == 0).sum()) < 18


def test_layers_without_zeros_have_no_mask() -> None:
    model = nn.Sequential(linear([1.0, 2.0]), linear([0.0], [1.0]))

    assert {name: keep.tolist() for name, keep in masks_of(model).items()} == {"1": [[False], [True]]}


def test_masks_of_another_model_change_nothing() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    before = model[0].weight.detach().clone()
    zeros = torch.zeros(3, 3, dtype=torch.bool)

    with pytest.raises(MaskMismatchError, match="no such layer"):
        apply_masks(model, {"0": zeros, "body": zeros})
    with pytest.raises(MaskMismatchError, match="does not fit"):
        apply_masks(model, {"0": zeros, "1": zeros})

    assert torch.equal(model[0].weight, before)


def test_masks_have_the_shape_of_the_matrix() -> None:
    masks = magnitude_masks(matrix_layers(nn.Conv2d(2, 3, 3)), 0.5)

    assert masks[""].shape == (3, 18)
