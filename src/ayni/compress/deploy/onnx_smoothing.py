"""SmoothQuant on an ONNX graph: outliers of activations move into the weights, where they cost less.

    x W = (x / s) (s W)        s_j = max|x_j|^a / max|w_j|^(1 - a)

ONNX Runtime's fast integer products have one range for a whole activation, and a few columns that are a
hundred times as large as the others leave those hardly a bit. Divided by s they are all of a size, and the
weights, with a scale for each output, bear it. But for rounding, the graph computes the same as before.

What a product would lose is foreseen from calibration data, as a share of the power of its answer, and a is
the one among STRENGTHS that loses least (J inputs, O outputs, E the mean over rows):

    step^2 / 12 * sum_JO (s_j w_jo)^2  +  sum_O step_o^2 / 12 * E sum_J (x_j / s_j)^2,   over E |x W|^2

Products that lose little as they are stay alone, because a division costs time. It is free where a
LayerNormalization comes before that nobody else reads (transformers that normalise first): its own
factors take it up. Elsewhere it is one multiplication by a vector.

MiniLM in dynamic int8, mean cosine of 250 sentences: 0.9928 as it is, 0.9966 with 13 of 24 activations
smoothed and 4 % more time, 0.9972 with all of them.

Cost: one run of the graph and one product of each activation with its weights for each batch, with the inputs
of all products in memory at once.

Source: Xiao et al., "SmoothQuant", ICML 2023, section 4, arXiv:2211.10438. It has one a for all layers and
smooths all of them; ours chooses both by the foreseen loss.

Not covered: convolutions, products of two activations, weights that several products share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ayni.compress.deploy.activation_noise import LEVELS, inner_tensors, session_with_outputs
from ayni.compress.deploy.export import as_model_inputs
from ayni.compress.deploy.onnx_file import Array, Constants, import_onnx, read_onnx, write_onnx
from ayni.compress.inputs import ModelInputs

Batch = torch.Tensor | ModelInputs
MAX_LOSS = 1e-3
"""Above this foreseen share of its answer's power a product is smoothed."""
STRENGTHS = (0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0)
WEIGHT_LEVELS = 127
_TINY = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothedActivation:
    """What was done to one activation.

    num_products: that read it (query, key and value share one).
    loss_before, loss_after: foreseen, as shares of the power of the products' answers.
    strength: the a of the formula.
    is_free: a LayerNormalization took the division up.
    """

    tensor: str
    num_products: int
    loss_before: float
    loss_after: float
    strength: float
    is_free: bool


def smooth_onnx(
    source: Path, target: Path, inputs: Sequence[Batch], *, max_loss: float = MAX_LOSS
) -> tuple[SmoothedActivation, ...]:
    """Write `source` with smoothed activations to `target`; it is there whole or not at all.

    Args:
        source: a float ONNX file.
        target: an existing file is replaced; may be `source`.
        inputs: a few batches of the training split.
        max_loss: see MAX_LOSS. 0 smooths all that gain by it, infinity none.

    Returns:
        One entry for each activation that was smoothed, the greatest loss first.

    Raises:
        ValueError: no inputs.
        UnreadableOnnxError: source is not an ONNX file.
        RuntimeFailedError: the graph does not run on these inputs.
    """
    if not inputs:
        raise ValueError("smoothing measures activations: give at least one batch")
    graph = _Graph(read_onnx(source))
    columns = _measure(source, graph, [as_model_inputs(batch) for batch in inputs])
    done = []
    for tensor, places in graph.products.items():
        before = columns[tensor].loss(graph.weights_IO(tensor), None)
        if not before > max_loss:  # Nor where nothing can be foreseen, because a number is not finite.
            continue
        after, strength, scale_I = _best(columns[tensor], graph.weights_IO(tensor))
        if after < before:
            done.append(
                SmoothedActivation(
                    tensor=tensor,
                    num_products=len(places),
                    loss_before=before,
                    loss_after=after,
                    strength=strength,
                    is_free=graph.divide(tensor, scale_I),
                )
            )
    graph.finish()
    write_onnx(graph.model, target)
    return tuple(sorted(done, key=lambda entry: -entry.loss_before))


class _Columns:
    """What is known of the columns of one activation after some batches."""

    def __init__(self, num_inputs: int) -> None:
        self._highest_I = np.full(num_inputs, -np.inf)
        self._lowest_I = np.full(num_inputs, np.inf)
        self._squares_I = np.zeros(num_inputs)
        self._answer_squares = 0.0
        self._num_rows = 0

    def add(self, values: Array, weights_IO: Array) -> None:
        rows_NI = values.reshape(-1, values.shape[-1])
        self._highest_I = np.maximum(self._highest_I, rows_NI.max(axis=0))
        self._lowest_I = np.minimum(self._lowest_I, rows_NI.min(axis=0))
        self._squares_I += np.square(rows_NI, dtype=np.float64).sum(axis=0)
        self._answer_squares += float(np.square(rows_NI @ weights_IO, dtype=np.float64).sum())
        self._num_rows += len(rows_NI)

    @property
    def largest_I(self) -> Array:  # noqa: N802 (the shape is part of the name)
        largest: Array = np.maximum(np.maximum(self._highest_I, -self._lowest_I), _TINY)
        return largest

    def loss(self, weights_IO: Array, scale_I: Array | None) -> float:
        """The formula at the head of this module; 0 for an activation of zeros."""
        if not self._answer_squares:
            return 0.0
        scale_I = np.ones(len(self._squares_I)) if scale_I is None else scale_I
        highest, lowest = (self._highest_I / scale_I).max(), (self._lowest_I / scale_I).min()
        step = (max(highest, 0.0) - min(lowest, 0.0)) / LEVELS
        scaled_IO = weights_IO * scale_I[:, None]
        steps_O = np.abs(scaled_IO).max(axis=0) / WEIGHT_LEVELS
        of_activation = step**2 * np.square(scaled_IO).sum() * self._num_rows
        of_weights = np.square(steps_O).sum() * (self._squares_I / scale_I**2).sum()
        return float((of_activation + of_weights) / 12 / self._answer_squares)


