"""The check tells a map that names the right parts from one that does not."""

import numpy as np
import torch
from torch import nn

from ayni.explain.deletion import check_by_deletion


def model_that_looks_at(parts: list[int], num_parts: int) -> nn.Module:
    model = nn.Linear(num_parts, 2, bias=False)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[1, parts] = 3.0
    return model


def check(attributions: torch.Tensor) -> tuple[float, float, bool]:
    inputs = torch.ones(4, 20)
    found = check_by_deletion(
        model_that_looks_at([0, 1, 2, 3], 20),
        inputs,
        attributions,
        torch.ones(4, dtype=torch.int64),
        rng=np.random.default_rng(0),
    )
    return found.probability_before, found.probability_after_top, found.is_faithful


def test_removing_the_parts_that_decide_leaves_a_coin_toss() -> None:
    right_map = torch.zeros(4, 20)
    right_map[:, :4] = 1.0

    before, after, is_faithful = check(right_map)

    assert before > 0.99
    assert abs(after - 0.5) < 1e-6
    assert is_faithful


def test_a_map_of_the_wrong_parts_is_called_unfaithful() -> None:
    wrong_map = torch.zeros(4, 20)
    wrong_map[:, 10:] = 1.0

    before, after, is_faithful = check(wrong_map)

    assert after == before
    assert not is_faithful


def test_a_map_with_the_signs_turned_is_called_unfaithful() -> None:
    turned_map = torch.zeros(4, 20)
    turned_map[:, :4] = -1.0

    assert not check(turned_map)[2]


def test_blank_parts_are_never_counted_as_removed() -> None:
    inputs = torch.zeros(1, 20)
    inputs[0, :5] = 1.0
    rated_highest_where_blank = torch.arange(20.0)[None]

    found = check_by_deletion(
        model_that_looks_at([4], 20),
        inputs,
        rated_highest_where_blank,
        torch.ones(1, dtype=torch.int64),
        rng=np.random.default_rng(0),
    )

    # A fifth of the five parts that carry something is one part: the last of them.
    assert abs(found.probability_after_top - 0.5) < 1e-6


def test_an_input_without_content_changes_nothing() -> None:
    found = check_by_deletion(
        model_that_looks_at([0], 3),
        torch.zeros(1, 3),
        torch.zeros(1, 3),
        torch.ones(1, dtype=torch.int64),
        rng=np.random.default_rng(0),
    )

    assert found.probability_before == found.probability_after_top == found.probability_after_random
