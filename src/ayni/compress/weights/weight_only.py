"""Round the weights of a model to grids, to nearest and without data, into what a packed file stores.

    matrices        linear layers and convolutions, int4 in groups of 32 by default: 4.625 bits a weight
    embeddings      int8 by rows; half of a small encoder, and looked up: their errors do not add up
    the rest        biases and norms, as they are, or rounded to 16 bits

The model then computes with the rounded weights, in its own dtype and at its old speed: this makes a small
file, not a fast model. `packed_file.write_packed` stores it.

Rounding to nearest needs no data and loses more than methods that correct each error with data do (GPTQ):
MiniLM keeps a mean cosine of 0.972 with int4 in groups of 32 here, and of 0.991 there. Grids that such a
method has fitted come in through `quantized_layers`.

Cost: O(n) for n weights; one byte a weight for the codes.

Source of the form: Dettmers and Zettlemoyer, "The case for 4-bit precision", 2023, arXiv:2212.09720, section
2 (blocks along the input dimension). Theirs are symmetric; ours have a zero point by default.

Not covered: quantization of activations, kernels that compute with codes, layers that `layers` does not know
(recurrent ones, torch's MultiheadAttention); their weights are stored as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import nn

from ayni.compress.packed.weight import QuantizedWeight, is_transposed, quantized
from ayni.compress.weights.grids import CannotQuantizeError, Grid, GridParameters
from ayni.compress.weights.layers import NothingToCompressError, matrix_layers, skipped_layers, weight_OI

INT4_GRID = Grid(bits=4, granularity="group", group_size=32)
EMBEDDING_GRID = Grid(bits=8)
MAX_ZERO_SHARE = 0.1
"""More zeros than this are no accident: the weight was pruned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightOnlyResult:
    """What was quantized.

    weights: codes by name of parameter, for `write_packed`.
    skipped: layers that were left as they are, with the reason.
    num_weights: that have codes now.
    stored_bits: of their codes, scales and zeros, before sparse storage.
    largest_error: the largest change of one weight.
    """

    weights: Mapping[str, QuantizedWeight]
    skipped: Mapping[str, str]
    num_weights: int
    stored_bits: int
    largest_error: float

    @property
    def bits_per_weight(self) -> float:
        """Of the weights that have codes."""
        return self.stored_bits / self.num_weights if self.num_weights else 0.0


@dataclass(frozen=True, slots=True)
class _Target:
    """A weight with the grid that it gets; the matrix is a view of the parameter."""

    matrix: torch.Tensor
    grid: Grid
    is_transposed: bool = False


def quantize_weights(
    model: nn.Module,
    grid: Grid = INT4_GRID,
    *,
    grids: Mapping[str, Grid] | None = None,
    embeddings: Grid | None = EMBEDDING_GRID,
    skip: Sequence[str] = (),
) -> WeightOnlyResult:
    """Round the weights of all matrices and embeddings to nearest, in place.

    A head that is tied to an embedding is rounded with it, as an embedding.

    Args:
        model: nothing of it is changed if anything fails.
        grid: of linear layers and convolutions.
        grids: other grids for single layers, by name: what `sensitivity.allocate` chose.
        embeddings: their grid; None leaves them alone.
        skip: patterns of names of modules to leave alone.

    Raises:
        NothingToCompressError: nothing is left to quantize.
        CannotQuantizeError: a weight is not finite, or is pruned and its grid has no 0.
    """
    layers = matrix_layers(model, skip=skip)
    if unknown := sorted(set(grids or ()) - set(layers)):
        raise ValueError(f"grids names {unknown[0]!r}, which is no layer that is quantized")
    targets = {
        _parameter_name(name): _Target(
            weight_OI(layer), (grids or {}).get(name, grid), is_transposed(layer, weight_OI(layer))
        )
        for name, layer in layers.items()
    }
    if embeddings is not None:
        targets |= _embedding_targets(model, embeddings, skip)
    skipped = skipped_layers(model, skip=skip)
    if not targets:
        raise NothingToCompressError(step="Weight-only quantization", skipped=skipped)
    return _round(targets, skipped)


def quantize_embeddings(
    model: nn.Module, grid: Grid = EMBEDDING_GRID, *, skip: Sequence[str] = ()
) -> WeightOnlyResult:
    """Round the embeddings alone, in place; none is fine. For models whose matrices were quantized otherwise.

    Raises:
        CannotQuantizeError: a weight is not finite, or is pruned and the grid has no 0.
    """
    return _round(_embedding_targets(model, grid, skip), {})


