"""Signed attributions: how much each part of an input speaks for an answer, or against it.

What the methods in `captum_methods.py` share: which decision is explained, against which reference, and
what a method is. Absolute values are never taken: they make the maps of a trained and of an untrained
model look alike, because blank parts get 0 in both.

Legend: N examples, C classes, T places of a sequence, `...` the shape of one input.

Not covered: models with several inputs, outputs that are not logits over classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ayni.explain.parts import Parts

ROWS_AT_ONCE = 128
REFERENCE = 0.0

MethodKey = Literal["integrated_gradients", "ablation", "deeplift", "gradcam", "layer_integrated_gradients"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to attribute, fitted to one kind of input and model.

    Attributes:
        key: as a job names it.
        sentence: the same in words, with its settings.
        is_complete: its attributions promise to add up to f(x) - f(reference).
        passes: what an example costs, in forward passes (a backward pass counts as two).
        attribute: from a model in evaluation mode, inputs [N, ...] and classes [N] to signed values in the
            shape of the inputs. The model's parameters and their gradients stay as they are.
        blank_logits: the logits [N, C] that the sum starts from: of inputs without any part.
    """

    key: MethodKey
    sentence: str
    is_complete: bool
    passes: int
    attribute: Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]
    blank_logits: Callable[[nn.Module, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributed:
    """Inputs, the answers that are explained, their attributions, and the method that made them."""

    parts: Parts
    values: torch.Tensor
    classes: torch.Tensor
    method: Method

    def first(self, count: int) -> "Attributed":
        """The same of the first examples."""
        return Attributed(
            parts=Parts(inputs=self.parts.inputs[:count], reference=self.parts.reference),
            values=self.values[:count],
            classes=self.classes[:count],
            method=self.method,
        )


class LastPlace(nn.Module):
    """A model whose output is the logits [N, C] of the decision that is explained."""

    def __init__(self, model: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the last place of a sequence."""
        return class_logits(self.model(x))


def why_not_attributable(logits: torch.Tensor, inputs: torch.Tensor) -> str:
    """Why these outputs cannot be explained; empty when they can."""
    if inputs.is_complex() or inputs.dtype == torch.bool:
        return f"inputs are {inputs.dtype}"
    if not isinstance(logits, torch.Tensor) or logits.dim() not in (2, 3) or len(logits) != len(inputs):
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        return f"the output {shape} is neither [N, C] nor [N, T, C]"
    if logits.shape[-1] < 2:
        return "the output has a single value, so there is no class to explain"
    return ""


def class_logits(output: torch.Tensor) -> torch.Tensor:
    """Logits [N, C] of the decision that is explained: of a sequence [N, T, C] the one at its last place."""
    return output[:, -1] if output.dim() == 3 else output


def logits_in_batches(model: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    """Logits [N, C] of the decision that is explained, without gradients."""
    with torch.no_grad():
        return torch.cat(
            [
                class_logits(model(inputs[first : first + ROWS_AT_ONCE])).float().cpu()
                for first in range(0, len(inputs), ROWS_AT_ONCE)
            ]
        )


def class_probabilities(model: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    """Softmax [N, C] of the decision that is explained, without gradients."""
    return logits_in_batches(model, inputs).softmax(-1)


def reference_of(model: nn.Module, inputs: torch.Tensor) -> float:
    """What stands for a part that is gone: 0, or of symbols the one that the model takes for padding."""
    if inputs.is_floating_point():
        return REFERENCE
    paddings = [each.padding_idx for each in model.modules() if isinstance(each, nn.Embedding)]
    return next((float(each) for each in paddings if each is not None), REFERENCE)
