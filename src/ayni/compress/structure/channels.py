"""Structured pruning: whole channels go, in every layer that depends on them.

torch-pruning follows a channel through the graph of the model (batch norm, skip connections,
concatenations), so that the result is a smaller dense model and not a mask.

Layers around an attention with several heads keep their channels: cut anywhere, a model would run and its
heads would be shifted against each other. Whole heads are what `ayni.compress.structure.heads` removes.

Not covered: unstructured sparsity, which makes files no smaller and CPUs no faster; models whose forward
pass cannot be traced; channels inside recurrent layers; attention that is written without softmax or
scaled_dot_product_attention, whose heads this file cannot see.
"""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from ayni.compress.deploy.outputs import NoTensorOutputError, named_tensors
from ayni.compress.inputs import ModelInputs
from ayni.compress.structure.attention import find_attentions
from ayni.compress.structure.layer_graph import nearest_layers, reparametrized_layers, weight_owners
from ayni.compress.structure.restore import traced, unchanged_on_failure
from ayni.compress.weights.layers import tied_names
from ayni.errors import MissingExtraError, UserError

_SIZED = (nn.Linear, nn.modules.conv._ConvNd)


class CannotPruneError(UserError):
    """The model cannot lose channels."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"This model cannot be pruned: {reason}. Remove `prune` from compress.steps; "
            "quantize needs no change of shape and works without it."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelPruning:
    """What `cut_channels` did.

    widths: output channels before and after, of each layer that lost some.
    kept_whole: layers that were not to lose any, and why.
    """

    parameters_before: int
    parameters_after: int
    widths: Mapping[str, tuple[int, int]]
    kept_whole: Mapping[str, str]


def prune_channels(
    model: nn.Module, example_input: torch.Tensor | ModelInputs, *, channels: float
) -> nn.Module:
    """Remove the fraction `channels` of every layer's output channels, lowest magnitude first. In place.

    `cut_channels` without its report and its options; returns the model, in evaluation mode.

    Raises:
        CannotPruneError: the model cannot be traced, no channel can go, or the result does not run.
    """
    cut_channels(model, example_input, channels=channels)
    return model.eval()


def cut_channels(
    model: nn.Module,
    example_input: torch.Tensor | ModelInputs,
    *,
    channels: float,
    skip: Sequence[str] = (),
    multiple_of: int = 1,
    across_layers: bool = False,
) -> ChannelPruning:
    """Remove the fraction `channels` of every layer's output channels, lowest magnitude first. In place.

        importance of a channel = mean over its coupled layers of its L2 norm, normalised by layer
        a layer with C channels keeps floor(C * (1 - channels)); one that would keep none is left whole

    The layers that make the output keep theirs. The result is a function of the weights: pruning the
    same weights twice removes the same channels. Parameters are new objects: make optimizers afterwards.
    Cost: three forward passes of the example.

    Source: Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, arXiv:2301.12900.

    Args:
        model: is left as it was if anything goes wrong.
        example_input: as the model is called; a tensor, or ModelInputs for several inputs.
        channels: fraction between 0 and 1.
        skip: patterns as of a shell of layers that keep their channels ("head.*").
        multiple_of: widths are rounded down to multiples of it, which some kernels want.
        across_layers: rank the channels of all layers together, so that `channels` is the fraction of the
            model's and unimportant layers lose more.

    Raises:
        CannotPruneError: the model cannot be traced, no channel can go, or the result does not run.
        MissingExtraError: torch-pruning is not installed.
    """
    if not 0 < channels < 1:
        raise ValueError(f"channels is a fraction between 0 and 1, not {channels}")
    pruning = _import_torch_pruning()
    inputs = example_input if isinstance(example_input, ModelInputs) else ModelInputs((example_input,))
    _refuse_unusable_weights(model)
    shapes = _output_shapes(model, inputs, failing="its forward pass fails on the example input")
    kept = _kept_whole(model, inputs, skip)
    ties, widths = tied_names(model), _widths(model)
    num_before = count_parameters(model)
    with traced(model), unchanged_on_failure(model):
        try:
            with _quiet():
                pruner = pruning.pruner.BasePruner(
                    model,
                    inputs,
                    importance=pruning.importance.GroupMagnitudeImportance(p=2),
                    pruning_ratio=channels,
                    global_pruning=across_layers,
                    round_to=multiple_of if multiple_of > 1 else None,
                    ignored_layers=list(kept),
                    forward_fn=lambda module, batch: batch.run(module),
                    output_transform=lambda output: list(named_tensors(output).values()),
                    # Its defaults are dictionaries that all calls share, and that keep old models alive.
                    in_channel_groups={},
                    out_channel_groups={},
                    num_heads={},
                )
                pruner.step()
        except Exception as error:  # torch-pruning raises whatever its tracing met.
            raise CannotPruneError(
                f"its graph could not be followed ({type(error).__name__}: {error})"
            ) from error
        _tie_again(model, ties)
        shapes_after = _output_shapes(model, inputs, failing="without these channels its forward pass fails")
        if shapes_after != shapes:
            raise CannotPruneError(f"its output changed from {shapes} to {shapes_after}")
        if count_parameters(model) == num_before:
            raise CannotPruneError("no layer has channels that nothing else fixes")
    names = {module: name for name, module in model.named_modules()}
    return ChannelPruning(
        parameters_before=num_before,
        parameters_after=count_parameters(model),
        widths={
            name: (before, after)
            for (name, before), after in zip(widths.items(), _widths(model).values(), strict=True)
            if after != before
        },
        kept_whole={names[layer]: reason for layer, reason in kept.items()},
    )


def count_parameters(model: nn.Module) -> int:
    """Number of trainable and frozen weights; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def output_layers(model: nn.Module, example_input: torch.Tensor | ModelInputs) -> list[nn.Module]:
    """Layers whose channels are the model's output, found by walking its autograd graph backwards.

    The walk stops at the first weight matrix or kernel on each path: batch norm or an addition after the
    last layer does not hide it.

    Raises:
        CannotPruneError: no tensor of the output depends on weights.
    """
    inputs = example_input if isinstance(example_input, ModelInputs) else ModelInputs((example_input,))
    owners = weight_owners(model)
    with traced(model):
        try:
            tensors = named_tensors(inputs.run(model)).values()
        except NoTensorOutputError as error:
            raise CannotPruneError("its output holds no tensor") from error
        learned = [tensor for tensor in tensors if tensor.grad_fn is not None]
    if not learned:
        raise CannotPruneError("its output is not a tensor that depends on weights")
    return nearest_layers(learned, owners)


