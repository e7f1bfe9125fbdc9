"""Finding attentions by watching a call."""

import pytest
import torch
from torch import nn

from ayni.compress.inputs import ModelInputs
from ayni.compress.structure.attention import find_attentions

from .attentions import Block, Stack, text


@pytest.mark.parametrize("style", ["sdpa", "eager"])
def test_layers_and_number_of_heads_are_seen(style: str) -> None:
    model = Stack(Block(style), Block(style))

    found = find_attentions(model, ModelInputs((text(),)))

    for attention, block in zip(found, model.blocks, strict=True):
        assert (attention.num_heads, attention.head_dim) == (4, 3)
        assert set(attention.score_layers) == {block.query, block.key}
        assert attention.value_layers == (block.value,)
        assert attention.output_layer is block.out


def test_one_layer_that_makes_all_three_is_seen_as_one() -> None:
    model = Stack(Block("blocks"))

    (attention,) = find_attentions(model, ModelInputs((text(),)))

    assert attention.score_layers == attention.value_layers == (model.blocks[0].qkv,)


def test_a_block_that_is_called_twice_is_one_attention() -> None:
    block = Block()

    assert len(find_attentions(Stack(block, block), ModelInputs((text(),)))) == 1


def test_heads_folded_into_the_batch_are_counted() -> None:
    class Folded(Block):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            query, key, value = (part.flatten(0, 1) for part in self._parts(x))
            seen = torch.bmm(torch.softmax(torch.bmm(query, key.mT), -1), value)
            seen = seen.view(x.shape[0], self.num_heads, x.shape[1], -1)
            return self.out(seen.transpose(1, 2).flatten(2))

    (attention,) = find_attentions(Folded(), ModelInputs((torch.randn(2, 6, 12),)))

    assert attention.num_heads == 4


def test_a_softmax_over_classes_and_one_head_are_no_attention_of_several_heads() -> None:
    classifier = nn.Sequential(nn.Linear(3, 4), nn.Softmax(-1))
    single = Stack(Block(heads=1))

    assert find_attentions(classifier, ModelInputs((torch.randn(2, 3),))) == []
    assert find_attentions(single, ModelInputs((text(),))) == []


def test_the_model_is_as_before_and_frozen_models_are_seen_too() -> None:
    model = Stack(Block()).train().requires_grad_(False)

    with torch.no_grad():
        found = find_attentions(model, ModelInputs(kwargs={"text": text()}))

    assert len(found) == 1 and model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(layer._forward_pre_hooks for layer in model.modules())
