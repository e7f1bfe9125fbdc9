"""Mixed precision: more bits for the layers that need them, within a budget of bytes.

First each layer alone is rounded to each grid, and what the model loses is measured. Then the grids are
chosen together:

    minimise  sum_l loss(l, grid_l)   with   sum_l bytes(l, grid_l) <= budget

The sum supposes that layers harm independently, which holds for small errors and not for 2 bits everywhere:
measure the model that comes out. The choice is a knapsack with one item of each class. It starts with the
fewest bytes everywhere and buys, again and again, the step that saves most loss a byte along the lower convex
hull of a layer's choices. That is the optimum of the relaxed problem but for the last step, and never over
budget; a last look fills what is left.

Cost: one evaluation for each pair of layer and grid (12 layers, 3 grids: 36), and one copy of the largest
weight. The choice itself is O(n log n).

Source: Dong et al., "HAWQ-V2", NeurIPS 2020, section 3, arXiv:1911.03852: sensitivity of each layer, then a
choice under a size limit. They estimate the loss by the Hessian's trace; ours measures it. Sinha and
Zoltners, "The Multiple-Choice Knapsack Problem", Operations Research 27(3), 1979, for the greedy choice.

Not covered: interactions between layers, bits of activations, embeddings (int8 rows are the same for all).
"""

import contextlib
import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ayni.compress.deploy.outputs import named_tensors
from ayni.compress.inputs import ModelInputs
from ayni.compress.weights.grids import Grid
from ayni.compress.weights.layers import require_layers, weight_OI
from ayni.errors import UserError

Loss = Callable[[nn.Module], float]
DEFAULT_GRIDS = (
    Grid(bits=8),
    Grid(bits=4, granularity="group", group_size=32),
    Grid(bits=3, granularity="group", group_size=32),
)


class ByteBudgetTooSmallError(UserError):
    """Not even the fewest bits everywhere fit into the budget."""

    def __init__(self, *, budget_bytes: int, smallest_bytes: int) -> None:
        self.budget_bytes, self.smallest_bytes = budget_bytes, smallest_bytes
        super().__init__(
            f"The layers take at least {smallest_bytes} bytes with the grids allowed, and {budget_bytes} are "
            "the budget. Raise the budget, or allow a grid of fewer bits."
        )