def _kept_whole(model: nn.Module, inputs: ModelInputs, skip: Sequence[str]) -> dict[nn.Module, str]:
    """The layers that keep their channels, with the reason."""
    kept: dict[nn.Module, str] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.MultiheadAttention) and layer.num_heads > 1:
            kept[layer] = f"it has {layer.num_heads} heads in one module"
        elif isinstance(layer, nn.RNNBase):
            kept[layer] = "it is recurrent"
        elif any(fnmatchcase(name, pattern) for pattern in skip):
            kept[layer] = "skip names it"
    for attention in find_attentions(model, inputs):
        for layer in (*attention.score_layers, *attention.value_layers):
            kept[layer] = f"it feeds an attention of {attention.num_heads} heads"
    return kept | dict.fromkeys(output_layers(model, inputs), "it makes the output")


def _refuse_unusable_weights(model: nn.Module) -> None:
    computed = reparametrized_layers(model)
    if computed:
        raise CannotPruneError(
            f"the weights of {', '.join(computed[:3])} are computed for each call (masks, parametrizations). "
            "Make them plain weights first, by torch.nn.utils.prune.remove or remove_parametrizations"
        )
    for name, layer in model.named_modules():
        # torch-pruning takes the parameters of a layer that it does not know for something added up.
        if type(layer).__name__ == "Conv1D" and hasattr(layer, "nf"):
            raise CannotPruneError(f"torch-pruning does not know {name}, a Conv1D of Transformers")
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and not bool(torch.isfinite(parameter).all()):
            raise CannotPruneError(f"{name} holds values that are infinite or not a number")


def _tie_again(model: nn.Module, ties: Mapping[str, str]) -> None:
    """Make tied parameters one again: torch-pruning cuts each use of them into a parameter of its own."""
    for name, first_name in ties.items():
        parameter, first = model.get_parameter(name), model.get_parameter(first_name)
        if parameter is first:
            continue
        if not torch.equal(parameter, first):
            raise CannotPruneError(
                f"{name} and {first_name} are one parameter, and their layers would lose different channels"
            )
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, first)


def _widths(model: nn.Module) -> dict[str, int]:
    return {
        name: layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        for name, layer in model.named_modules()
        if isinstance(layer, _SIZED)
    }


def _output_shapes(model: nn.Module, inputs: ModelInputs, *, failing: str) -> dict[str, tuple[int, ...]]:
    try:
        with traced(model), torch.no_grad():
            output = inputs.run(model)
    except Exception as error:
        raise CannotPruneError(f"{failing} ({error})") from error
    try:
        return {name: tuple(tensor.shape) for name, tensor in named_tensors(output).items()}
    except NoTensorOutputError as error:
        raise CannotPruneError("its output holds no tensor") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _import_torch_pruning() -> Any:
    try:
        import torch_pruning
    except ImportError as error:
        raise MissingExtraError(extra="compress", package="torch-pruning") from error
    return torch_pruning
