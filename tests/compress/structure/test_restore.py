"""A model is put back as it was."""

import pytest
import torch
from torch import nn

from ayni.compress.structure.restore import traced, unchanged_on_failure


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(3, 4), nn.BatchNorm1d(4)
        self.num_heads = 4
        self.register_buffer("places", torch.arange(3))


def test_everything_a_failing_step_replaced_comes_back_and_is_the_same_object() -> None:
    model = Net()
    weight, norm, places = model.first.weight, model.norm, model.places

    with pytest.raises(KeyboardInterrupt), unchanged_on_failure(model):
        model.first.weight = nn.Parameter(torch.zeros(2, 3))
        model.first.out_features = 2
        model.norm = nn.Identity()
        model.num_heads = 2
        model.extra = nn.Linear(1, 1)
        model.register_buffer("places", None)
        model.first.register_forward_hook(lambda *_: None)
        raise KeyboardInterrupt

    assert model.first.weight is weight and model.norm is norm and model.places is places
    assert model.first.out_features == 4 and model.num_heads == 4
    assert not hasattr(model, "extra") and not model.first._forward_hooks


def test_what_succeeds_stays() -> None:
    model = Net()

    with unchanged_on_failure(model):
        model.num_heads = 2

    assert model.num_heads == 2


def test_frozen_parameters_modes_and_random_state_are_as_before_also_for_replaced_parameters() -> None:
    model = Net().train()
    model.norm.eval()
    model.first.weight.requires_grad_(False)
    state = torch.get_rng_state()

    with torch.no_grad(), traced(model):
        assert torch.is_grad_enabled() and model.first.weight.requires_grad and not model.training
        model.first.weight = nn.Parameter(torch.zeros(2, 3))
        torch.rand(3)

    assert not model.first.weight.requires_grad and model.first.bias.requires_grad
    assert model.training and not model.norm.training
    assert torch.equal(torch.get_rng_state(), state)