class UnusableLossError(UserError):
    """What should say how much a layer loses gives no number."""

    def __init__(self, *, layer: str, loss: float) -> None:
        self.layer = layer
        what = f"with {layer} rounded" if layer else "of the model as it is"
        super().__init__(
            f"The loss {what} is {loss}, and layers cannot be ranked by it. Use a finite measure."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One grid for a layer, the bytes of its weight, and what the model loses by it alone (or gains)."""

    grid: Grid
    num_bytes: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """A grid for each layer.

    grids: by name of layer, for `weight_only.quantize_weights`.
    num_bytes: of all codes, scales and zeros.
    loss: sum of the measured losses; an estimate of what the whole loses.
    """

    grids: Mapping[str, Grid]
    num_bytes: int
    loss: float


def output_error(model: nn.Module, inputs: Sequence[ModelInputs]) -> Loss:
    """A loss that needs no labels: how far the outputs are from those that the model gives now.

        sum ||y - y'||^2 / sum ||y||^2      over inputs and over all floating tensors of the output

    Not covered: outputs that are classes already.
    """
    references = _outputs(model, inputs)
    whole = sum(float(output.square().sum()) for output in references)

    def loss(other: nn.Module) -> float:
        pairs = zip(_outputs(other, inputs), references, strict=True)
        lost = sum(float((output - reference).square().sum()) for output, reference in pairs)
        return lost / whole if whole else lost

    return loss


def measure_sensitivity(
    model: nn.Module,
    loss: Loss,
    *,
    grids: Sequence[Grid] = DEFAULT_GRIDS,
    skip: Sequence[str] = (),
    on_layer: Callable[[int, int], None] | None = None,
) -> dict[str, tuple[Choice, ...]]:
    """What each layer alone costs with each grid; the model is as before when this returns or raises.

    Args:
        model: in whatever mode `loss` wants; `output_error` uses evaluation mode.
        loss: lower is better, such as 1 - accuracy on a validation split. Never the test split.
        grids: what layers may choose from.
        skip: patterns of names of layers to leave alone.
        on_layer: hears after each layer how many are done, of how many.

    Raises:
        UnusableLossError: a loss is NaN or infinite. A grid that breaks the model is to be left out.
        NothingToCompressError, NonFiniteWeightError: as `layers.require_layers`.
    """
    layers = require_layers(model, skip=skip, step="Measuring sensitivity")
    before = _finite(loss(model), layer="")
    found: dict[str, tuple[Choice, ...]] = {}
    for name, layer in layers.items():
        matrix_OI = weight_OI(layer)
        choices = []
        for grid in grids:
            with _rounded(matrix_OI, grid):
                lost = _finite(loss(model), layer=name) - before
            num_bytes = -(-grid.stored_bits(*matrix_OI.shape) // 8)
            choices.append(Choice(grid=grid, num_bytes=num_bytes, loss=lost))
        found[name] = tuple(choices)
        if on_layer is not None:
            on_layer(len(found), len(layers))
    return found


def allocate(choices: Mapping[str, Sequence[Choice]], *, budget_bytes: int) -> Allocation:
    """A grid for each layer, of little loss together, within the budget.

    Raises:
        ByteBudgetTooSmallError: the smallest choices together are larger.
    """
    hulls = {name: _hull(of_layer) for name, of_layer in choices.items()}
    taken = dict.fromkeys(hulls, 0)
    num_bytes = sum(hull[0].num_bytes for hull in hulls.values())
    if num_bytes > budget_bytes:
        raise ByteBudgetTooSmallError(budget_bytes=budget_bytes, smallest_bytes=num_bytes)
    steps = [(*_step(hull, 0), name) for name, hull in hulls.items() if len(hull) > 1]
    heapq.heapify(steps)
    while steps:
        _, extra_bytes, name = heapq.heappop(steps)
        if num_bytes + extra_bytes > budget_bytes:
            continue  # Its later steps save less a byte, but a smaller one of another layer may still fit.
        num_bytes += extra_bytes
        taken[name] += 1
        if taken[name] + 1 < len(hulls[name]):
            heapq.heappush(steps, (*_step(hulls[name], taken[name]), name))
    chosen = {name: hull[taken[name]] for name, hull in hulls.items()}
    _fill(chosen, choices, budget_bytes - num_bytes)
    return Allocation(
        grids={name: choice.grid for name, choice in chosen.items()},
        num_bytes=sum(choice.num_bytes for choice in chosen.values()),
        loss=math.fsum(choice.loss for choice in chosen.values()),
    )


def _hull(choices: Sequence[Choice]) -> list[Choice]:
    """Choices in order of bytes, each step saving less loss a byte than the one before it."""
    hull: list[Choice] = []
    for choice in sorted(choices, key=lambda choice: (choice.num_bytes, choice.loss)):
        if hull and choice.loss >= hull[-1].loss:
            continue  # More bytes and no gain.
        while len(hull) > 1 and _saving(hull[-2], hull[-1]) <= _saving(hull[-2], choice):
            hull.pop()
        hull.append(choice)
    return hull


def _saving(smaller: Choice, larger: Choice) -> float:
    """Loss saved by each byte more."""
    return (smaller.loss - larger.loss) / (larger.num_bytes - smaller.num_bytes)


def _step(hull: Sequence[Choice], taken: int) -> tuple[float, int]:
    """Order of the next step (the best is lowest), and its bytes."""
    smaller, larger = hull[taken], hull[taken + 1]
    return -_saving(smaller, larger), larger.num_bytes - smaller.num_bytes


def _fill(chosen: dict[str, Choice], choices: Mapping[str, Sequence[Choice]], rest_bytes: int) -> None:
    """Spend what is left on the best single change that fits, until none does; hulls have skipped some."""
    while True:
        gains = [
            (chosen[name].loss - choice.loss, name, choice)
            for name, of_layer in choices.items()
            for choice in of_layer
            if choice.loss < chosen[name].loss and choice.num_bytes - chosen[name].num_bytes <= rest_bytes
        ]
        if not gains:
            return
        _, name, choice = max(gains, key=lambda gain: gain[0])
        rest_bytes -= choice.num_bytes - chosen[name].num_bytes
        chosen[name] = choice


@contextlib.contextmanager
def _rounded(matrix_OI: torch.Tensor, grid: Grid) -> Iterator[None]:
    """The weight on a grid inside the block, and as it was outside."""
    parameters = grid.fit(matrix_OI)
    original_OI = matrix_OI.clone()
    matrix_OI.copy_(grid.dequantize(grid.quantize(matrix_OI, parameters), parameters))
    try:
        yield
    finally:
        matrix_OI.copy_(original_OI)


def _outputs(model: nn.Module, inputs: Sequence[ModelInputs]) -> list[torch.Tensor]:
    """Floating outputs of all inputs, float64, in evaluation mode; the modes of the modules come back."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            tensors = [tensor for batch in inputs for tensor in named_tensors(batch.run(model)).values()]
    finally:
        for module, was_training in modes:
            module.training = was_training
    return [tensor.double() for tensor in tensors if tensor.is_floating_point()]


def _finite(loss: float, *, layer: str) -> float:
    if not math.isfinite(loss):
        raise UnusableLossError(layer=layer, loss=loss)
    return float(loss)
