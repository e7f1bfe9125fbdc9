"""Noise, brightness, contrast, colour and cutout of a batch, in place, in any range of values.

A drawn amount differs from image to image. Levels beyond the range are cut off once, after all of them.

Legend: N images, C channels, H rows, W columns.

Not covered: blur, and what depends on the classes of pixels.
"""

import torch

from ayni.data.augmentation.operations import Brightness, Colour, Contrast, Cutout, Noise, PixelOperation

# Up to so many pixels one indexed write for the batch is faster than a slice for each image.
_FEW_PIXELS = 64 * 64
_GREY_3 = (0.299, 0.587, 0.114)


def change_pixels_(
    images_NCHW: torch.Tensor,
    operation: PixelOperation,
    *,
    value_range: tuple[float, float],
    generator: torch.Generator,
) -> None:
    """Do the operation to the images themselves. Colour needs three channels and leaves others alone."""
    num_images, low, high = len(images_NCHW), *value_range
    if isinstance(operation, Cutout):
        _cut_out_(images_NCHW, operation, low + operation.level * (high - low), generator)
        return
    if isinstance(operation, Noise):
        _add_noise_(images_NCHW, operation, high - low, generator)
        return
    done_N = torch.rand(num_images, generator=generator) < operation.probability
    amount_N = (2 * torch.rand(num_images, generator=generator) - 1) * operation.amount * done_N
    if isinstance(operation, Brightness):
        images_NCHW += (amount_N * (high - low)).view(-1, 1, 1, 1)
    elif isinstance(operation, Contrast):
        stretch_(images_NCHW, amount_N, grey_of(images_NCHW).mean(dim=(1, 2, 3), keepdim=True))
    elif isinstance(operation, Colour) and images_NCHW.shape[1] == 3:
        stretch_(images_NCHW, amount_N, grey_of(images_NCHW))


def stretch_(images_NCHW: torch.Tensor, amount_N: torch.Tensor, pivot: torch.Tensor) -> None:
    """Move levels away from the pivot: (1 + amount) * images - amount * pivot."""
    images_NCHW += amount_N.view(-1, 1, 1, 1) * (images_NCHW - pivot)


def grey_of(images_NCHW: torch.Tensor) -> torch.Tensor:
    """Luma [N, 1, H, W] of colour images (ITU-R BT.601); of others the mean of the channels."""
    if images_NCHW.shape[1] != 3:
        return images_NCHW.mean(dim=1, keepdim=True)
    weights = torch.tensor(_GREY_3, dtype=images_NCHW.dtype, device=images_NCHW.device)
    return (images_NCHW * weights.view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def _add_noise_(images_NCHW: torch.Tensor, operation: Noise, span: float, generator: torch.Generator) -> None:
    noise = torch.empty_like(images_NCHW).normal_(generator=generator)
    if operation.probability < 1:
        done_N = torch.rand(len(images_NCHW), generator=generator) < operation.probability
        images_NCHW.addcmul_(
            noise, done_N.to(noise.dtype).view(-1, 1, 1, 1), value=operation.deviation * span
        )
    else:
        images_NCHW.add_(noise, alpha=operation.deviation * span)


def _cut_out_(images_NCHW: torch.Tensor, operation: Cutout, level: float, generator: torch.Generator) -> None:
    num_images, channels, height, width = images_NCHW.shape
    side = round(operation.size * min(height, width))
    rows = torch.nonzero(torch.rand(num_images, generator=generator) < operation.probability)[:, 0]
    corners_R2 = (torch.rand(num_images, 2, generator=generator) * torch.tensor([height, width])).floor().to(
        torch.int64
    )[rows] - side // 2
    if not side:
        return
    if height * width > _FEW_PIXELS:
        for row, (top, left) in zip(rows.tolist(), corners_R2.tolist(), strict=True):
            images_NCHW[row, :, max(top, 0) : top + side, max(left, 0) : left + side] = level
        return
    # Pixels beyond the border fall on those of the square that are inside, as its centre is inside.
    step_S = torch.arange(side)
    y_RS = (corners_R2[:, :1] + step_S).clamp_(0, height - 1)
    x_RS = (corners_R2[:, 1:] + step_S).clamp_(0, width - 1)
    pixel_RSS = (
        (rows[:, None] * channels * height * width)[:, :, None] + y_RS[:, :, None] * width + x_RS[:, None, :]
    )
    channel_C = torch.arange(channels).view(-1, 1, 1, 1) * (height * width)
    images_NCHW.view(-1).index_fill_(0, (pixel_RSS[None] + channel_C).reshape(-1), level)
