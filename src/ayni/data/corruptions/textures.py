"""Fog, frost and snow that are drawn from random numbers, at any size.

The paper takes frost from photographs; ours is drawn, so that nothing has to be copied. Numbers of frost,
fog and snow are therefore comparable among Ayni's own measurements and not with published tables.

Legend: N images, H height, W width.
"""

import math

import torch

from ayni.data.corruptions.filtering import apply_rows_columns, convolve, line_kernels, stretch_matrix

_RIDGE_SHARPNESS = 3.0


def plasma(num: int, height: int, width: int, *, decay: float, generator: torch.Generator) -> torch.Tensor:
    """Clouds [N, 1, H, W] that fill [0, 1]: sum of octaves, each `decay` times weaker than the one before.

    The first octave spans the whole image, so that clouds grow with it.
    """
    total = torch.zeros(num, 1, height, width)
    num_octaves = max(1, math.ceil(math.log2(max(height, width))))
    for octave in range(num_octaves):
        grid = 2**octave + 1
        noise = torch.rand(num, 1, grid, grid, generator=generator) * 2 - 1
        rows, columns = stretch_matrix(grid, height), stretch_matrix(grid, width)
        total += apply_rows_columns(noise, rows, columns) * decay**-octave
    low, high = total.amin((1, 2, 3), keepdim=True), total.amax((1, 2, 3), keepdim=True)
    return (total - low) / (high - low).clamp(min=1e-6)


def frost(num: int, height: int, width: int, *, generator: torch.Generator) -> torch.Tensor:
    """Ice [N, 1, H, W] in [0, 1]: bright ridges where a cloud crosses its middle, in patches, with grain."""
    cloud = plasma(num, height, width, decay=1.5, generator=generator)
    patches = plasma(num, height, width, decay=1.9, generator=generator)
    ridges = (1 - (2 * cloud - 1).abs()) ** _RIDGE_SHARPNESS
    grain = torch.rand(num, 1, height, width, generator=generator) * 0.15
    return (0.15 + 0.75 * ridges * (0.4 + 0.6 * patches) + 0.25 * patches + grain).clamp(0, 1)


def snowfall(
    num: int,
    height: int,
    width: int,
    *,
    mean: float,
    deviation: float,
    zoom: float,
    threshold: float,
    radius: float,
    sigma: float,
    scale: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Flakes [N, 1, H, W] in [0, 1] that fall at a random angle: noise above a threshold, blurred along it.

    Flakes are `zoom * scale` pixels wide and never less than one, trails 2 * radius * scale.
    """
    flake = max(1.0, zoom * scale)
    grid_h, grid_w = max(2, math.ceil(height / flake)), max(2, math.ceil(width / flake))
    noise = torch.randn(num, 1, grid_h, grid_w, generator=generator) * deviation + mean
    if flake == 1.0:
        # Wider flakes are interpolated, which leaves two thirds of the deviation. So have these, or small
        # images would get three times the snow.
        noise = mean + (noise - mean) * 2 / 3
    layer = apply_rows_columns(noise, stretch_matrix(grid_h, height), stretch_matrix(grid_w, width))
    layer = torch.where(layer < threshold, 0.0, layer).clamp(0, 1)
    # From the upper right to the upper left, straight down in the middle.
    angles_N = (torch.rand(num, generator=generator) * 90 + 45) * math.pi / 180
    return convolve(layer, line_kernels(angles_N, radius=radius, sigma=sigma, scale=scale))
