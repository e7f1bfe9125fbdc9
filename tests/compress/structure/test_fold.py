"""Batch norm folded into the layer before it."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune as masking

from ayni.compress.inputs import ModelInputs
from ayni.compress.structure.fold import CannotFoldError, fold_batch_norm


def lived(model: nn.Module, seed: int = 0) -> Any:
    """The model with statistics and scales as after some training."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for name, tensor in (*module.named_parameters(), *module.named_buffers()):
                if tensor.is_floating_point():
                    drawn = torch.rand(tensor.shape, generator=generator) * 2 + 0.2
                    tensor.data.copy_(drawn if name != "bias" else drawn - 1)
    return model.eval()


def test_the_folded_numbers_by_hand() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1, eps=0.0)).double().eval()
    with torch.no_grad():
        model[0].weight.fill_(2.0), model[0].bias.fill_(3.0)
        model[1].running_mean.fill_(1.0), model[1].running_var.fill_(4.0)
        model[1].weight.fill_(6.0), model[1].bias.fill_(5.0)

    done = fold_batch_norm(model, torch.ones(2, 1, dtype=torch.float64))

    # y = 6 (2 x + 3 - 1) / 2 + 5 = 6 x + 11
    assert (model[0].weight.item(), model[0].bias.item()) == (6.0, 11.0)
    assert done.folded == {"1": "0"} and isinstance(model[1], nn.Identity)


@given(seed=st.integers(0, 99), bias=st.booleans(), groups=st.sampled_from([1, 2]), affine=st.booleans())
@settings(max_examples=20, deadline=None)
def test_answers_stay_for_any_convolution(seed: int, bias: bool, groups: int, affine: bool) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1, stride=2, bias=bias, groups=groups),
        nn.BatchNorm2d(6, affine=affine),
        nn.ReLU(),
        nn.Conv2d(6, 4, 1),
        nn.BatchNorm2d(4),
    )
    lived(model, seed)
    images = torch.randn(3, 4, 6, 6)
    before = model(images)

    done = fold_batch_norm(model, images[:1])

    assert done.folded == {"1": "0", "4": "3"} and not done.skipped
    torch.testing.assert_close(model(images), before, atol=1e-4, rtol=1e-4)


class Skip(nn.Module):
    """The first convolution's result is also added behind its norm; the second's is the norm's alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
        self.second, self.second_norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.first(images)
        return {"images": self.second_norm(self.second(torch.relu(self.first_norm(x)))) + x}


def test_a_result_that_is_also_used_elsewhere_keeps_its_norm() -> None:
    torch.manual_seed(0)
    model = lived(Skip())
    images = torch.randn(2, 2, 3, 3)
    before = model(images)["images"]

    done = fold_batch_norm(model, ModelInputs(kwargs={"images": images}))

    assert done.folded == {"second_norm": "second"}
    assert "something else also takes the result of first" in done.skipped["first_norm"]
    torch.testing.assert_close(model(images)["images"], before)


def test_norms_that_cannot_be_folded_are_named_with_the_reason() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.layer, self.after = nn.BatchNorm1d(3), nn.Linear(3, 3), nn.BatchNorm1d(3)
            self.batchwise = nn.BatchNorm1d(3, track_running_stats=False)
            self.unused = nn.BatchNorm1d(3)
            self.shared = nn.Linear(3, 3)
            self.shared_norm, self.twice = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
            self.good, self.good_norm = nn.Linear(3, 3), nn.BatchNorm1d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.after(torch.relu(self.layer(self.before(x))))
            x = self.batchwise(self.shared_norm(self.shared(self.shared(x))))
            logits: torch.Tensor = self.good_norm(self.good(self.twice(self.twice(x))))
            return logits

    model = lived(Odd())

    done = fold_batch_norm(model, torch.randn(4, 3))

    assert done.folded == {"good_norm": "good"}
    assert set(done.skipped) == {"before", "after", "batchwise", "unused", "shared_norm", "twice"}
    assert "0 times" in done.skipped["unused"] and "2 times" in done.skipped["twice"]
    assert "shared is called more than once" in done.skipped["shared_norm"]
    assert "running statistics" in done.skipped["batchwise"]


def test_a_norm_over_another_axis_than_the_layers_outputs_stays() -> None:
    model = lived(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)))

    with pytest.raises(CannotFoldError, match="another axis"):
        fold_batch_norm(model, torch.randn(2, 4, 5))


def test_tied_masked_and_damaged_layers_are_refused_and_unchanged() -> None:
    tied = lived(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3)))
    tied[2].weight = tied[0].weight
    masked = lived(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)))
    masking.l1_unstructured(masked[0], "weight", 0.5)
    damaged = lived(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)))
    damaged[1].running_var.fill_(-1.0)

    for model, words in ((tied, "shares a weight"), (masked, "parametrization"), (damaged, "negative")):
        with pytest.raises(CannotFoldError, match=words):
            fold_batch_norm(model, torch.randn(2, 3))
        assert isinstance(model[1], nn.BatchNorm1d)


def test_models_without_batch_norm_are_refused() -> None:
    with pytest.raises(CannotFoldError, match="the model has none"):
        fold_batch_norm(nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)), torch.randn(2, 3))


def test_a_use_that_has_no_gradient_is_noticed_by_the_answers() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.norm = nn.Linear(3, 3), nn.BatchNorm1d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.layer(x)
            result: torch.Tensor = self.norm(y) + y.detach()
            return result

    model = lived(Hidden())
    weight = model.layer.weight

    with pytest.raises(CannotFoldError, match="does not answer as before"):
        fold_batch_norm(model, torch.randn(4, 3))

    assert model.layer.weight is weight and isinstance(model.norm, nn.BatchNorm1d)


def test_modes_frozen_weights_and_dtypes_stay() -> None:
    model = lived(nn.Sequential(nn.Conv1d(2, 2, 1, bias=False), nn.BatchNorm1d(2))).to(torch.bfloat16).train()
    model[0].weight.requires_grad_(False)
    means = copy.deepcopy(model[1].running_mean)

    fold_batch_norm(model, torch.randn(2, 2, 4, dtype=torch.bfloat16))

    assert model.training and model[1].training and not model[0].weight.requires_grad
    assert model[0].bias.dtype == torch.bfloat16 and bool(torch.isfinite(means).all())
