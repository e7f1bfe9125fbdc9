"""How an attention divides into heads."""

import copy

import pytest
import torch
from torch import nn

from ayni.compress.inputs import ModelInputs
from ayni.compress.structure.attention import Attention, find_attentions
from ayni.compress.structure.head_surgery import NoHeadPlanError, cut_heads, plan_heads

from .attentions import Block


def attention(**changes: object) -> Attention:
    layers = [nn.Linear(12, 12) for _ in range(4)]
    settings: dict[str, object] = {
        "num_heads": 4,
        "head_dim": 3,
        "score_layers": tuple(layers[:2]),
        "value_layers": (layers[2],),
        "output_layer": layers[3],
    }
    return Attention(**(settings | changes))  # type: ignore[arg-type]


def test_units_are_heads_of_keys_and_single_queries_where_there_is_one() -> None:
    whole = plan_heads(attention())
    grouped = plan_heads(attention(value_layers=(nn.Linear(12, 6),)))
    single = plan_heads(attention(value_layers=(nn.Linear(12, 3),)))

    assert [(p.num_units, p.heads_per_unit, p.num_key_heads) for p in (whole, grouped, single)] == [
        (4, 1, 4),
        (2, 2, 2),
        (4, 1, 1),
    ]
    assert grouped.value_rows is not None and grouped.value_rows(3) == slice(3, 6)
    assert single.value_rows is not None and single.value_rows(3) == slice(0, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output_layer": None}, "side by side"),
        ({"value_layers": ()}, "come from 2 layers and its values from 0"),
        ({"output_layer": nn.Linear(24, 12)}, "takes 24 numbers, not 4 heads of 3"),
        ({"value_layers": (nn.Linear(12, 10),)}, "its values are 10 numbers"),
        ({"value_layers": (nn.Linear(12, 9),)}, "its values are 9 numbers"),
        ({"value_layers": (nn.Conv1d(12, 12, 1),)}, "Conv1d is one of its layers"),
    ],
)
def test_layers_that_do_not_divide_are_refused_with_numbers(changes: dict[str, object], words: str) -> None:
    with pytest.raises(NoHeadPlanError, match=words):
        plan_heads(attention(**changes))


def test_the_rows_and_columns_that_stay_are_those_of_the_heads_that_stay() -> None:
    torch.manual_seed(0)
    block, inputs = Block(), ModelInputs((torch.randn(2, 5, 12),))
    before = copy.deepcopy(block)
    (found,) = find_attentions(block, inputs)

    assert cut_heads(block, plan_heads(found), [0, 2], inputs) is None

    kept = [3, 4, 5, 9, 10, 11]
    assert torch.equal(block.key.weight, before.key.weight[kept])
    assert torch.equal(block.value.bias, before.value.bias[kept])
    assert torch.equal(block.out.weight, before.out.weight[:, kept])
    assert torch.equal(block.out.bias, before.out.bias)
    assert block.all_head_size == 6


def test_a_model_that_stops_on_the_inputs_is_as_it_was() -> None:
    class Whole(Block):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.query.out_features != 12:
                raise RuntimeError("twelve or nothing")
            return super().forward(x)

    block, inputs = Whole(), ModelInputs((torch.randn(2, 5, 12),))
    weight = block.query.weight
    (found,) = find_attentions(block, inputs)

    assert "twelve or nothing" in (cut_heads(block, plan_heads(found), [1], inputs) or "")
    assert block.query.weight is weight and block.num_heads == 4 and block.out.in_features == 12