def _best(columns: _Columns, weights_IO: Array) -> tuple[float, float, Array]:
    """Least foreseen loss, the strength that gives it, and its scales with a geometric mean of 1."""
    largest_I = np.maximum(np.abs(weights_IO).max(axis=1), _TINY)
    found: list[tuple[float, float, Array]] = []
    for strength in STRENGTHS:
        scale_I = columns.largest_I**strength / largest_I ** (1 - strength)
        scale_I = scale_I / np.exp(np.log(scale_I).mean())
        found.append((columns.loss(weights_IO, scale_I), strength, scale_I))
    return min(found, key=lambda entry: entry[0])


class _Graph:
    """A graph with its products by activation, to be changed in place."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._constants = Constants(model.graph)
        self._readers: dict[str, int] = {value.name: 1 for value in model.graph.output}
        for node in model.graph.node:
            for name in node.input:
                self._readers[name] = self._readers.get(name, 0) + 1
        self._producers = {name: node for node in model.graph.node for name in node.output}
        self.products: dict[str, list[Any]] = {}
        for node in model.graph.node:
            if self._is_product(node):
                self.products.setdefault(node.input[0], []).append(node)
        self._new: list[tuple[Any, Any]] = []

    def weights_IO(self, tensor: str) -> Array:  # noqa: N802 (the shape is part of the name)
        """Weights of all products of an activation side by side."""
        return np.concatenate([self._read_IO(node) for node in self.products[tensor]], axis=1)

    def divide(self, tensor: str, scale_I: Array) -> bool:
        """Divide an activation by scales and multiply the weights; whether that costs no time."""
        for node in self.products[tensor]:
            scaled_IO = (self._read_IO(node) * scale_I[:, None]).astype(np.float32)
            self._constants.replace(node.input[1], scaled_IO.T if _is_turned(node) else scaled_IO)
        factors_I = (1 / scale_I).astype(np.float32)
        if self._fold(tensor, factors_I):
            return True
        divided = f"{tensor}/ayni/smoothed"
        factors = self._constants.add(f"{tensor}/ayni/factors", factors_I)
        made = import_onnx().helper.make_node("Mul", [tensor, factors], [divided], name=divided)
        self._new.append((self.products[tensor][0], made))
        for node in self.products[tensor]:
            node.input[0] = divided
        return False

    def finish(self) -> None:
        """Put new nodes in front of the first that reads them."""
        nodes = self.model.graph.node
        for reader, made in self._new:
            # Nodes are compared by content, and outputs are unique.
            place = next(index for index, node in enumerate(nodes) if node.output[0] == reader.output[0])
            nodes.insert(place, made)

    def _is_product(self, node: Any) -> bool:
        if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in self._constants:
            return False
        is_flipped = any(item.name == "transA" and item.i for item in node.attribute)
        weight = node.input[1]
        return (
            not is_flipped
            and node.input[0] not in self._constants
            and len(self._constants.shape(weight)) == 2
            and self._constants.is_float32(weight)
            and self._readers[weight] == 1
        )

    def _read_IO(self, node: Any) -> Array:  # noqa: N802 (the shape is part of the name)
        values = self._constants.read(node.input[1])
        return values.T if _is_turned(node) else values

    def _fold(self, tensor: str, factors_I: Array) -> bool:
        """Multiply the answers of a LayerNormalization by factors, if only the products read them."""
        norm = self._producers.get(tensor)
        if norm is None or norm.op_type != "LayerNormalization":
            return False
        parameters = [name for name in norm.input[1:] if name]
        is_own = all(
            name in self._constants
            and self._readers[name] == 1
            and self._constants.shape(name) == factors_I.shape
            for name in parameters
        )
        if not is_own or self._readers[tensor] != len(self.products[tensor]):
            return False
        for name in parameters:
            self._constants.replace(name, self._constants.read(name) * factors_I)
        return True


def _is_turned(node: Any) -> bool:
    return any(item.name == "transB" and item.i for item in node.attribute)


def _measure(source: Path, graph: _Graph, batches: Sequence[ModelInputs]) -> Mapping[str, _Columns]:
    names = sorted(graph.products)
    session = session_with_outputs(read_onnx(source), names, source)
    weights = {name: graph.weights_IO(name) for name in names}
    columns = {name: _Columns(len(weights[name])) for name in names}
    for batch in batches:
        for name, values in inner_tensors(session, batch, names, source).items():
            columns[name].add(values, weights[name])
    return columns
