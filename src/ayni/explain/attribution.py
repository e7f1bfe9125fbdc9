"""Signed attributions: how much each part of an input speaks for an answer, or against it.

Float inputs get integrated gradients, integer inputs (characters, tokens) get ablation, because there
is no gradient with respect to a number of a symbol.

Legend: N examples, C classes, T places of a sequence, `...` the shape of one input.

Source: Sundararajan, Taly, Yan, "Axiomatic attribution for deep networks", ICML 2017,
arXiv:1703.01365; computed by Captum. Absolute values are never taken: they make the maps of a
trained and of an untrained model look alike, because blank parts get 0 in both.

Not covered: models with several inputs, outputs that are not logits over classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ayni.errors import MissingExtraError

INTEGRATION_STEPS = 50
ROWS_AT_ONCE = 128
REFERENCE = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributions:
    """One signed value for each part of each input, in the shape of the inputs."""

    values: torch.Tensor
    method: str


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


def attribute(model: nn.Module, inputs: torch.Tensor, classes_N: torch.Tensor) -> Attributions:
    """Attributions of the logits of the given classes, against an input of zeros.

        float:    a_i = (x_i - r_i) * mean over s of  d f_c(r + s (x - r)) / d x_i
        integer:  a_i = f_c(x) - f_c(x with part i replaced by r)

    Integrated gradients add up to f_c(x) - f_c(r), ablations need not. `model` must be in evaluation
    mode; its parameters and their gradients stay as they are.

    Cost: 50 forward and backward passes an example; ablation one forward pass for each part.

    Raises:
        MissingExtraError: Captum is not installed.
    """
    try:
        from captum.attr import FeatureAblation, IntegratedGradients
    except ImportError as error:
        raise MissingExtraError(extra="explain", package="captum") from error

    def forward(x: torch.Tensor) -> torch.Tensor:
        return class_logits(model(x))

    if inputs.is_floating_point():
        values = IntegratedGradients(forward).attribute(
            inputs,
            baselines=REFERENCE,
            target=classes_N,
            n_steps=INTEGRATION_STEPS,
            internal_batch_size=max(ROWS_AT_ONCE, len(inputs)),
        )
        method = f"integrated gradients ({INTEGRATION_STEPS} steps, reference 0), signed"
    else:
        with torch.no_grad():
            values = FeatureAblation(forward).attribute(
                inputs,
                baselines=REFERENCE,
                target=classes_N,
                perturbations_per_eval=max(1, ROWS_AT_ONCE // len(inputs)),
            )
        method = "ablation (each part replaced by symbol 0), signed"
    return Attributions(values=values.detach().float(), method=method)


def class_probabilities(model: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    """Softmax [N, C] of the decision that is explained, without gradients, in batches."""
    with torch.no_grad():
        batches = [
            class_logits(model(inputs[first : first + ROWS_AT_ONCE])).float().softmax(-1).cpu()
            for first in range(0, len(inputs), ROWS_AT_ONCE)
        ]
    return torch.cat(batches)
