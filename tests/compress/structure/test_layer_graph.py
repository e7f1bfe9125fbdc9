"""Layers behind a tensor."""

import torch
from torch import nn
from torch.nn.utils import prune as masks

from ayni.compress.structure.layer_graph import (
    chain_reaches,
    count_uses,
    layers_with_shared_weights,
    nearest_layers,
    reparametrized_layers,
    weight_owners,
)


def test_the_nearest_layers_are_found_through_norms_additions_and_reshapes() -> None:
    model = nn.ModuleList([nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(3, 4, bias=False), nn.Linear(4, 3)])
    x = torch.randn(2, 5, 3)
    y = (model[1](model[0](x)) + model[2](x)).reshape(10, 4).relu()

    assert set(nearest_layers([y], weight_owners(model))) == {model[0], model[2]}
    assert nearest_layers([model[3](y)], weight_owners(model)) == [model[3]]


def test_a_chain_goes_through_reshapes_and_not_through_operations_of_two_tensors() -> None:
    x = torch.randn(2, 6, requires_grad=True)
    start = x.exp()
    moved = (start.view(2, 3, 2).transpose(1, 2).contiguous() * 3).reshape(-1)

    assert chain_reaches(moved.grad_fn, [x.sin().grad_fn, start.grad_fn]) == 1
    assert chain_reaches((start * x).grad_fn, [start.grad_fn]) is None
    assert chain_reaches(None, [start.grad_fn]) is None


def test_uses_count_each_taker_and_being_returned() -> None:
    x = torch.randn(3, requires_grad=True)
    start = x.exp()

    assert count_uses([start.sin()], start.grad_fn) == 1
    assert count_uses([start.sin() + start], start.grad_fn) == 2
    assert count_uses([start.sin(), start], start.grad_fn) == 2


def test_masks_and_parametrizations_are_named() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    masks.l1_unstructured(model[0], "weight", 0.5)
    nn.utils.parametrizations.weight_norm(model[1])

    assert reparametrized_layers(model) == ["0", "1"]
    masks.remove(model[0], "weight")
    assert reparametrized_layers(model) == ["1"]


def test_a_weight_of_two_modules_is_shared_and_a_module_in_two_places_is_not() -> None:
    twice = nn.Linear(2, 2)
    model = nn.ModuleDict({"a": twice, "b": twice, "embed": nn.Embedding(3, 2), "head": nn.Linear(2, 3)})
    assert layers_with_shared_weights(model) == {}

    model["head"].weight = model["embed"].weight

    assert layers_with_shared_weights(model) == {
        model["head"]: "embed.weight",
        model["embed"]: "head.weight",
    }
