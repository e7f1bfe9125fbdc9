"""Recovery after pruning, and its control."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from ayni.compress.retrain.recover import CannotRecoverError, recover, recover_with_control
from ayni.compress.retrain.short_training import CannotTrainShortlyError, ShortTraining
from ayni.compress.weights.layers import matrix_layers, weight_OI
from ayni.compress.weights.masks import MaskMismatchError, masks_of, prune_by_magnitude
from ayni.compress.weights.schedule import CubicSchedule

from ..conftest import Bars

CPU = torch.device("cpu")
PLAN = ShortTraining(epochs=1, learning_rate=1e-2)


def ignore(_done: int, _total: int) -> None:
    pass


class Named(Bars):
    """Batches are dictionaries and the model has named inputs."""

    def build_model(self) -> nn.Module:
        class Model(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(64, 3)

            def forward(self, *, pixels: torch.Tensor, scale: torch.Tensor) -> dict[str, torch.Tensor]:
                return {"logits": self.layer(pixels.flatten(1) * scale[:, None])}

        return Model()

    def dataset(self, split: str) -> Sequence[Any]:
        return [
            {"pixels": image, "scale": torch.tensor(1.0), "label": label}
            for image, label in super().dataset(split)
        ]

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        answer = model(pixels=batch["pixels"], scale=batch["scale"])
        return functional.cross_entropy(answer["logits"], batch["label"])

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        losses = [float(self.loss(model, batch)) for batch in batches]
        return {"loss": sum(losses) / len(losses)}


def test_zeros_stay_zeros_through_momentum_and_weight_decay_and_the_rest_learns(bars: Bars) -> None:
    torch.manual_seed(0)
    model = bars.build_model()
    prune_by_magnitude(model, 0.7)
    masks = masks_of(model)
    before = copy.deepcopy(model.state_dict())

    done = recover(bars, model, plan=PLAN, masks=masks, seed=1, device=CPU, on_step=ignore)

    for name, layer in matrix_layers(model).items():
        assert not bool(weight_OI(layer)[~masks[name]].any())
        assert not torch.equal(layer.weight, before[f"{name}.weight"])
    assert done.num_steps == PLAN.num_steps(192) == 6
    assert done.sparsity == pytest.approx(0.7, abs=0.01)


def test_without_masks_zeros_are_free_to_move(bars: Bars) -> None:
    torch.manual_seed(0)
    model = bars.build_model()
    prune_by_magnitude(model, 0.7)

    done = recover(bars, model, plan=PLAN, seed=1, device=CPU, on_step=ignore)

    zeros = [weight_OI(layer) == 0 for layer in matrix_layers(model).values()]
    assert done.sparsity is None
    # Channels behind which nothing passes get no gradient and stay.
    assert sum(int(zero.sum()) for zero in zeros) < 0.1 * sum(zero.numel() for zero in zeros)


def test_gradual_pruning_reaches_its_sparsity_at_the_end(bars: Bars) -> None:
    torch.manual_seed(0)
    model = bars.build_model()
    plan = CubicSchedule(final_sparsity=0.6, end_step=4, every=1)

    done = recover(bars, model, plan=PLAN, gradual=plan, seed=1, device=CPU, on_step=ignore)

    assert done.sparsity == pytest.approx(0.6, abs=0.01)
    with pytest.raises(ValueError, match="not both"):
        recover(
            bars, model, plan=PLAN, gradual=plan, masks=masks_of(model), seed=1, device=CPU, on_step=ignore
        )


def test_recovery_is_a_function_of_its_seed_and_torch_is_left_as_it_was(bars: Bars) -> None:
    torch.manual_seed(0)
    first = bars.build_model()
    second, other = copy.deepcopy(first), copy.deepcopy(first)
    state = torch.get_rng_state()

    for model, seed in ((first, 3), (second, 3), (other, 4)):
        recover(bars, model, plan=PLAN, seed=seed, device=CPU, on_step=ignore)

    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))
    assert torch.equal(torch.get_rng_state(), state) and not first.training


def test_the_control_gets_the_same_epochs_and_the_original_is_not_touched(bars: Bars) -> None:
    torch.manual_seed(0)
    original = bars.build_model()
    pruned = copy.deepcopy(original)
    prune_by_magnitude(pruned, 0.95)
    before = copy.deepcopy(original.state_dict())
    heard: list[tuple[int, int]] = []

    done = recover_with_control(
        bars,
        pruned,
        original=original,
        plan=ShortTraining(epochs=2, learning_rate=1e-2),
        masks=masks_of(pruned),
        seed=1,
        device=CPU,
        on_step=lambda *counts: heard.append(counts),
    )

    assert done.recovery.num_steps == done.control.num_steps == 12
    assert heard == [(step, 24) for step in range(1, 25)]
    assert all(torch.equal(value, before[name]) for name, value in original.state_dict().items())
    # An untrained model gains from more epochs: without the control that would be the pruning's merit.
    assert done.control_after["accuracy"] > done.control_before["accuracy"]
    assert done.differences == {"accuracy": done.after["accuracy"] - done.control_after["accuracy"]}


def test_an_unchanged_model_does_not_differ_from_its_control(bars: Bars) -> None:
    torch.manual_seed(0)
    original = bars.build_model()

    done = recover_with_control(
        bars, copy.deepcopy(original), original=original, plan=PLAN, seed=1, device=CPU, on_step=ignore
    )

    assert done.differences == {"accuracy": 0.0} and done.recovery == done.control


def test_batches_may_be_dictionaries_and_inputs_named() -> None:
    torch.manual_seed(0)
    task = Named()
    model = task.build_model()

    done = recover_with_control(
        task,
        model,
        original=copy.deepcopy(model),
        plan=ShortTraining(epochs=3, learning_rate=1e-2),
        seed=1,
        device=CPU,
        on_step=ignore,
    )

    assert done.after["loss"] < 0.7 * done.before["loss"]


def test_what_cannot_be_trained_is_refused(bars: Bars) -> None:
    class Empty(Bars):
        def dataset(self, split: str) -> Sequence[Any]:
            return []

    model = bars.build_model()
    weight = model[0].weight.clone()
    with pytest.raises(CannotTrainShortlyError, match="empty"):
        recover(Empty(), model, plan=PLAN, seed=0, device=CPU, on_step=ignore)
    with pytest.raises(CannotRecoverError, match="the model itself"):
        recover_with_control(bars, model, original=model, plan=PLAN, seed=0, device=CPU, on_step=ignore)
    for masks in ({"9": torch.ones(2, 2, dtype=torch.bool)}, {"nowhere": torch.ones(1, 1, dtype=torch.bool)}):
        with pytest.raises(MaskMismatchError):
            recover(bars, model, plan=PLAN, masks=masks, seed=0, device=CPU, on_step=ignore)
    with pytest.raises(CannotTrainShortlyError, match="frozen"):
        recover(bars, model.requires_grad_(False), plan=PLAN, seed=0, device=CPU, on_step=ignore)

    assert torch.equal(model[0].weight, weight)
    with pytest.raises(ValueError, match="at least 1 epoch"):
        ShortTraining(epochs=0)
    with pytest.raises(ValueError, match="learning_rate"):
        ShortTraining(learning_rate=0.0)
