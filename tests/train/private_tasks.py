"""Tasks for differential privacy: ones that keep examples apart, and ones that mix them in all known ways."""

from typing import Any

import torch
from tiny_task import HalfFrozen, Large, Plain, Tiny
from torch import nn

__all__ = ["HalfFrozen", "Large", "Plain", "Tiny"]


class ExplodingApart(Plain):
    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        return super().loss(model, batch) * float("nan")


class RaisingApart(Plain):
    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        raise KeyError("label")


class _WithBuffer(nn.Module):
    """Has a parameter and a buffer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 2))
        self.register_buffer("scale", torch.ones(2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = inputs @ self.weight * self.scale
        return found


class WithBuffer(Plain):
    def build_model(self) -> nn.Module:
        return _WithBuffer()


class Apart(Plain):
    """Linear layers, a dropout, and noise of its own for each example."""

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        noisy = batch[0] + 0.05 * torch.randn_like(batch[0])
        return nn.functional.cross_entropy(model(noisy), batch[1])


class Mixed(Plain):
    """Mixup within the batch."""

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        inputs, labels = batch
        order = torch.randperm(len(inputs))
        found = model(0.5 * inputs + 0.5 * inputs[order])
        return nn.functional.cross_entropy(found, labels)


class Contrastive(Plain):
    """A loss that compares the examples of a batch."""

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        found = model(batch[0])
        return nn.functional.cross_entropy(found @ found.T, torch.arange(len(found)))


class _Normalised(nn.Module):
    """Normalises over the batch by hand, where no validator looks."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.linear(inputs)
        return (found - found.mean(0)) / (found.std(0) + 1e-3)


class HandMade(Plain):
    def build_model(self) -> nn.Module:
        return _Normalised()


class _Following(nn.Module):
    """Keeps a running mean of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            self.mean.lerp_(inputs.mean(0), 0.1)
        found: torch.Tensor = self.linear(inputs)
        return found


class Following(Plain):
    def build_model(self) -> nn.Module:
        return _Following()


class _Tied(nn.Module):
    """Uses a weight outside of the layer that owns it, beside the layer's own use."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.last = nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.first(inputs))
        found: torch.Tensor = self.last(hidden @ self.first.weight)
        return found


class Tied(Plain):
    def build_model(self) -> nn.Module:
        return _Tied()


class _Flattened(nn.Module):
    """Two halves of an example as two rows of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.linear(inputs.reshape(-1, 2))
        return found.reshape(-1, 2, 2).sum(1)


class Flattened(Plain):
    def build_model(self) -> nn.Module:
        return _Flattened()


class Recurrent(Plain):
    """A recurrent layer, which Opacus replaces by its own."""

    def build_model(self) -> nn.Module:
        return nn.LSTM(4, 2)


class Frozen(Tiny):
    """BatchNorm without parameters of its own, which Opacus' validator passes over."""

    def build_model(self) -> nn.Module:
        return nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8, affine=False, track_running_stats=False), nn.Linear(8, 2)
        )
