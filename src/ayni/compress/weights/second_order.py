"""SparseGPT, GPTQ and both jointly: prune or round so that each layer answers as before.

Layers are visited in the order of the model's calls. Each is given the answers of layers that are compressed
already, and its weights are chosen to lose least on these inputs (`reconstruct`). On top of the two papers:

    mask            chosen by alternation over the whole layer, not in one pass over blocks of columns
    refit           weights that stay are moved to the least error that the mask allows
    by_activation   strong inputs are rounded first, while many are left to make up for them
    ranges          of a grid are searched: clipping a few outliers may cost less than coarse steps
    sweeps          rounded weights are rounded again, one column after the other, seeing all others
    original        the aim is the original model's answer: later layers mend errors of earlier ones
    bias            takes up the change of a layer's mean answer, so weights need not

Each is an option, and switching all of them off gives the papers' algorithms. Measured on MiniLM, mean cosine
of 250 sentences, 150 others for calibration, seconds of one core:

    50 %            magnitude .705, Wanda .856, SparseGPT as published .931 (16 s), with refit .951 (22 s),
                    and with the mask by alternation .956 (29 s), and with all options .959 (37 s)
    int4 group 32   GPTQ as published .9916 (18 s), all options but the original's answers .9941 (32 s),
                    all options .9944 (37 s)

Not covered: training (see `recover`), and activations, which stay as they are.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ayni.compress.inputs import ModelInputs
from ayni.compress.weights.column_rounding import ColumnRounding
from ayni.compress.weights.grids import Grid, GridParameters
from ayni.compress.weights.layer_walk import UNCALLED, Order, visit_layers
from ayni.compress.weights.layers import num_groups, require_layers, skipped_layers, tied_names, weight_OI
from ayni.compress.weights.masks import NofM, Pattern, PruneReport, check_pattern, prune_report
from ayni.compress.weights.reconstruct import (
    Curvature,
    descend,
    eliminate,
    error_of,
    follow,
    keep_by_alternation,
    refit,
)
from ayni.compress.weights.statistics import CalibrationError, InputStatistics
from ayni.errors import UserError


class ZeroNotOnGridError(UserError):
    """Pruned weights would not be zero on the grid."""

    def __init__(self, *, scheme: str) -> None:
        super().__init__(
            f"A grid with the scheme {scheme!r} does not hold 0, so pruned weights would come back. "
            "Use the scheme 'affine' or 'symmetric' together with pruning."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOrderConfig:
    """How weights are chosen.

    damping: share of the mean of H's diagonal that is added to it; keeps what few inputs happen to show from
        being trusted.
    block_columns: columns that are updated at once; also the scope of the mask "eliminate".
    mask: "alternate" goes back and forth between dense and sparse weights over the whole layer; "eliminate"
        is SparseGPT's.
    refit_steps: conjugate-gradient steps that place the weights that stay; 0 leaves them as eliminated.
    by_activation: round inputs with the largest sums of squares first; not with n:m, nor with the mask
        "eliminate".
    search_ranges: try smaller ranges for each scale, and keep the best.
    sweeps: of coordinate descent after rounding.
    follow_original: aim at the layer's answers in the original model, not at those of its old weights to the
        inputs that it is given now. Costs a copy of the model and a second walk.
    correct_bias: let an existing bias make up for the change of the mean answer.
    """

    damping: float = 0.01
    block_columns: int = 128
    mask: Literal["alternate", "eliminate"] = "alternate"
    refit_steps: int = 30
    by_activation: bool = True
    search_ranges: bool = True
    sweeps: int = 2
    follow_original: bool = True
    correct_bias: bool = True

    def __post_init__(self) -> None:
        if not self.damping >= 0:
            raise ValueError(f"damping is not negative, not {self.damping}")
        if self.block_columns < 1 or self.refit_steps < 0 or self.sweeps < 0:
            raise ValueError(
                f"block_columns is at least 1, refit_steps and sweeps at least 0, "
                f"not {self.block_columns}, {self.refit_steps} and {self.sweeps}"
            )


DEFAULT = SecondOrderConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOrderReport:
    """What was done.

    error_by_layer: lost part of each layer's answers on the calibration inputs, ||(W - W') X||^2 / ||W X||^2;
        without their mean where a bias takes that up.
    parameters: where the grid of each layer lies; empty without a grid. `grid.quantize(weight_OI(layer),
        parameters[name])` gives codes whose values are the weights.
    pruned: counts of zeros; None without pruning.
    skipped: layers that were left alone, each with the reason.
    """

    error_by_layer: Mapping[str, float]
    parameters: Mapping[str, GridParameters]
    pruned: PruneReport | None
    skipped: Mapping[str, str]


def prune_sparsegpt(
    model: nn.Module,
    inputs: Sequence[ModelInputs],
    pattern: Pattern,
    *,
    skip: Sequence[str] = (),
    config: SecondOrderConfig = DEFAULT,
    order: Order = "auto",
) -> SecondOrderReport:
    """Prune every layer, and let the weights that stay make up for those that go.

    See `prune_and_round`, which this is without a grid.
    """
    return prune_and_round(model, inputs, pattern, None, skip=skip, config=config, order=order)


def quantize_gptq(
    model: nn.Module,
    inputs: Sequence[ModelInputs],
    grid: Grid,
    *,
    skip: Sequence[str] = (),
    config: SecondOrderConfig = DEFAULT,
    order: Order = "auto",
) -> SecondOrderReport:
    """Round every layer to a grid, and let weights that are not rounded yet make up for each error.

    See `prune_and_round`, which this is without pruning.
    """
    return prune_and_round(model, inputs, None, grid, skip=skip, config=config, order=order)


def prune_and_round(
    model: nn.Module,
    inputs: Sequence[ModelInputs],
    pattern: Pattern | None,
    grid: Grid | None,
    *,
    skip: Sequence[str] = (),
    config: SecondOrderConfig = DEFAULT,
    order: Order = "auto",
) -> SecondOrderReport:
    """Prune, round, or do both jointly. In place; after an error the model is as before.

    Inputs that are zero in all of the calibration are pruned first, and their weights are rounded to nearest.

    Cost: two passes over the calibration inputs, and for each layer about (2 I + 50 O) I^2 multiplications
    with the default options. Memory: see `layer_walk`.

    Args:
        model: on one device with the inputs.
        inputs: real calibration batches with several rows (tokens, pixels) for each input of a layer.
        pattern: sparsity of each layer, n of every m inputs, or None.
        grid: to round to, or None.
        skip: patterns of layer names to leave alone.
        config: how.
        order: see `visit_layers`.

    Raises:
        CalibrationError: the inputs do not fit the model, or reach no layer.
        NothingToCompressError, NonFiniteWeightError: see `require_layers`.
        PatternMismatchError, ValueError: see `check_pattern`.
        ZeroNotOnGridError: pruning with a grid that does not hold 0.
        NotFactorizableError: see `Curvature.of`.
    """
    step = "SparseGPT" if grid is None else "GPTQ"
    layers = require_layers(model, skip=skip, step=step)
    if pattern is not None:
        check_pattern(pattern, layers)
        if grid is not None and not grid.keeps_zero:
            raise ZeroNotOnGridError(scheme=grid.scheme)
    fitter = _Fitter(model, layers, pattern, grid=grid, config=config)
    original = _copied(model) if config.follow_original else None
    unseen = visit_layers(model, inputs, layers, fitter.visit, original=original, order=order)
    done = {name: layer for name, layer in layers.items() if name not in unseen}
    if not done:
        raise CalibrationError("they reach none of the model's linear layers and convolutions")
    skipped = {**skipped_layers(model, skip=skip), **dict.fromkeys(unseen, UNCALLED)}
    return SecondOrderReport(
        error_by_layer=fitter.errors,
        parameters=fitter.parameters,
        pruned=None if pattern is None else prune_report(done, skipped=skipped),
        skipped=skipped,
    )


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:  # Models hold what they like: open files, tensors inside a graph.
        raise CalibrationError(
            f"the model cannot be copied ({type(error).__name__}: {error}), as follow_original=True needs"
        ) from error


class _Fitter:
    """Fits one layer after the other, and remembers how well."""

    def __init__(
        self,
        model: nn.Module,
        layers: Mapping[str, nn.Module],
        pattern: Pattern | None,
        *,
        grid: Grid | None,
        config: SecondOrderConfig,
    ) -> None:
        self._layers, self._pattern, self._grid, self._config = layers, pattern, grid, config
        tied = tied_names(model)
        shared = {*tied, *tied.values()}
        self._free_biases = {
            name
            for name, layer in layers.items()
            if isinstance(getattr(layer, "bias", None), Tensor)
            and (f"{name}.bias" if name else "bias") not in shared
        }
        self.errors: dict[str, float] = {}
        self.parameters: dict[str, GridParameters] = {}

    def visit(self, names: tuple[str, ...], statistics: InputStatistics) -> None:
        """Fit the layers that are all given these inputs."""
        curvatures: dict[bool, tuple[Curvature, Tensor, Tensor | None]] = {}
        for name in names:
            layer = self._layers[name]
            has_bias = self._config.correct_bias and name in self._free_biases
            if has_bias not in curvatures:
                curvatures[has_bias] = self._curvature(statistics, is_centred=has_bias)
            weight = weight_OI(layer)
            shape = (num_groups(layer), -1, weight.shape[1])
            curvature, ranking, drift = curvatures[has_bias]
            original = weight.float().clone().reshape(shape)
            target = original[..., ranking]
            if drift is not None:
                target = follow(target, drift, curvature)
            fitted, parameters = self._fit(target, curvature, ranking)
            weight.copy_(fitted[..., ranking.argsort()].flatten(0, 1))
            written = weight.float().reshape(shape)
            if has_bias:
                shift = (original - written) @ statistics.mean_GI.float().unsqueeze(-1)
                if statistics.drift_totals is not None:
                    mean_drift = statistics.drift_totals / statistics.num_rows
                    shift = shift + original @ mean_drift.float().unsqueeze(-1)
                assert isinstance(layer.bias, Tensor)
                layer.bias.detach().add_(shift.flatten().to(layer.bias.dtype))
            self.errors[name] = error_of(written[..., ranking], target, curvature)
            if parameters is not None:
                self.parameters[name] = parameters

    def _curvature(
        self, statistics: InputStatistics, *, is_centred: bool
    ) -> tuple[Curvature, Tensor, Tensor | None]:
        """H with its inputs in the order in which they will be taken, that order, and the drift in it."""
        gram, drift = statistics.gram_GII, statistics.drift_sums
        if is_centred:
            mean = statistics.mean_GI
            gram = gram - statistics.num_rows * mean.unsqueeze(-1) * mean.unsqueeze(-2)
            if drift is not None and statistics.drift_totals is not None:
                drift = drift - statistics.drift_totals.unsqueeze(-1) * mean.unsqueeze(-2)
        diagonal = gram.diagonal(dim1=1, dim2=2).sum(0)
        # Masks by blocks of columns want blocks as strong as each other; n:m wants neighbours to stay so.
        is_free = self._pattern is None or (
            self._config.mask == "alternate" and not isinstance(self._pattern, NofM)
        )
        if is_free and self._config.by_activation and self._grid is not None:
            ranking = diagonal.argsort(descending=True, stable=True)
        else:
            ranking = torch.arange(len(diagonal), device=diagonal.device)
        curvature = Curvature.of(gram[:, ranking][:, :, ranking], damping=self._config.damping)
        return curvature, ranking, None if drift is None else drift[:, ranking][:, :, ranking]

    def _fit(
        self, target: Tensor, curvature: Curvature, ranking: Tensor
    ) -> tuple[Tensor, GridParameters | None]:
        """The weights in the order of `ranking`, and where their grid lies."""
        config, pattern = self._config, self._pattern
        keep: Tensor | None = None
        if pattern is not None:
            # Weights of inputs that are always zero go first; where 2 of 4 inputs are, they are the ones.
            target = target.masked_fill(curvature.is_dead.unsqueeze(1), 0.0)
            if config.mask == "alternate":
                keep = keep_by_alternation(target, curvature, pattern)
        if self._grid is None:
            assert pattern is not None
            fitted = eliminate(
                target, curvature, pattern=pattern, keep_GOI=keep, block_columns=config.block_columns
            )
            if config.refit_steps:
                keep = fitted != 0 if keep is None else keep
                fitted = refit(fitted, target, keep, curvature, num_steps=config.refit_steps)
            return fitted, None
        kept = target if keep is None else target * keep
        rounding = ColumnRounding(self._grid, kept, curvature, ranking, search=config.search_ranges)
        fitted = eliminate(
            target,
            curvature,
            pattern=pattern,
            keep_GOI=keep,
            round_column=rounding.round,
            block_columns=config.block_columns,
        )
        if keep is None and pattern is not None:
            keep = fitted != 0
        for _ in range(config.sweeps):
            fitted = descend(fitted, target, curvature, round_column=rounding.round_again, keep_GOI=keep)
        return fitted, rounding.parameters
