"""Second moments of what the layers of a model are given.

    input_rows_NI   N rows, I inputs of one output
    gram_GII        G groups of a convolution (1 for other layers)

Not covered: where the activations come from, which is `ayni.compress.weights.layer_walk`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ayni.compress.inputs import ModelInputs
from ayni.compress.weights.layers import CONVOLUTIONS, input_rows_NI, num_groups
from ayni.errors import UserError

MAX_ROW_ELEMENTS = 1 << 24
"""Elements of input rows that exist at a time (64 MB): patches of convolutions overlap and are many."""
PADDING_MASK = "attention_mask"


class CalibrationError(UserError):
    """The calibration inputs are missing or do not fit the model."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"These calibration inputs cannot be used: {reason}. Give a few batches of real inputs, as the "
            "model is called with them."
        )


@dataclass(slots=True, eq=False)
class InputStatistics:
    """Second moments of the rows that a layer multiplies with its weight.

        gram_GII = sum over rows of x x^T                     H of GPTQ and SparseGPT, but for a factor
        squared_norms_GI = diag(gram_GII) = ||x_j||^2 each    all that Wanda needs
        mean_GI = sum over rows of x / num_rows               what a bias can make up for

        drift_sums = sum over rows of (x0 - x) x^T            x0: the row in the original model, where that
                                                              runs along; drift_totals = sum of x0 - x

    Rows are cast to float32 before they are multiplied, sums are kept in float64 (float32 where the device
    has no float64). Rows of padding, where the call's attention_mask is 0, are left out.
    """

    layer: nn.Module
    with_gram: bool = True
    num_rows: int = 0
    sums: Tensor | None = None
    totals: Tensor | None = None
    drift_sums: Tensor | None = None
    drift_totals: Tensor | None = None

    @property
    def gram_GII(self) -> Tensor:  # noqa: N802 (the shape is part of the name)
        """Sum of the outer products of rows."""
        assert self.with_gram and self.sums is not None
        return self.sums

    @property
    def squared_norms_GI(self) -> Tensor:  # noqa: N802
        """Sum of the squares of each input."""
        assert self.sums is not None
        return self.sums.diagonal(dim1=1, dim2=2) if self.with_gram else self.sums

    @property
    def mean_GI(self) -> Tensor:  # noqa: N802
        """Mean of each input."""
        assert self.totals is not None
        return self.totals / self.num_rows

    def add(self, activation: Tensor, mask: Tensor | None = None, *, original: Tensor | None = None) -> None:
        """Take in the argument of one call, and what the original model is given in its place.

        Raises:
            CalibrationError: a row holds a number that is not finite.
        """
        pieces = list(_pieces(self.layer, activation.detach(), mask))
        originals: list[Tensor | None] = [None] * len(pieces)
        if original is not None and original.shape == activation.shape:
            originals = [piece for piece, _ in _pieces(self.layer, original.detach(), mask)]
        for (piece, piece_mask), piece_before in zip(pieces, originals, strict=True):
            rows_GNI = self._rows(piece, piece_mask)
            sums = rows_GNI.mT @ rows_GNI if self.with_gram else rows_GNI.square().sum(1)
            if not bool(torch.isfinite(sums).all()):
                raise CalibrationError("a layer is given numbers that are infinite or too large for float32")
            self.sums = _added(self.sums, sums)
            self.totals = _added(self.totals, rows_GNI.sum(1))
            self.num_rows += rows_GNI.shape[1]
            if piece_before is not None:
                change_GNI = self._rows(piece_before, piece_mask) - rows_GNI
                self.drift_sums = _added(self.drift_sums, change_GNI.mT @ rows_GNI)
                self.drift_totals = _added(self.drift_totals, change_GNI.sum(1))

    def _rows(self, activation: Tensor, mask: Tensor | None) -> Tensor:
        rows_NI = input_rows_NI(self.layer, activation).float()
        kept_NI = rows_NI if mask is None else rows_NI[mask.reshape(-1)]
        num_rows, num_values = kept_NI.shape
        groups = num_groups(self.layer)
        return kept_NI.reshape(num_rows, groups, num_values // groups).transpose(0, 1)


def _added(total: Tensor | None, part: Tensor) -> Tensor:
    exact = part if part.device.type == "mps" else part.double()
    return exact if total is None else total.add_(exact)


def padding_mask(batch: ModelInputs) -> Tensor | None:
    """True where a token is real; None without padding, or when no token is real."""
    mask = batch.kwargs.get(PADDING_MASK)
    if not isinstance(mask, Tensor) or mask.ndim != 2:
        return None
    is_real = mask.detach() > 0
    return is_real if bool(is_real.any()) and not bool(is_real.all()) else None


def _pieces(
    layer: nn.Module, activation: Tensor, mask: Tensor | None
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Runs of examples with at most MAX_ROW_ELEMENTS in their rows, each with its mask if that fits."""
    num_elements = activation.numel()
    num_axes = 1
    if isinstance(layer, CONVOLUTIONS):
        num_axes = len(layer.kernel_size) + 1
        num_elements *= math.prod(layer.kernel_size)
    # A lone example without a batch axis is a batch of one.
    if activation.ndim == num_axes:
        activation = activation.unsqueeze(0)
    if num_axes > 1 or mask is None or activation.shape[:-1] != mask.shape:
        mask = None
    num_pieces = max(1, min(len(activation), -(-num_elements // MAX_ROW_ELEMENTS)))
    masks = [None] * num_pieces if mask is None else mask.tensor_split(num_pieces)
    yield from zip(activation.tensor_split(num_pieces), masks, strict=True)