def quantized_layers(
    model: nn.Module, grid: Grid, parameters: Mapping[str, GridParameters]
) -> dict[str, QuantizedWeight]:
    """Codes of layers whose weights lie on fitted grids already, by name of parameter.

    Args:
        model: with the values that the fitting method left.
        grid: of these layers.
        parameters: by name of layer.

    Raises:
        WeightChangedError: a weight does not lie on its grid.
        ValueError: a name is no layer of the model.
    """
    layers = matrix_layers(model)
    found: dict[str, QuantizedWeight] = {}
    for name, fitted in parameters.items():
        if name not in layers:
            raise ValueError(f"{name!r} is no layer of the model whose weight can be quantized")
        layer, parameter_name = layers[name], _parameter_name(name)
        parameter = layer.get_parameter("weight")
        transposed = is_transposed(layer, weight_OI(layer))
        found[parameter_name] = quantized(
            parameter, grid, fitted, is_transposed=transposed, name=parameter_name
        )
    return found


def round_rest(
    model: nn.Module, quantized_names: Sequence[str], dtype: torch.dtype = torch.float16
) -> tuple[str, ...]:
    """Round the parameters that have no codes to a 16-bit type, in place; returns the names of those rounded.

    The model keeps its dtype: only the values become ones that `write_packed` can store in 16 bits. A
    parameter with a value beyond the type's range is left as it is. Buffers are too: a small running variance
    would become 0 in float16, and something would be divided by it.
    """
    taken = {model.get_parameter(name).data_ptr() for name in quantized_names}
    rounded: list[str] = []
    for name, parameter in model.named_parameters():
        if parameter.data_ptr() in taken or not parameter.is_floating_point():
            continue
        values = parameter.detach()
        halves = values.to(dtype).to(values.dtype)
        if not torch.equal(torch.isfinite(halves), torch.isfinite(values)):
            continue
        values.copy_(halves)
        rounded.append(name)
    return tuple(rounded)


def _embedding_targets(model: nn.Module, grid: Grid, skip: Sequence[str]) -> dict[str, _Target]:
    targets: dict[str, _Target] = {}
    seen: set[int] = set()
    for name, module in model.named_modules():
        weight = module._parameters.get("weight")
        is_skipped = any(fnmatchcase(name, pattern) for pattern in skip)
        if not isinstance(module, nn.Embedding | nn.EmbeddingBag) or weight is None or is_skipped:
            continue
        if weight.is_floating_point() and weight.numel() and weight.data_ptr() not in seen:
            seen.add(weight.data_ptr())
            targets[_parameter_name(name)] = _Target(weight.detach(), grid)
    return targets


def _round(targets: Mapping[str, _Target], skipped: Mapping[str, str]) -> WeightOnlyResult:
    """Fit all grids before the first weight is changed: what fails, fails with the model as it was."""
    fitted = {name: _fitted(name, target) for name, target in targets.items()}
    weights: dict[str, QuantizedWeight] = {}
    num_weights = stored_bits = 0
    largest_error = 0.0
    for name, target in targets.items():
        grid, matrix_OI = target.grid, target.matrix
        codes_OI = grid.quantize(matrix_OI, fitted[name])
        values_OI = grid.dequantize(codes_OI, fitted[name]).to(matrix_OI.dtype)
        largest_error = max(largest_error, float((values_OI - matrix_OI).abs().max()))
        matrix_OI.copy_(values_OI)
        weights[name] = QuantizedWeight(
            grid=grid, parameters=fitted[name], codes=codes_OI, is_transposed=target.is_transposed
        )
        num_weights += matrix_OI.numel()
        stored_bits += grid.stored_bits(*matrix_OI.shape)
    return WeightOnlyResult(
        weights=weights,
        skipped=skipped,
        num_weights=num_weights,
        stored_bits=stored_bits,
        largest_error=largest_error,
    )


def _fitted(name: str, target: _Target) -> GridParameters:
    try:
        parameters = target.grid.fit(target.matrix)
    except CannotQuantizeError as error:
        raise CannotQuantizeError(f"{name}: {error.reason}") from error
    zero_share = float((target.matrix == 0).float().mean())
    if not target.grid.keeps_zero and zero_share > MAX_ZERO_SHARE:
        raise CannotQuantizeError(
            f"{name} is pruned ({zero_share:.0%} zeros), and the scheme {target.grid.scheme!r} has no 0; use "
            "'affine' or 'symmetric'"
        )
    return parameters


def _parameter_name(module_name: str) -> str:
    return f"{module_name}.weight" if module_name else "weight"
