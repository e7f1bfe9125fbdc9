"""Inputs as parts that can be taken away: pixels of an image, symbols of a text, numbers of a row.

Legend: N examples, P parts of one input, `...` the shape of one input.

A pixel is one part in all its channels. Parts that equal the reference carry nothing, so that taking
them away is no test of anything: they take part in no comparison.

Not covered: groups of pixels (superpixels), words of several symbols.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Inputs [N, ...] and the value that stands for a part that is gone."""

    inputs: torch.Tensor
    reference: float

    @property
    def carries(self) -> torch.Tensor:
        """Which parts differ from the reference, [N, P]."""
        differs = self.inputs != self.reference
        return (differs.any(1) if self._has_channels else differs).flatten(1)

    def scores(self, values: torch.Tensor) -> torch.Tensor:
        """Attributions [N, ...] of inputs as one number for each part [N, P]: channels add up."""
        return (values.sum(1) if self._has_channels else values).flatten(1)

    def without(self, hidden_NP: torch.Tensor) -> torch.Tensor:
        """The inputs with the hidden parts replaced by the reference."""
        shape = self.inputs[:, :1].shape if self._has_channels else self.inputs.shape
        return self.inputs.masked_fill(hidden_NP.view(shape), self._value)

    @property
    def numbers(self) -> torch.Tensor:
        """The number of the part that each value belongs to, in the shape of one input [1, ...]."""
        shape = self.inputs[:1, :1].shape if self._has_channels else self.inputs[:1].shape
        return torch.arange(shape.numel()).view(shape).expand_as(self.inputs[:1])

    @property
    def blank(self) -> torch.Tensor:
        """Inputs [N, ...] without any part."""
        return torch.full_like(self.inputs, self._value)

    @property
    def _has_channels(self) -> bool:
        return self.inputs.dim() == 4

    @property
    def _value(self) -> float:
        return self.reference if self.inputs.is_floating_point() else int(self.reference)
