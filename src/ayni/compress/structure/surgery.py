"""Exchange parts of a model, and prove that it answers as it should.

Not covered: models whose answers differ from call to call in evaluation mode.
"""

from collections.abc import Mapping

import torch
from torch import nn

from ayni.compress.deploy.outputs import named_tensors
from ayni.compress.inputs import ModelInputs
from ayni.compress.structure.restore import traced

TOLERANCE_FULL = 1e-3
"""Largest difference that rounding explains, as a share of the largest answer; float32 and float64."""
TOLERANCE_HALF = 5e-2
"""The same for bfloat16 and float16, which keep two to three digits."""


def answers(model: nn.Module, inputs: ModelInputs) -> dict[str, torch.Tensor]:
    """Copies of the tensors that the model answers with, in evaluation mode and without gradients.

    Raises:
        NoTensorOutputError: there is none.
    """
    with traced(model), torch.no_grad():
        return {name: tensor.clone() for name, tensor in named_tensors(inputs.run(model)).items()}


def difference_between(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> str | None:
    """In what two answers differ by more than rounding; None if in nothing.

    Compared is max |found - wanted| with the tolerance times max |wanted|, over places where both are finite;
    infinities and NaN, as of masked places, must be at the same ones.
    """
    for name, right in wanted.items():
        answer = found.get(name)
        if answer is None or answer.shape != right.shape:
            return f"its {name} has the shape {None if answer is None else tuple(answer.shape)}"
        is_finite = torch.isfinite(right)
        if not torch.equal(is_finite, torch.isfinite(answer)):
            return f"its {name} is not finite"
        if not bool(is_finite.any()):
            continue
        difference = float((answer.double() - right.double())[is_finite].abs().max())
        size = float(right.double()[is_finite].abs().max())
        is_half = right.dtype in (torch.bfloat16, torch.float16)
        if difference > (TOLERANCE_HALF if is_half else TOLERANCE_FULL) * size:
            return f"its {name} is off by {difference:.2g}, where the largest value is {size:.2g}"
    return None


def replace_everywhere(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put `new` in each place of the model where `old` is."""
    for module in list(model.modules()):
        for name, child in module._modules.items():
            if child is old:
                module._modules[name] = new
