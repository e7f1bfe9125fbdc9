"""Training with rounded weights."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from ayni.compress.packed.file import load_packed, write_packed
from ayni.compress.weights.grids import CannotQuantizeError, Grid
from ayni.compress.weights.layers import NonFiniteWeightError, NothingToCompressError
from ayni.compress.weights.qat import finish_qat, start_qat
from ayni.compress.weights.weight_only import quantize_weights


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv1d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2)
    )


def examples() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(128, 1, 8, generator=generator)
    return images, (images[:, 0, :4].sum(1) > images[:, 0, 4:].sum(1)).long()


def train(model: nn.Module, *, num_steps: int, lr: float = 3e-3) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    images, labels = examples()
    for _ in range(num_steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


def loss_of(model: nn.Module) -> float:
    images, labels = examples()
    with torch.no_grad():
        return float(nn.functional.cross_entropy(model(images), labels))


def test_training_on_the_grid_beats_rounding_afterwards_at_two_bits() -> None:
    grid = Grid(bits=2, granularity="tensor")
    rounded_losses, aware_losses = [], []
    for seed in range(3):
        rounded = network(seed)
        train(rounded, num_steps=60)
        aware = copy.deepcopy(rounded)
        train(rounded, num_steps=60)  # The control gets the same steps.
        quantize_weights(rounded, grid)
        start_qat(aware, grid)
        train(aware, num_steps=60)
        finish_qat(aware)
        rounded_losses.append(loss_of(rounded))
        aware_losses.append(loss_of(aware))

    assert sum(aware_losses) < sum(rounded_losses) / 2


def test_the_model_computes_with_rounded_weights_and_trains_the_exact_ones() -> None:
    model, reference = network(), network()
    grid = Grid(bits=3)
    images, _ = examples()
    exact = model[3].weight

    result = start_qat(model, grid)
    quantize_weights(reference, grid)

    assert result.layers == ("0", "3", "5")
    assert torch.equal(model(images), reference(images))
    assert model[3].parametrizations.weight.original is exact
    model(images).square().mean().backward()
    reference(images).square().mean().backward()
    # Straight through: the gradient of the rounded weight is the gradient of the exact one.
    assert exact.grad is not None and torch.equal(exact.grad, reference[3].weight.grad)


def test_finishing_changes_no_answer_and_gives_codes_that_a_file_takes(tmp_path: Path) -> None:
    model = network()
    images, _ = examples()
    names = set(model.state_dict())
    start_qat(model, grids={"5": Grid(bits=8)})
    train(model, num_steps=3)
    model.eval()
    answer = model(images)

    weights = finish_qat(model)
    write_packed(tmp_path / "a", model, weights)
    fresh = network(seed=1).eval()
    load_packed(tmp_path / "a", fresh)

    assert torch.equal(model(images), answer) and torch.equal(fresh(images), answer)
    assert set(model.state_dict()) == names
    assert {name: weight.bits for name, weight in weights.items()} == {
        "0.weight": 4,
        "3.weight": 4,
        "5.weight": 8,
    }


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes_keep_theirs(tmp_path: Path, dtype: torch.dtype) -> None:
    model = network().to(dtype)
    images = examples()[0].to(dtype)
    start_qat(model, Grid(bits=8))
    answer = model(images)

    write_packed(tmp_path / "a", model, finish_qat(model))

    assert answer.dtype == dtype and torch.equal(model(images), answer)


def test_pruned_weights_stay_pruned_while_the_others_train() -> None:
    model = network()
    with torch.no_grad():
        model[3].weight[:, ::2] = 0
    before = model[3].weight.detach().clone()

    start_qat(model, Grid(bits=4))
    train(model, num_steps=5)
    weights = finish_qat(model)

    assert bool((model[3].weight[:, ::2] == 0).all())
    assert not torch.equal(model[3].weight[:, 1::2], before[:, 1::2])
    assert "3.weight" in weights


def test_weights_that_two_layers_share_are_left_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight

    result = start_qat(model)

    assert result.layers == ("2",)
    assert set(result.skipped) == {"0", "1"}


def test_a_module_that_is_called_twice_trains_on_one_grid() -> None:
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer)

    result = start_qat(model)
    model(torch.ones(2, 4)).sum().backward()
    weights = finish_qat(model)

    assert result.layers == ("0",) and list(weights) == ["0.weight"]


def test_what_cannot_be_trained_on_a_grid_is_refused_and_changes_nothing() -> None:
    model = network()
    with torch.no_grad():
        model[3].weight[:, ::2] = 0
    names = set(model.state_dict())

    with pytest.raises(CannotQuantizeError, match="3 is pruned"):
        start_qat(model, Grid(bits=4, scheme="minimum"))
    with pytest.raises(NothingToCompressError):
        start_qat(model, skip=["*"])
    with pytest.raises(ValueError, match="'nowhere'"):
        start_qat(model, grids={"nowhere": Grid(bits=8)})
    with pytest.raises(NothingToCompressError):
        finish_qat(model)
    with torch.no_grad():
        model[5].weight[0, 0] = float("nan")
    with pytest.raises(NonFiniteWeightError):
        start_qat(model)

    assert set(model.state_dict()) == names


def test_starting_twice_is_refused() -> None:
    model = network()
    start_qat(model)

    with pytest.raises(NothingToCompressError, match="parametrization"):
        start_qat(model)
