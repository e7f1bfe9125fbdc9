"""Curves tell a map that names the right parts from one that does not."""

import numpy as np
import pytest
import torch
from torch import nn

from ayni.explain.attribution import Attributed
from ayni.explain.captum_methods import ablation
from ayni.explain.curves import Curves, draw_curves
from ayni.explain.parts import Parts


def model_that_looks_at(parts: list[int], num_parts: int) -> nn.Module:
    model = nn.Linear(num_parts, 2, bias=False)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[1, parts] = 3.0
    return model


def curves_of(attributions: torch.Tensor, inputs: torch.Tensor | None = None) -> Curves:
    inputs = torch.ones(4, 20) if inputs is None else inputs
    return draw_curves(
        model_that_looks_at([0, 1, 2, 3], 20),
        Attributed(
            parts=Parts(inputs=inputs, reference=0),
            values=attributions,
            classes=torch.ones(len(inputs), dtype=torch.int64),
            method=ablation(nn.Linear(20, 2), inputs[:1]),
        ),
        rng=np.random.default_rng(0),
    )


def test_a_right_map_needs_a_fifth_of_the_parts_to_take_the_answer_away_or_to_bring_it() -> None:
    right_map = torch.zeros(4, 20)
    right_map[:, :4] = 1.0

    found = curves_of(right_map)

    # Four of twenty parts decide; without them it is a coin toss.
    assert found.deletion.attributed[0] > 0.99
    assert found.deletion.attributed[2:] == pytest.approx([0.5] * 9)
    assert min(found.insertion.attributed[2:]) > 0.99
    assert found.deletion.area_attributed < found.deletion.area_random
    assert found.insertion.area_attributed > found.insertion.area_random


def test_both_orders_begin_and_end_alike_and_a_deletion_ends_where_an_insertion_begins() -> None:
    found = curves_of(torch.rand(4, 20))

    for curve in (found.deletion, found.insertion):
        assert curve.fractions == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
        assert curve.attributed[0] == curve.random[0]
        assert curve.attributed[-1] == pytest.approx(curve.random[-1])
    assert found.deletion.attributed[0] == found.insertion.attributed[-1]
    assert found.deletion.attributed[-1] == found.insertion.attributed[0]


def test_a_map_with_the_signs_turned_is_worse_than_random() -> None:
    turned_map = torch.zeros(4, 20)
    turned_map[:, :4] = -1.0

    found = curves_of(turned_map)

    assert found.deletion.area_attributed > found.deletion.area_random
    assert found.insertion.area_attributed < found.insertion.area_random


def test_blank_parts_are_never_counted_as_taken_away() -> None:
    inputs = torch.zeros(1, 20)
    inputs[0, 3:8] = 1.0
    rated_highest_where_blank = -torch.arange(20.0)[None]

    found = curves_of(rated_highest_where_blank, inputs)

    # Of the five parts that carry something the first is the one that decides.
    assert found.deletion.attributed[1] == pytest.approx(0.5)


def test_a_map_that_tells_parts_apart_nowhere_is_a_random_order() -> None:
    inputs = torch.ones(200, 20)

    found = curves_of(torch.zeros(200, 20), inputs)

    assert found.deletion.area_attributed == pytest.approx(found.deletion.area_random, abs=0.01)


def test_an_input_without_content_changes_nothing() -> None:
    found = curves_of(torch.zeros(1, 20), torch.zeros(1, 20))

    assert set(found.deletion.attributed) == set(found.deletion.random) == {0.5}


def test_the_area_is_that_of_the_trapezoids_and_the_interval_is_students() -> None:
    inputs = torch.zeros(2, 20)
    inputs[0, 3] = 1.0  # decides, and is the only part
    found = curves_of(inputs, inputs).deletion

    assert found.area_attributed == pytest.approx(np.trapezoid(found.attributed, found.fractions))
    assert (found.difference_low, found.difference_high) == (0.0, 0.0)


def test_one_example_has_no_interval() -> None:
    found = curves_of(torch.ones(1, 20), torch.ones(1, 20)).deletion

    assert found.difference_low is found.difference_high is None


def test_a_pixel_goes_in_all_its_channels() -> None:
    inputs = torch.zeros(1, 3, 2, 2)
    inputs[0, 1, 0, 0] = inputs[0, :, 1, 1] = 1.0
    parts = Parts(inputs=inputs, reference=0)

    assert parts.carries.tolist() == [[True, False, False, True]]
    assert parts.scores(inputs).tolist() == [[1.0, 0.0, 0.0, 3.0]]
    hidden = parts.without(torch.tensor([[False, False, False, True]]))
    assert hidden[0, :, 1, 1].tolist() == [0, 0, 0]
    assert hidden[0, 1, 0, 0] == 1
