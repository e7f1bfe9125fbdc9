"""Which layers lie directly behind a tensor, read from the graph that autograd made of a forward pass.

The graph is that of the real call, so models with branches, loops and functions of their own need no tracer.
It knows operations and the parameters that they used; parameters are mapped to the layers that hold them.

Not covered: paths without a gradient (argmax, integer arithmetic, torch.no_grad inside the model), and
weights that are computed before they are used (parametrizations; `reparametrized_layers` names them).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from ayni.compress.weights.layers import is_matrix_layer, tied_names

MAX_CHAIN = 12
"""Longest run of reshapes, copies and casts between an operation and the layer that takes its result."""

Node = Any
"""A node of the autograd graph; torch gives it no public type."""


def weight_owners(model: nn.Module) -> dict[int, nn.Module]:
    """Linear layers and convolutions by the id of their weight; of layers with one weight, the last."""
    return {
        id(layer.weight): layer
        for layer in model.modules()
        if is_matrix_layer(layer) or isinstance(layer, nn.modules.conv._ConvNd)
    }


def nearest_layers(tensors: Iterable[torch.Tensor], owners: dict[int, nn.Module]) -> list[nn.Module]:
    """The first layer with weights on each path backwards from the tensors, in the order found.

    Norms and additions on the way are passed through. Cost: linear in the size of the graph passed.
    """
    found: dict[int, nn.Module] = {}
    queue: list[Node] = [tensor.grad_fn for tensor in tensors]
    visited: set[Node] = set()
    while queue:
        node = queue.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        children = parents_of(node)
        weights = [id(weight) for weight in map(_leaf_weight, children) if weight is not None]
        layers = {weight: owners[weight] for weight in weights if weight in owners}
        found.update(layers)
        if not layers:
            queue.extend(children)
    return list(found.values())


def chain_reaches(node: Node, targets: Sequence[Node]) -> int | None:
    """Index of the target that `node` leads back to by operations of one argument; None if to none.

    Reshapes, copies, casts, dropout and multiplication with a constant have one argument with a gradient.
    """
    for _ in range(MAX_CHAIN):
        for index, target in enumerate(targets):
            if node is target:
                return index
        parents = parents_of(node) if node is not None else []
        if len(parents) != 1:
            return None
        node = parents[0]
    return None


def count_uses(tensors: Iterable[torch.Tensor], node: Node) -> int:
    """How many operations behind the tensors take the result of `node`."""
    queue: list[Node] = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    # A result that the model also returns has a user outside of the model.
    uses = sum(start is node for start in queue)
    visited: set[Node] = set()
    while queue:
        current = queue.pop()
        if current in visited:
            continue
        visited.add(current)
        parents = parents_of(current)
        uses += sum(parent is node for parent in parents)
        queue.extend(parents)
    return uses


def parents_of(node: Node) -> list[Node]:
    """The nodes whose results this one took, once for each time that it took them."""
    return [parent for parent, _ in node.next_functions if parent is not None]


def reparametrized_layers(model: nn.Module) -> list[str]:
    """Names of layers whose weight is computed for each call: parametrizations, masks, weight norm."""
    return [
        name or "the model itself"
        for name, layer in model.named_modules()
        # torch.nn.utils.prune and the older weight norm leave a plain tensor where the parameter was.
        if parametrize.is_parametrized(layer) or isinstance(layer.__dict__.get("weight"), torch.Tensor)
    ]


def layers_with_shared_weights(model: nn.Module) -> dict[nn.Module, str]:
    """Modules of which a parameter is also another module's, with the name of that parameter.

    A module that occurs in two places of a model shares nothing: whoever changes it changes both places.
    """
    shared: dict[nn.Module, str] = {}
    for name, first in tied_names(model).items():
        module, other = (model.get_submodule(full.rpartition(".")[0]) for full in (name, first))
        if module is not other:
            shared |= {module: first, other: name}
    return shared


def _leaf_weight(node: Node) -> torch.Tensor | None:
    """The weight behind a node that only reads or transposes it."""
    if node.name().startswith(("TBackward", "TransposeBackward")):
        node = node.next_functions[0][0]
    weight: torch.Tensor | None = getattr(node, "variable", None)
    return weight
