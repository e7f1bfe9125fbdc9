"""Tasks that train in milliseconds: on which side of a plane a point lies. With BatchNorm and noise."""

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


class Tiny:
    num_train = 96
    seconds_per_step = 0.0

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))

    def dataset(self, split: str) -> list:
        rng = np.random.default_rng(len(split))
        points = rng.normal(size=(self.num_train if split == "train" else 40, 4)).astype("float32")
        return [(point, int(point.sum() > 0)) for point in points]

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        inputs, labels = batch
        time.sleep(self.seconds_per_step)
        noisy = inputs + 0.01 * torch.randn_like(inputs) + 0.01 * float(np.random.normal())
        return nn.functional.cross_entropy(model(noisy), labels)

    def evaluate(self, model: nn.Module, batches: Iterable) -> dict:
        right = [(model(inputs).argmax(1) == labels) for inputs, labels in batches]
        return {"accuracy": torch.cat(right).float().mean().item()}

    def example_input(self) -> torch.Tensor:
        return torch.zeros(1, 4)


class Slow(Tiny):
    seconds_per_step = 0.05


class SlowToBuild(Tiny):
    def dataset(self, split: str) -> list:
        time.sleep(1.5)
        return super().dataset(split)


class Empty(Tiny):
    num_train = 0


class Exploding(Tiny):
    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        return super().loss(model, batch) * float("nan")


class SlowAndNotEverywhere(Slow):
    """Its data are not on every machine."""

    def dataset(self, split: str) -> list:
        if "TINY_DATA_ARE_MISSING" in os.environ:
            raise FileNotFoundError("points.csv")
        return super().dataset(split)


class Raising(Tiny):
    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        raise KeyError("label")


class Vector(Tiny):
    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        return model(batch[0])


class Constant(Tiny):
    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        return torch.tensor(1.0)


class BadMetrics(Tiny):
    def evaluate(self, model: nn.Module, batches: Iterable) -> dict:
        return {"accuracy": "high"}


class HalfUndefined(Tiny):
    def evaluate(self, model: nn.Module, batches: Iterable) -> dict:
        return {**super().evaluate(model, batches), "f1": float("nan")}


class Wider(Tiny):
    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 2))


class Large(Tiny):
    """36 MB of float32, more than is lent or sent at once."""

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 1000), nn.ReLU(), nn.Linear(1000, 9000), nn.Linear(9000, 2))


class Plain(Tiny):
    """No noise and no BatchNorm, so that means over batches are exact."""

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])


class Half(Plain):
    """Parameters in half precision."""

    def build_model(self) -> nn.Module:
        return super().build_model().to(torch.bfloat16)

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch[0].to(torch.bfloat16)).float(), batch[1])


class HalfFrozen(Plain):
    """Only the last layer learns."""

    def build_model(self) -> nn.Module:
        model = super().build_model()
        model[0].requires_grad_(False)
        return model


class Killing(Tiny):
    """Its process dies whenever a loss is computed."""

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(model, batch)


class KillingData(Tiny):
    """Its process dies when a worker loads the data; the coordinator is spared."""

    def dataset(self, split: str) -> list:
        if "spawn_main" in Path("/proc/self/cmdline").read_text():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().dataset(split)
