"""Blurs of four kinds. Images are float [N, C, H, W] in [0, 1]. `scale` is the shorter side over 224 pixels.

Lengths in pixels are those of ImageNet-C times `scale`. Where glass moves a pixel by less than
one, it moves some of them by one. The factor of a zoom has no length and stays.

Source: as in noise.py. Where we differ: pixels behind glass take the value of a random neighbour all at once
instead of changing places one after the other, which no batch can do; a disk covers pixels by share.
"""

import math

import torch

from ayni.data.corruptions.filtering import (
    apply_rows_columns,
    convolve,
    disk_kernel,
    gaussian_blur,
    line_kernels,
    zoom_matrix,
)

# Radius and softness of the edge (the latter in pixels of any image: it hides the grid).
_DEFOCUS = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
# Sigma of the blur before and after, longest way of a pixel, repetitions.
_GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
_MOTION = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
# End (not included) and step of the factors, from 1 on.
_ZOOM = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))


def defocus_blur(
    images: torch.Tensor, severity: int, generator: torch.Generator, *, scale: float
) -> torch.Tensor:
    """A lens out of focus: each point becomes a disk."""
    radius, edge_sigma = _DEFOCUS[severity - 1]
    return convolve(images, disk_kernel(radius * scale, edge_sigma=edge_sigma))


def glass_blur(
    images: torch.Tensor, severity: int, generator: torch.Generator, *, scale: float
) -> torch.Tensor:
    """Frosted glass: pixels take the value of a neighbour, between two blurs."""
    sigma, way, num_times = _GLASS[severity - 1]
    blurred = gaussian_blur(images, sigma * scale)
    for _ in range(num_times):
        blurred = _scatter(blurred, way, generator, scale=scale)
    return gaussian_blur(blurred, sigma * scale)


def _scatter(images: torch.Tensor, way: int, generator: torch.Generator, *, scale: float) -> torch.Tensor:
    num, channels, height, width = images.shape
    steps = torch.randint(-way, way + 1, (2, num, height, width), generator=generator) * scale
    # Up or down at random, so that the way is right in the mean.
    steps = (steps + torch.rand(steps.shape, generator=generator)).floor().long()
    rows = (torch.arange(height)[:, None] + steps[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + steps[1]).clamp(0, width - 1)
    places = (rows * width + columns).reshape(num, 1, -1).expand(-1, channels, -1)
    return images.reshape(num, channels, -1).gather(2, places).reshape(images.shape)


def motion_blur(
    images: torch.Tensor, severity: int, generator: torch.Generator, *, scale: float
) -> torch.Tensor:
    """A camera that moves, at an angle from -45 to 45 degrees."""
    radius, sigma = _MOTION[severity - 1]
    angles_N = (torch.rand(len(images), generator=generator) - 0.5) * math.pi / 2
    return convolve(images, line_kernels(angles_N, radius=radius, sigma=sigma, scale=scale))


def zoom_blur(
    images: torch.Tensor, severity: int, generator: torch.Generator, *, scale: float
) -> torch.Tensor:
    """A camera that comes near: mean of the image and its magnifications; the first of them has factor 1."""
    end, step = _ZOOM[severity - 1]
    factors = [1 + step * index for index in range(math.ceil((end - 1) / step - 1e-9))]
    height, width = images.shape[-2:]
    total = images.clone()
    for factor in factors:
        total += apply_rows_columns(images, zoom_matrix(height, factor), zoom_matrix(width, factor))
    return total / (len(factors) + 1)
