"""The attribution methods, computed by Captum: each says why it does not fit a model, or how to use it.

    key                           needs                         a_i
    integrated_gradients          numbers, gradients            (x_i - r_i) mean of df/dx_i from r to x
    layer_integrated_gradients    symbols and an embedding      the same on embeddings, summed for each symbol
    deeplift                      numbers, known modules        difference from r, carried back by its rules
    gradcam                       images and a convolution      sum over channels of mean(df/dA) A, enlarged
    ablation                      any input                     f(x) - f(x with part i replaced by r)

A method is refused by what the model does on one example, so that modules that are not used do not matter.

Source: Sundararajan, Taly, Yan, "Axiomatic attribution for deep networks", ICML 2017, arXiv:1703.01365;
Shrikumar, Greenside, Kundaje, "Learning important features through propagating activation differences",
ICML 2017, arXiv:1704.02685 (rescale rule); Selvaraju et al., "Grad-CAM", ICCV 2017, arXiv:1610.02391.
Ours differs from the last in that negative values stay: parts may speak against an answer.

Not covered: layers of one's own choice, guided backpropagation (it passes no randomisation test), Shapley
sampling (some twenty times the cost of integrated gradients for the same curves).
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ayni.errors import MissingExtraError
from ayni.explain.attribution import (
    ROWS_AT_ONCE,
    LastPlace,
    Method,
    MethodKey,
    class_logits,
    reference_of,
)
from ayni.explain.model_calls import UnfitMethodError, calls_of, need_rules
from ayni.explain.parts import Parts

INTEGRATION_STEPS = 50
PASSES_WITH_GRADIENT = 3
EXAMPLES_AT_ONCE = 32
Fit = Callable[[nn.Module, torch.Tensor], Method]
"""From a model and one input [1, ...] to a method. Raises UnfitMethodError."""


def integrated_gradients(model: nn.Module, example: torch.Tensor) -> Method:
    """Along the straight line from zeros: 50 gradients an example."""
    _need_float(example)
    _need_gradient(model, example)

    def attribute(model: nn.Module, inputs: torch.Tensor, classes_N: torch.Tensor) -> torch.Tensor:
        engine = _captum().IntegratedGradients(LastPlace(model))
        return _in_chunks(
            lambda x, target: engine.attribute(
                x,
                baselines=reference_of(model, x),
                target=target,
                n_steps=INTEGRATION_STEPS,
                internal_batch_size=ROWS_AT_ONCE,
            ),
            inputs,
            classes_N,
        )

    return Method(
        key="integrated_gradients",
        sentence=f"integrated gradients ({INTEGRATION_STEPS} steps, reference 0), signed",
        is_complete=True,
        passes=PASSES_WITH_GRADIENT * INTEGRATION_STEPS,
        attribute=attribute,
        blank_logits=_blank_logits,
    )


def layer_integrated_gradients(model: nn.Module, example: torch.Tensor) -> Method:
    """Integrated gradients on what the first embedding makes of the symbols."""
    if example.is_floating_point():
        raise UnfitMethodError("inputs are numbers, not symbols")
    name = _embedding_of_symbols(model, example)
    reference = int(reference_of(model, example))
    try:
        with torch.no_grad():
            model(torch.full_like(example, reference))
    except Exception as error:  # of the user's model
        raise UnfitMethodError(
            f"the model fails on a text of nothing but the symbol {reference} ({type(error).__name__})"
        ) from error

    def attribute(model: nn.Module, inputs: torch.Tensor, classes_N: torch.Tensor) -> torch.Tensor:
        layer = model.get_submodule(name)
        engine = _captum().LayerIntegratedGradients(LastPlace(model), layer)
        return _in_chunks(
            lambda x, target: engine.attribute(
                x,
                baselines=torch.full_like(x, reference),
                target=target,
                n_steps=INTEGRATION_STEPS,
                internal_batch_size=ROWS_AT_ONCE,
            ).sum(-1),
            inputs,
            classes_N,
        )

    def blank_logits(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        # The symbols stay for whatever else looks at them, a mask of the padding say: so does the integral.
        layer = model.get_submodule(name)

        def blank(_: nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            return (torch.full_like(args[0], reference),)

        handle = layer.register_forward_pre_hook(blank)
        try:
            return class_logits(model(inputs))
        finally:
            handle.remove()

    return Method(
        key="layer_integrated_gradients",
        sentence=(
            f"integrated gradients on the embedding {name} ({INTEGRATION_STEPS} steps, "
            f"reference symbol {reference}), signed"
        ),
        is_complete=True,
        passes=PASSES_WITH_GRADIENT * INTEGRATION_STEPS,
        attribute=attribute,
        blank_logits=blank_logits,
    )


def ablation(model: nn.Module, example: torch.Tensor) -> Method:
    """One part after the other is replaced; a pixel in all its channels."""
    reference = reference_of(model, example)

    def attribute(model: nn.Module, inputs: torch.Tensor, classes_N: torch.Tensor) -> torch.Tensor:
        parts = Parts(inputs=inputs[:1], reference=reference)
        mask = parts.numbers
        engine = _captum().FeatureAblation(LastPlace(model))

        def attribute_chunk(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                found: torch.Tensor = engine.attribute(
                    x,
                    baselines=reference if x.is_floating_point() else int(reference),
                    target=target,
                    feature_mask=mask,
                    perturbations_per_eval=max(1, ROWS_AT_ONCE // len(x)),
                )
            # Captum gives each channel the whole of its pixel.
            return found / (mask.numel() // (int(mask.max()) + 1))

        return _in_chunks(attribute_chunk, inputs, classes_N)

    return Method(
        key="ablation",
        sentence=f"ablation (each part replaced by {reference:g}), signed",
        is_complete=False,
        passes=int(Parts(inputs=example, reference=reference).numbers.max()) + 2,
        attribute=attribute,
        blank_logits=_blank_logits,
    )


def deeplift(model: nn.Module, example: torch.Tensor) -> Method:
    """Differences from an input of zeros, carried back by the rescale rule."""
    _need_float(example)
    _need_gradient(model, example)
    need_rules(model, example)

    def attribute(model: nn.Module, inputs: torch.Tensor, classes_N: torch.Tensor) -> torch.Tensor:
        engine = _captum().DeepLift(LastPlace(model))

        def attribute_chunk(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            with warnings.catch_warnings():
                # That it sets hooks, and takes them away again.
                warnings.simplefilter("ignore", UserWarning)
                found: torch.Tensor = engine.attribute(x, baselines=torch.zeros_like(x), target=target)
            return found

        return _in_chunks(attribute_chunk, inputs, classes_N)

    return Method(
        key="deeplift",
        sentence="DeepLift (rescale rule, reference 0), signed",
        is_complete=True,
        passes=2 * PASSES_WITH_GRADIENT,
        attribute=attribute,
        blank_logits=_blank_logits,
    )


def gradcam(model: nn.Module, example: torch.Tensor) -> Method:
    """Where the last convolution that still has places speaks for the answer; coarse, then enlarged."""
    if example.dim() != 4 or not example.is_floating_point():
        raise UnfitMethodError(
            f"inputs of shape {tuple(example.shape[1:])} are no images [channels, height, width]"
        )
    _need_gradient(model, example)
    name, places = _last_convolution(model, example)

    def attribute(model: nn.Module, inputs: torch.Tensor, classes_N: torch.Tensor) -> torch.Tensor:
        engine = _captum().LayerGradCam(LastPlace(model), model.get_submodule(name))

        def attribute_chunk(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            coarse = engine.attribute(x, target=target, relu_attributions=False)
            fine = functional.interpolate(coarse, size=x.shape[2:], mode="bilinear", align_corners=False)
            return fine.expand_as(x) / x.shape[1]

        return _in_chunks(attribute_chunk, inputs, classes_N)

    return Method(
        key="gradcam",
        sentence=f"Grad-CAM of {name} ({places[0]} x {places[1]} places), signed",
        is_complete=False,
        passes=PASSES_WITH_GRADIENT,
        attribute=attribute,
        blank_logits=_blank_logits,
    )


FITS: Mapping[MethodKey, Fit] = {
    "integrated_gradients": integrated_gradients,
    "layer_integrated_gradients": layer_integrated_gradients,
    "deeplift": deeplift,
    "gradcam": gradcam,
    "ablation": ablation,
}


def _captum() -> Any:
    try:
        import captum.attr
    except ImportError as error:
        raise MissingExtraError(extra="explain", package="captum") from error
    return captum.attr


def _in_chunks(
    attribute: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    inputs: torch.Tensor,
    classes_N: torch.Tensor,
) -> torch.Tensor:
    found = [
        attribute(inputs[first : first + EXAMPLES_AT_ONCE], classes_N[first : first + EXAMPLES_AT_ONCE])
        for first in range(0, len(inputs), EXAMPLES_AT_ONCE)
    ]
    return torch.cat(found).detach().float()


def _blank_logits(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    return class_logits(model(Parts(inputs=inputs, reference=reference_of(model, inputs)).blank))


def _need_float(example: torch.Tensor) -> None:
    if not example.is_floating_point():
        raise UnfitMethodError(
            "inputs are symbols, and there is no gradient with respect to a number of a symbol"
        )


def _need_gradient(model: nn.Module, example: torch.Tensor) -> None:
    x = example.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            logits = class_logits(model(x))
            found = torch.autograd.grad(logits.sum(), x, allow_unused=True)[0]
    except RuntimeError as error:
        raise UnfitMethodError(f"the model has no gradient ({error})") from error
    if found is None:
        raise UnfitMethodError("the model has no gradient with respect to its input")


def _embedding_of_symbols(model: nn.Module, example: torch.Tensor) -> str:
    calls = [call for call in calls_of(model, example) if isinstance(call[1], nn.Embedding)]
    names = [name for name, _, args, _ in calls if args and torch.equal(args[0], example)]
    if not names:
        raise UnfitMethodError("no nn.Embedding of the model looks up the symbols of the input")
    if len({*names}) < len([name for name, *_ in calls if name in names]):
        raise UnfitMethodError(f"the embedding {names[0]} is used more than once in a pass")
    return names[0]


def _last_convolution(model: nn.Module, example: torch.Tensor) -> tuple[str, tuple[int, int]]:
    calls = calls_of(model, example)
    for name, module, _, output in reversed(calls):
        is_used_once = sum(each is module for _, each, *_ in calls) == 1
        if isinstance(module, nn.Conv2d) and is_used_once and output.dim() == 4 and min(output.shape[2:]) > 1:
            return name, (int(output.shape[2]), int(output.shape[3]))
    raise UnfitMethodError("no nn.Conv2d of the model has more than one place")
