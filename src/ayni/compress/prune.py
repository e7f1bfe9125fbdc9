"""Structured pruning: whole channels go, in every layer that depends on them.

torch-pruning follows a channel through the graph of the model (batch norm, skip connections,
concatenations), so that the result is a smaller dense model and not a mask.

Not covered: unstructured sparsity, which makes files no smaller and CPUs no faster; models whose forward
pass cannot be traced; attention heads.
"""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from ayni.errors import MissingExtraError, UserError

_PRUNABLE = (torch.nn.Linear, torch.nn.modules.conv._ConvNd)


class CannotPruneError(UserError):
    """The model cannot lose channels."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"This model cannot be pruned: {reason}. Remove `prune` from compress.steps; "
            "quantize needs no change of shape and works without it."
        )


def prune_channels(
    model: torch.nn.Module, example_input: torch.Tensor, *, channels: float
) -> torch.nn.Module:
    """Remove the fraction `channels` of every layer's output channels, lowest magnitude first. In place.

        importance of a channel = mean over its coupled layers of its L2 norm, normalised by layer
        a layer with C channels keeps floor(C * (1 - channels)); one that would keep none is left whole

    The layers that make the output keep theirs. The result is a function of the weights: pruning the
    same weights twice removes the same channels.

    Source: Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, arXiv:2301.12900.

    Raises:
        CannotPruneError: the model cannot be traced, no channel can go, or the result does not run.
    """
    pruning = _import_torch_pruning()
    model.eval()
    num_before = count_parameters(model)
    output_shape = _output(model, example_input).shape
    kept = output_layers(model, example_input)
    try:
        with _quiet():
            pruner = pruning.pruner.MagnitudePruner(
                model,
                example_input,
                importance=pruning.importance.GroupMagnitudeImportance(p=2),
                pruning_ratio=channels,
                ignored_layers=kept,
            )
            pruner.step()
    except Exception as error:  # torch-pruning raises whatever its tracing met.
        raise CannotPruneError(
            f"its graph could not be followed ({type(error).__name__}: {error})"
        ) from error
    try:
        shape_after = _output(model, example_input).shape
    except Exception as error:
        raise CannotPruneError(f"without these channels its forward pass fails ({error})") from error
    if shape_after != output_shape:
        raise CannotPruneError(f"its output changed from {tuple(output_shape)} to {tuple(shape_after)}")
    if count_parameters(model) == num_before:
        raise CannotPruneError("no layer has channels that nothing else fixes")
    return model


def count_parameters(model: torch.nn.Module) -> int:
    """Number of trainable and frozen weights; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def output_layers(model: torch.nn.Module, example_input: torch.Tensor) -> list[torch.nn.Module]:
    """Layers whose channels are the model's output, found by walking its autograd graph backwards.

    The walk stops at the first weight matrix or kernel on each path: batch norm or an addition after the
    last layer does not hide it.
    """
    owners = {id(layer.weight): layer for layer in model.modules() if isinstance(layer, _PRUNABLE)}
    with torch.enable_grad():
        output = model(example_input)
    if not isinstance(output, torch.Tensor) or output.grad_fn is None:
        raise CannotPruneError("its output is not one tensor that depends on weights")
    found: dict[int, torch.nn.Module] = {}
    queue: list[Any] = [output.grad_fn]
    visited: set[Any] = set()
    while queue:
        node = queue.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        children = [child for child, _ in node.next_functions]
        weights = [id(weight) for weight in map(_leaf_weight, children) if weight is not None]
        layers = {weight: owners[weight] for weight in weights if weight in owners}
        found.update(layers)
        if not layers:
            queue.extend(children)
    return list(found.values())


def _leaf_weight(node: Any) -> torch.Tensor | None:
    """The weight behind a node that only reads or transposes it."""
    if node is not None and node.name().startswith(("TBackward", "TransposeBackward")):
        node = node.next_functions[0][0]
    weight: torch.Tensor | None = getattr(node, "variable", None)
    return weight


def _output(model: torch.nn.Module, example_input: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        output: torch.Tensor = model(example_input)
    return output


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
