"""Filters of batches: blurs, zooms and box averages as matrices, and convolutions with a kernel an image.

A filter that treats rows and columns apart is two matrix products, whatever its width. The rest is a
convolution, direct for narrow kernels and by Fourier transform for wide ones.

Legend: N images, C channels, H height, W width, K side of a kernel, S positions along a side.

Not covered: filters across channels.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the name that torch's own pages use

# Above this side the Fourier transform takes less time (one core, 32 and 224 px).
_WIDEST_DIRECT = 9


def apply_rows_columns(images_NCHW: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Multiply rows @ image @ columns^T for every channel; matrices [H', H] and [W', W]."""
    return rows @ images_NCHW @ columns.T


def gaussian_blur(images_NCHW: torch.Tensor, sigma: float) -> torch.Tensor:
    """Blur with a Gaussian of `sigma` pixels, cut at 4 sigma; edges are mirrored."""
    if sigma < 0.05:  # Narrower than a tenth of a pixel: nothing to see.
        return images_NCHW
    height, width = images_NCHW.shape[-2:]
    return apply_rows_columns(images_NCHW, gaussian_matrix(height, sigma), gaussian_matrix(width, sigma))


def gaussian_matrix(size: int, sigma: float) -> torch.Tensor:
    """Matrix [S, S] that blurs a line of `size` values; what lies outside is mirrored with the edge."""
    reach = max(1, math.ceil(4 * sigma))
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    positions = torch.arange(size)[:, None] + offsets[None]
    # The mirrored line repeats after 2 * size, however far the Gaussian reaches.
    folded = positions.remainder(2 * size)
    folded = torch.minimum(folded, 2 * size - 1 - folded)
    matrix = torch.zeros(size, size)
    return matrix.scatter_add_(1, folded, (weights / weights.sum()).expand(size, -1).contiguous())


def zoom_matrix(size: int, factor: float) -> torch.Tensor:
    """Matrix [S, S] that magnifies a line about its centre, with linear interpolation. `factor` >= 1."""
    centre = (size - 1) / 2
    sources = centre + (torch.arange(size) - centre) / factor
    return _linear_matrix(sources, size)


def stretch_matrix(size_in: int, size_out: int) -> torch.Tensor:
    """Matrix [size_out, size_in] that stretches a line so that its ends meet, with linear interpolation."""
    if size_in == 1:
        return torch.ones(size_out, 1)
    return _linear_matrix(torch.linspace(0, size_in - 1, size_out), size_in)


def _linear_matrix(sources_S: torch.Tensor, size: int) -> torch.Tensor:
    low = sources_S.floor().long().clamp(0, size - 1)
    high = (low + 1).clamp(max=size - 1)
    share = sources_S - low
    matrix = torch.zeros(len(sources_S), size)
    matrix.scatter_add_(1, low[:, None], (1 - share)[:, None])
    return matrix.scatter_add_(1, high[:, None], share[:, None])


def box_matrix(size: int, num_boxes: int) -> torch.Tensor:
    """Matrix [S, S] that replaces each value of a line by the mean of its box, of `num_boxes` equal ones.

    A value on the border of two boxes counts for both by its share.
    """
    edges = torch.linspace(0, size, num_boxes + 1)
    starts, ends = edges[:-1, None], edges[1:, None]
    cells = torch.arange(size)[None]
    overlap = (torch.minimum(ends, cells + 1) - torch.maximum(starts, cells)).clamp(min=0)
    means = overlap / overlap.sum(1, keepdim=True)
    box_of = ((torch.arange(size) + 0.5) * num_boxes / size).long().clamp(max=num_boxes - 1)
    return means[box_of]


def convolve(images_NCHW: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Convolve each image with its kernel: kernels [N, K, K], or [1, K, K] for all; edges are mirrored.

    K is odd. Sides that are shorter than half a kernel repeat their edge instead.
    """
    height, width = images_NCHW.shape[-2:]
    reach = kernels.shape[-1] // 2
    mode = "reflect" if reach < min(height, width) else "replicate"
    padded = F.pad(images_NCHW, (reach, reach, reach, reach), mode=mode)
    if kernels.shape[-1] > _WIDEST_DIRECT:
        return _convolve_by_fourier(padded, kernels, (height, width))
    flipped = kernels.flip(-1, -2)
    # Shifted sums: torch's own convolution of one channel takes four times as long, a grouped one ten times.
    result = torch.zeros_like(images_NCHW)
    for row in range(kernels.shape[-1]):
        for column in range(kernels.shape[-1]):
            weights_N = flipped[:, row, column]
            if weights_N.any():
                shifted = padded[..., row : row + height, column : column + width]
                result.addcmul_(shifted, weights_N[:, None, None, None])
    return result


def _convolve_by_fourier(padded: torch.Tensor, kernels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The part of the circular convolution that no edge touches."""
    shape = padded.shape[-2:]
    reach = kernels.shape[-1] // 2
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernels, s=list(shape))[:, None]
    whole: torch.Tensor = torch.fft.irfft2(spectrum, s=list(shape))
    return whole[..., 2 * reach : 2 * reach + size[0], 2 * reach : 2 * reach + size[1]]


def disk_kernel(radius: float, *, edge_sigma: float) -> torch.Tensor:
    """Kernel [1, K, K] of a lens out of focus: a disk of `radius` pixels with a soft edge.

    The disk is made of points, 9 x 9 in a pixel, each of which falls on the four pixels around it by its
    distance, so that radii below one pixel blur as well.
    """
    per_pixel = 9
    half = max(1, math.ceil(radius * per_pixel))
    line = torch.arange(-half, half + 1) / per_pixel
    down, right = torch.meshgrid(line, line, indexing="ij")
    is_inside = down**2 + right**2 <= radius**2
    down, right = down[is_inside], right[is_inside]
    reach = math.ceil(radius + 2 * edge_sigma) + 1
    disk = _spread(down[None] + reach, right[None] + reach, torch.ones(1, len(down)), side=2 * reach + 1)
    soft = gaussian_blur(disk[None], edge_sigma)[0]
    return soft / soft.sum()


def line_kernels(angles_N: torch.Tensor, *, radius: float, sigma: float, scale: float) -> torch.Tensor:
    """Kernels [N, K, K] of a camera that moves: half a Gaussian along a line at each angle (radians).

    The line has 2 * radius + 1 points, `scale` pixels apart, weighted by a Gaussian of `sigma` points.
    """
    points_P = torch.arange(2 * int(radius) + 1, dtype=torch.float32)
    weights_P = torch.exp(-0.5 * (points_P / sigma) ** 2)
    length = float(points_P[-1]) * scale
    reach = math.ceil(length) + 1
    side = 2 * reach + 1
    rows = reach + torch.sin(angles_N)[:, None] * points_P * scale
    columns = reach + torch.cos(angles_N)[:, None] * points_P * scale
    kernels = _spread(rows, columns, weights_P.expand(len(angles_N), -1), side=side)
    return kernels / kernels.sum((1, 2), keepdim=True)


def _spread(rows: torch.Tensor, columns: torch.Tensor, weights: torch.Tensor, *, side: int) -> torch.Tensor:
    """Points [N, P] with weights [N, P] on grids [N, side, side], each on the four cells around it."""
    grids = torch.zeros(len(rows), side * side)
    top, left = rows.floor(), columns.floor()
    for down in (0, 1):
        for right in (0, 1):
            share = (1 - (rows - top - down).abs()) * (1 - (columns - left - right).abs())
            cells = ((top + down) * side + left + right).long()
            grids.scatter_add_(1, cells, share * weights)
    return grids.reshape(-1, side, side)
