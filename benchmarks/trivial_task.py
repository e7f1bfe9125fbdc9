"""Tasks whose work is next to nothing, for benchmarks of what happens around the work.

A step adds 1 to every parameter, which is what the compared system's clients do as well. The parameters
are no part of the loss's graph, so that the optimizer has nothing to do with them.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import nn

TENSOR_SIZE = 1_000_000


class Weights(nn.Module):
    """Parameters in tensors of a million, and one that the loss depends on."""

    def __init__(self, num_parameters: int) -> None:
        super().__init__()
        sizes = [TENSOR_SIZE] * (num_parameters // TENSOR_SIZE)
        self.weights = nn.ParameterList([nn.Parameter(torch.zeros(size)) for size in sizes])
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.offset


class _Trivial:
    num_parameters: int

    def build_model(self) -> nn.Module:
        return Weights(self.num_parameters)

    def dataset(self, split: str) -> list[torch.Tensor]:
        return [torch.zeros(1)] * (1000 if split == "train" else 1)

    def loss(self, model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        """Adds 1 to each weight; its own value is zero."""
        assert isinstance(model, Weights)
        with torch.no_grad():
            for weight in model.weights:
                weight.add_(1)
        value: torch.Tensor = model(batch).mean() * 0
        return value

    def evaluate(self, model: nn.Module, batches: Iterable[torch.Tensor]) -> Mapping[str, float]:
        """What the weights reached: the number of rounds, when each takes one step and the mean is taken."""
        assert isinstance(model, Weights)
        return {"reached": float(model.weights[-1][-1])}

    def example_input(self) -> torch.Tensor:
        return torch.zeros(1, 1)


class FiveMillion(_Trivial):
    """20 MB of float32."""

    num_parameters = 5_000_000


class HundredMegabytes(_Trivial):
    """100 MB of float32."""

    num_parameters = 25_000_000
