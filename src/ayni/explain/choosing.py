"""Which method explains this model: the one that was asked for, or the first that fits.

    auto, float inputs:    integrated gradients, else ablation
    auto, symbols:         integrated gradients on the embedding, else ablation

Not covered: choosing by which method passes its checks best; the check would judge its own choice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ayni.errors import UserError
from ayni.explain.attribution import Method, MethodKey
from ayni.explain.captum_methods import FITS, Fit
from ayni.explain.model_calls import UnfitMethodError

Wanted = Literal[
    "auto", "integrated_gradients", "ablation", "deeplift", "gradcam", "layer_integrated_gradients"
]


class MethodDoesNotFitError(UserError):
    """A method was asked for by name that cannot explain this model."""

    def __init__(self, *, method: str, reason: str, fitting: Sequence[str]) -> None:
        self.method = method
        self.reason = reason
        self.fitting = tuple(fitting)
        super().__init__(
            f"explain.method {method} does not fit this model: {reason}. "
            f"What fits: auto, {', '.join(fitting)}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A method, and in a sentence why it is not the usual one; empty when it is."""

    method: Method
    note: str = ""


def choose_method(model: nn.Module, example: torch.Tensor, wanted: Wanted) -> Chosen:
    """The method for this model and inputs like this one.

    Args:
        model: In evaluation mode.
        example: One input [1, ...].
        wanted: A method by name, or auto.

    Raises:
        MethodDoesNotFitError: it was asked for by name and does not fit.
        MissingExtraError: Captum is not installed.
    """
    usual: MethodKey = "integrated_gradients" if example.is_floating_point() else "layer_integrated_gradients"
    key = usual if wanted == "auto" else wanted
    try:
        return Chosen(method=FITS[key](model, example))
    except UnfitMethodError as error:
        if wanted != "auto":
            raise MethodDoesNotFitError(
                method=wanted, reason=str(error), fitting=list(fitting_methods(model, example))
            ) from error
        return Chosen(
            method=FITS["ablation"](model, example),
            note=f"Explained by ablation, because {key} does not fit: {error}.",
        )


def fitting_methods(model: nn.Module, example: torch.Tensor) -> Mapping[MethodKey, Method]:
    """Every method that fits this model and inputs like this one [1, ...]."""
    found = {key: _fitted(fit, model, example) for key, fit in FITS.items()}
    return {key: method for key, method in found.items() if method is not None}


def _fitted(fit: Fit, model: nn.Module, example: torch.Tensor) -> Method | None:
    try:
        return fit(model, example)
    except UnfitMethodError:
        return None
