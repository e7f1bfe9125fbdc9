"""SparseGPT and GPTQ on whole models."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.inputs import ModelInputs
from ayni.compress.weights.grids import Grid
from ayni.compress.weights.layers import matrix_layers, weight_OI
from ayni.compress.weights.masks import NofM, PatternMismatchError, prune_by_magnitude
from ayni.compress.weights.second_order import (
    SecondOrderConfig,
    ZeroNotOnGridError,
    prune_and_round,
    prune_sparsegpt,
    quantize_gptq,
)
from ayni.compress.weights.statistics import CalibrationError

INT4 = Grid(bits=4, granularity="group", group_size=8)
PAPERS = SecondOrderConfig(
    mask="eliminate",
    refit_steps=0,
    by_activation=False,
    search_ranges=False,
    sweeps=0,
    correct_bias=False,
    follow_original=False,
)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 4))


def images() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 8, 1, groups=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * 16, 3),
    ).eval()  # fmt: skip


def batches(*shape: int, num_batches: int = 4) -> list[ModelInputs]:
    generator = torch.Generator().manual_seed(1)
    mix = torch.randn(shape[-1], shape[-1], generator=generator) / shape[-1] ** 0.5
    return [ModelInputs((torch.randn(*shape, generator=generator) @ mix + 0.5,)) for _ in range(num_batches)]


def error(model: nn.Module, other: nn.Module, inputs: list[ModelInputs]) -> float:
    with torch.no_grad():
        wanted = torch.cat([batch.run(other) for batch in inputs])
        return float((torch.cat([batch.run(model) for batch in inputs]) - wanted).norm() / wanted.norm())


def test_pruned_layers_answer_better_than_by_magnitude_and_each_option_helps() -> None:
    inputs, held_out = batches(64, 16), batches(64, 16, num_batches=6)[4:]
    by_config = {}
    for name, config in {
        "papers": PAPERS,
        "refit": replace(PAPERS, refit_steps=30),
        "alternate": replace(PAPERS, refit_steps=30, mask="alternate"),
        "default": SecondOrderConfig(),
    }.items():
        model = network()
        report = prune_sparsegpt(model, inputs, 0.5, config=config)
        by_config[name] = error(model, network(), held_out)
        assert report.pruned is not None and report.pruned.sparsity == 0.5
    magnitude = network()
    prune_by_magnitude(magnitude, 0.5)

    assert by_config["papers"] < error(magnitude, network(), held_out)
    assert by_config["default"] < by_config["alternate"] < by_config["refit"] < by_config["papers"]


def test_rounded_layers_answer_better_than_rounded_to_nearest() -> None:
    inputs, held_out = batches(64, 16), batches(64, 16, num_batches=6)[4:]
    by_config = {}
    for name, config in {"papers": PAPERS, "default": SecondOrderConfig()}.items():
        model = network()
        quantize_gptq(model, inputs, INT4, config=config)
        by_config[name] = error(model, network(), held_out)
    nearest = network()
    for layer in matrix_layers(nearest).values():
        weight = weight_OI(layer)
        parameters = INT4.fit(weight)
        weight.copy_(INT4.dequantize(INT4.quantize(weight, parameters), parameters))

    assert by_config["default"] < by_config["papers"] < error(nearest, network(), held_out)


@pytest.mark.parametrize("config", [PAPERS, SecondOrderConfig()], ids=["papers", "default"])
@pytest.mark.parametrize(
    "grid",
    [
        INT4,
        Grid(bits=4, granularity="group", group_size=5),
        Grid(bits=3, scheme="symmetric"),
        Grid(bits=8, granularity="tensor"),
        Grid(bits=2, scheme="minimum", granularity="group", group_size=16),
    ],
    ids=["groups", "uneven groups", "symmetric", "tensor", "minimum"],
)
def test_codes_and_scales_give_the_very_weights_of_the_layer(grid: Grid, config: SecondOrderConfig) -> None:
    model = network()

    report = quantize_gptq(model, batches(32, 16), grid, config=config)

    for name, layer in matrix_layers(model).items():
        parameters = report.parameters[name]
        codes = grid.quantize(weight_OI(layer), parameters)
        assert torch.equal(grid.dequantize(codes, parameters), weight_OI(layer))


@pytest.mark.parametrize("config", [PAPERS, SecondOrderConfig()], ids=["papers", "default"])
def test_pruned_and_rounded_weights_are_zero_and_on_the_grid(config: SecondOrderConfig) -> None:
    model = network()

    report = prune_and_round(model, batches(32, 16), NofM(kept=2, of=4), INT4, config=config)

    for name, layer in matrix_layers(model).items():
        weight = weight_OI(layer)
        assert ((weight != 0).unflatten(1, (-1, 4)).sum(-1) <= 2).all()
        codes = INT4.quantize(weight, report.parameters[name])
        assert torch.equal(INT4.dequantize(codes, report.parameters[name]), weight)
    assert report.pruned is not None and report.pruned.sparsity >= 0.5


@pytest.mark.parametrize(("pattern", "grid"), [(0.5, None), (None, INT4), (0.25, Grid(bits=4))])
def test_convolutions_with_groups_and_norms(pattern: float | None, grid: Grid | None) -> None:
    model, inputs = images(), batches(8, 4, 6, 6)

    report = prune_and_round(model, inputs, pattern, grid)

    assert set(report.error_by_layer) == {"0", "3", "5", "8"}
    assert error(model, images(), inputs) < 0.6
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_one_group_of_weights_alone_does_not_change_another_models_weights() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    report = prune_sparsegpt(model, batches(32, 16), 0.5, skip=["0", "4"])

    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"2.weight", "2.bias"}
    assert set(report.skipped) == {"0", "4"}


def test_a_bias_that_two_layers_share_stays() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[1].bias = model[0].bias
    before = model[0].bias.detach().clone()

    prune_sparsegpt(model, batches(32, 8), 0.5)

    assert torch.equal(model[0].bias, before)


def test_a_corrected_bias_keeps_the_mean_answer() -> None:
    model, inputs = nn.Linear(16, 8), batches(64, 16)
    with torch.no_grad():
        wanted = torch.cat([batch.run(model) for batch in inputs]).mean(0)

        prune_sparsegpt(model, inputs, 0.75)

        assert torch.allclose(torch.cat([batch.run(model) for batch in inputs]).mean(0), wanted, atol=1e-4)


def test_inputs_that_are_always_zero_are_pruned_first_and_rounded_to_nearest() -> None:
    inputs = [ModelInputs((torch.cat([torch.randn(64, 4), torch.zeros(64, 4)], 1),))]
    pruned, rounded = nn.Linear(8, 4, bias=False), nn.Linear(8, 4, bias=False)
    original = rounded.weight.detach().clone()

    report = prune_sparsegpt(pruned, inputs, 0.5)
    quantize_gptq(rounded, inputs, Grid(bits=8))

    assert (pruned.weight[:, 4:] == 0).all() and (pruned.weight[:, :4] != 0).all()
    assert report.error_by_layer[""] < 1e-3
    assert (rounded.weight[:, 4:] - original[:, 4:]).abs().max() < 0.01


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_dtype_stays(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).to(dtype)
    inputs = [ModelInputs((torch.randn(32, 8).to(dtype),))]

    prune_and_round(model, inputs, 0.5, Grid(bits=4))

    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert int((model[0].weight == 0).sum()) >= 32


def test_fewer_rows_than_inputs_and_a_single_weight_are_enough() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 40), nn.Linear(40, 2))

    prune_and_round(model, [ModelInputs((torch.ones(1, 1),))], 0.5, Grid(bits=4))

    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_weights_that_are_all_zero_stay_so() -> None:
    model = nn.Linear(8, 4)
    nn.init.zeros_(model.weight)

    report = prune_and_round(model, batches(32, 8), 0.5, INT4)

    assert (model.weight == 0).all()
    assert report.error_by_layer == {"": 0.0}


def test_the_same_call_gives_the_same_weights() -> None:
    one, other = network(), network()

    prune_and_round(one, batches(32, 16), 0.5, INT4)
    prune_and_round(other, batches(32, 16), 0.5, INT4)

    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("changes", "error_class"),
    [
        ({"grid": Grid(bits=4, scheme="minimum")}, ZeroNotOnGridError),
        ({"pattern": 1.0}, ValueError),
        ({"pattern": NofM(kept=2, of=5)}, PatternMismatchError),
        ({"inputs": []}, CalibrationError),
    ],
)
def test_what_does_not_apply_is_refused_and_changes_nothing(
    changes: dict[str, Any], error_class: type[Exception]
) -> None:
    model = network()
    arguments = {"inputs": batches(32, 16), "pattern": 0.5, "grid": INT4, **changes}

    with pytest.raises(error_class):
        prune_and_round(model, **arguments)

    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), network().parameters(), strict=True))


def test_configs_that_cannot_be_are_refused() -> None:
    for wrong in ({"damping": -1.0}, {"block_columns": 0}, {"sweeps": -1}, {"refit_steps": -1}):
        with pytest.raises(ValueError, match="not"):
            SecondOrderConfig(**wrong)  # type: ignore[arg-type]
