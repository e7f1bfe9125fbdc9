"""The steps of a job on an untrained model: what is impossible is found, what is possible passes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.calibration import NoModelInputError
from ayni.compress.config import CompressConfig, StepEntry
from ayni.compress.deploy.export import CannotExportError
from ayni.compress.retrain.distill import CannotDistillError
from ayni.compress.steps import DistillStep, PruneStep, QuantizeStep
from ayni.compress.structure.channels import CannotPruneError
from ayni.compress.trial import try_steps
from ayni.task import Task

PRUNE, DISTILL = StepEntry(prune=PruneStep()), StepEntry(distill=DistillStep())
QUANTIZE = StepEntry(quantize=QuantizeStep())


def attempt(task: Any, folder: Path, *steps: StepEntry) -> None:
    try_steps(task, CompressConfig(steps=steps), seed=0, folder=folder)


def altered(task: Any, **methods: Any) -> Any:
    return type("Altered", (type(task),), methods)()


def test_the_steps_that_a_network_with_convolutions_allows_pass(bars: Task, tmp_path: Path) -> None:
    before = torch.get_rng_state()

    attempt(bars, tmp_path, PRUNE, DISTILL, QUANTIZE)

    assert torch.equal(torch.get_rng_state(), before)


def test_the_steps_that_a_transformer_allows_pass(symbols: Task, tmp_path: Path) -> None:
    attempt(symbols, tmp_path, DISTILL, QUANTIZE)


def test_a_model_without_channels_to_lose_is_found(bars: Task, tmp_path: Path) -> None:
    task = altered(bars, build_model=lambda _: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))

    with pytest.raises(CannotPruneError, match="Remove `prune`"):
        attempt(task, tmp_path, PRUNE)


def test_a_model_without_classes_is_found(bars: Task, tmp_path: Path) -> None:
    task = altered(
        bars,
        build_model=lambda _: nn.Sequential(nn.Flatten(), nn.Linear(64, 1)),
        loss=lambda _, model, batch: model(batch[0]).square().mean(),
    )

    with pytest.raises(CannotDistillError, match="Remove `distill`"):
        attempt(task, tmp_path, DISTILL)


class Branching(nn.Module):
    """Which way it goes depends on the values: no graph says both."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.inner(image[None])[0] * (2 if image.sum() > 0 else 1) for image in images])


def test_a_model_without_a_graph_is_found(bars: Task, tmp_path: Path) -> None:
    task = altered(bars, build_model=lambda _: Branching())

    with pytest.raises(CannotExportError, match="leave `compress` out"):
        attempt(task, tmp_path, QUANTIZE)


def test_a_task_that_never_calls_its_model_with_one_tensor_is_found(bars: Task, tmp_path: Path) -> None:
    def evaluate(_self: Any, _model: Any, _batches: Iterable[Any]) -> Mapping[str, float]:
        return {"accuracy": 0.5}

    with pytest.raises(NoModelInputError):
        attempt(altered(bars, evaluate=evaluate), tmp_path, QUANTIZE)
