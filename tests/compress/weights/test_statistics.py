"""Second moments of inputs."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ayni.compress.inputs import ModelInputs
from ayni.compress.weights import statistics as statistics_module
from ayni.compress.weights.layers import input_rows_NI
from ayni.compress.weights.statistics import CalibrationError, InputStatistics, padding_mask


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4), width=st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_moments_do_not_depend_on_how_rows_come_in_batches(sizes: list[int], width: int) -> None:
    rows = torch.randn(sum(sizes), width)
    statistics = InputStatistics(nn.Linear(width, 2))

    for batch in rows.split(sizes):
        statistics.add(batch)

    exact = rows.double()
    assert statistics.num_rows == len(rows)
    assert torch.allclose(statistics.gram_GII[0], exact.T @ exact, rtol=1e-5, atol=1e-5)
    assert torch.allclose(statistics.squared_norms_GI[0], exact.square().sum(0), rtol=1e-5)
    assert torch.allclose(statistics.mean_GI[0], exact.mean(0), rtol=1e-5, atol=1e-6)


def test_squared_norms_alone_are_the_diagonal_of_the_whole() -> None:
    layer = nn.Conv2d(4, 6, 3, groups=2)
    images = torch.randn(3, 4, 6, 6)
    whole, alone = InputStatistics(layer), InputStatistics(layer, with_gram=False)

    whole.add(images)
    alone.add(images)

    assert whole.gram_GII.shape == (2, 18, 18)
    assert torch.allclose(whole.squared_norms_GI, alone.squared_norms_GI, rtol=1e-5)


def test_many_patches_are_taken_in_pieces_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, images = nn.Conv2d(2, 3, 3, padding=1), torch.randn(5, 2, 4, 4)
    largest = 0

    def counting(layer: nn.Module, activation: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        rows = input_rows_NI(layer, activation)
        largest = max(largest, rows.numel())
        return rows

    expected = InputStatistics(layer)
    expected.add(images)
    monkeypatch.setattr(statistics_module, "input_rows_NI", counting)
    monkeypatch.setattr(statistics_module, "MAX_ROW_ELEMENTS", 600)
    statistics = InputStatistics(layer)
    statistics.add(images)

    assert largest <= 600
    assert statistics.num_rows == expected.num_rows == 80
    assert torch.allclose(statistics.gram_GII, expected.gram_GII, rtol=1e-5, atol=1e-5)


def test_rows_of_padding_are_left_out() -> None:
    layer, tokens = nn.Linear(3, 2), torch.randn(2, 4, 3)
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    statistics = InputStatistics(layer)

    statistics.add(tokens, padding_mask(ModelInputs((), {"attention_mask": mask})))

    kept = tokens[mask.bool()].double()
    assert statistics.num_rows == 4
    assert torch.allclose(statistics.gram_GII[0], kept.T @ kept, rtol=1e-5, atol=1e-6)


def test_a_mask_of_another_shape_is_ignored() -> None:
    statistics = InputStatistics(nn.Linear(3, 2))

    statistics.add(torch.randn(2, 3), torch.tensor([[True, False], [True, False]]))

    assert statistics.num_rows == 2


@pytest.mark.parametrize(
    "mask", [None, torch.ones(2, 3), torch.zeros(2, 3), torch.ones(2, 1, 3, 3), "no tensor"]
)
def test_there_is_no_padding_without_a_mask_that_says_so(mask: Any) -> None:
    assert padding_mask(ModelInputs((), {"attention_mask": mask})) is None


def test_half_precision_is_summed_in_full_precision() -> None:
    rows = torch.full((5000, 1), 1.0, dtype=torch.bfloat16)
    statistics = InputStatistics(nn.Linear(1, 1).bfloat16())

    statistics.add(rows)

    assert float(statistics.gram_GII) == 5000.0


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(CalibrationError, match="infinite"):
        InputStatistics(nn.Linear(2, 2)).add(torch.tensor([[1.0, float("inf")]]))
