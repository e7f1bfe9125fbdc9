"""CutMix and mixup: two examples become one, and so do their labels.

Labels become shares of classes [N, K], which cross entropy takes as it takes class numbers. A share is the
area that was really pasted, after the box was cut off at the border and rounded to whole pixels.

Legend: N images, C channels, H rows, W columns, K classes.

Not covered: mixing of texts.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from ayni.data.augmentation.operations import CutMix, MixingOperation, Mixup

_FEW_PIXELS = 64 * 64


def mix(
    inputs: torch.Tensor,
    labels: torch.Tensor,
    operation: MixingOperation,
    *,
    num_classes: int,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each example with a part of another one, and its labels as shares [N, K], float32.

    Args:
        inputs: [N, C, H, W] for CutMix, [N, ...] for mixup; not changed.
        labels: class numbers [N], or shares [N, K].
        operation: what is done.
        num_classes: K, when labels are numbers.
        generator: of every draw.

    Raises:
        ValueError: a label is K or more, or negative.
    """
    shares_NK = shares_of(labels, num_classes=num_classes)
    num = len(inputs)
    # Beta has no draw from a torch generator; numpy's is seeded from it.
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    done_N = rng.random(num) < operation.probability
    partner_N = torch.from_numpy(rng.permutation(num))
    kept_N = np.where(done_N, rng.beta(operation.alpha, operation.alpha, num), 1.0)
    if isinstance(operation, Mixup):
        mixed, kept = _blend(inputs, partner_N, kept_N), torch.from_numpy(kept_N.astype(np.float32))
    else:
        assert isinstance(operation, CutMix)
        mixed, kept = _paste(inputs, partner_N, kept_N, rng)
    weight_N1 = kept.to(shares_NK.device)[:, None]
    return mixed, weight_N1 * shares_NK + (1 - weight_N1) * shares_NK[partner_N]


def shares_of(labels: torch.Tensor, *, num_classes: int) -> torch.Tensor:
    """Class numbers [N] as shares [N, K]; shares stay as they are.

    Raises:
        ValueError: a label is K or more, or negative.
    """
    if labels.ndim == 2:
        return labels.to(torch.float32)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f"labels from {int(labels.min())} to {int(labels.max())}, expected 0 to {num_classes - 1}"
        )
    return torch.nn.functional.one_hot(labels.to(torch.int64), num_classes).to(torch.float32)


def _blend(inputs: torch.Tensor, partner_N: torch.Tensor, kept_N: NDArray[np.float64]) -> torch.Tensor:
    weight = torch.from_numpy(kept_N.astype(np.float32)).to(inputs.device).view(-1, *[1] * (inputs.ndim - 1))
    return torch.lerp(inputs[partner_N], inputs, weight.to(inputs.dtype))


def _paste(
    images_NCHW: torch.Tensor,
    partner_N: torch.Tensor,
    kept_N: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The images with a box of their partner, and the share of each that is its own, [N]."""
    num, _, height, width = images_NCHW.shape
    side_N = np.sqrt(1 - kept_N)
    boxes = []
    for length in (height, width):
        centre_N, half_N = rng.integers(length, size=num), side_N * length / 2
        first_N = np.clip(np.round(centre_N - half_N), 0, length).astype(np.int64)
        # A box of share 0 is empty, also where rounding would give it a pixel.
        last_N = np.clip(np.round(centre_N + half_N), 0, length).astype(np.int64)
        boxes.append((first_N, np.where(side_N > 0, last_N, first_N)))
    (top_N, bottom_N), (left_N, right_N) = boxes
    kept = 1 - (bottom_N - top_N) * (right_N - left_N) / (height * width)
    if height * width > _FEW_PIXELS:
        mixed = images_NCHW.clone()
        for row, (top, bottom, left, right) in enumerate(
            zip(top_N.tolist(), bottom_N.tolist(), left_N.tolist(), right_N.tolist(), strict=True)
        ):
            mixed[row, :, top:bottom, left:right] = images_NCHW[partner_N[row], :, top:bottom, left:right]
    else:
        y_H, x_W = np.arange(height), np.arange(width)
        in_y_NH = (y_H >= top_N[:, None]) & (y_H < bottom_N[:, None])
        in_x_NW = (x_W >= left_N[:, None]) & (x_W < right_N[:, None])
        inside = torch.from_numpy(in_y_NH[:, None, :, None] & in_x_NW[:, None, None, :]).to(
            images_NCHW.device
        )
        mixed = torch.where(inside, images_NCHW[partner_N], images_NCHW)
    return mixed, torch.from_numpy(kept.astype(np.float32))
