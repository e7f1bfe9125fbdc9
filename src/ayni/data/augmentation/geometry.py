"""Crop, flip, rotate, scale and shear of a batch as one map of pixels, and one resampling.

Every operation is a 2x2 matrix and a shift about the image's centre ((W - 1) / 2, (H - 1) / 2); they are
multiplied first, so that pixels are interpolated once however many operations there are. Angles are those of
the image: matrices work in pixels, not in the square coordinates of grid_sample, so that a turn stays a turn
on an image that is not square. Maps that only move whole pixels or mirror do not interpolate at all.

Legend: N images, C channels, H rows, W columns; x to the right, y down.

Not covered: perspective and elastic maps; interpolation other than bilinear; smoothing before shrinking.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch.nn import functional

from ayni.data.augmentation.operations import Crop, Flip, GeometryOperation, Rotate, Scale, Shear
from ayni.data.augmentation.policy import Border

_PADDING_MODE = {"reflect": "reflection", "edge": "border", "low": "zeros"}
_PAD_MODE = {"reflect": "reflect", "edge": "replicate", "low": "constant"}

# Up to so many pixels one gather for the batch is faster than a slice for each image.
_FEW_PIXELS = 64 * 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PixelMap:
    """For each image, where an output pixel comes from: source = matrix @ output + shift, about the centre.

    matrix [N, 2, 2], shift [N, 2], both of (x, y).
    `is_exact` says that every source is a whole pixel: only moves and mirrors.
    """

    matrix: torch.Tensor
    shift: torch.Tensor
    is_exact: bool

    @classmethod
    def identity(cls, num_images: int) -> Self:
        """Every pixel stays where it is."""
        matrix = torch.eye(2).repeat(num_images, 1, 1)
        return cls(matrix=matrix, shift=torch.zeros(num_images, 2), is_exact=True)

    def at(self, rows: slice) -> Self:
        """The map of some of the images."""
        return type(self)(matrix=self.matrix[rows], shift=self.shift[rows], is_exact=self.is_exact)

    def then(self, matrix_N22: torch.Tensor, shift_N2: torch.Tensor, *, is_exact: bool = False) -> Self:
        """This map and after it another operation, given as the inverse of what it does to the image."""
        shift = (self.matrix @ shift_N2[..., None])[..., 0] + self.shift
        return type(self)(matrix=self.matrix @ matrix_N22, shift=shift, is_exact=self.is_exact and is_exact)

    def turned(self, radians_N: torch.Tensor) -> Self:
        """A turn, counter-clockwise as one sees it."""
        cosine, sine = radians_N.cos(), radians_N.sin()
        return self.then(_matrix(cosine, -sine, sine, cosine), torch.zeros_like(self.shift))

    def scaled(self, factors_N: torch.Tensor) -> Self:
        """Larger by a factor."""
        zeros = torch.zeros_like(factors_N)
        inverse = 1 / factors_N
        return self.then(_matrix(inverse, zeros, zeros, inverse), torch.zeros_like(self.shift))

    def sheared(self, x_per_y_N: torch.Tensor, y_per_x_N: torch.Tensor | None = None) -> Self:
        """Rows moved in proportion to y, or columns in proportion to x."""
        ones, zeros = torch.ones_like(x_per_y_N), torch.zeros_like(x_per_y_N)
        other = zeros if y_per_x_N is None else -y_per_x_N
        return self.then(_matrix(ones, -x_per_y_N, other, ones), torch.zeros_like(self.shift))

    def moved(self, pixels_N2: torch.Tensor, *, is_exact: bool = False) -> Self:
        """Moved to the right and down."""
        return self.then(
            torch.eye(2).expand(len(pixels_N2), 2, 2), -pixels_N2.to(torch.float32), is_exact=is_exact
        )

    def mirrored(self, in_x_N: torch.Tensor, in_y_N: torch.Tensor) -> Self:
        """Mirrored left to right where `in_x_N` is true, top to bottom where `in_y_N` is."""
        zeros = torch.zeros(len(in_x_N))
        signs_x, signs_y = 1 - 2 * in_x_N.to(torch.float32), 1 - 2 * in_y_N.to(torch.float32)
        return self.then(_matrix(signs_x, zeros, zeros, signs_y), torch.zeros_like(self.shift), is_exact=True)


def draw_geometry(
    pixel_map: PixelMap,
    operation: GeometryOperation,
    *,
    height: int,
    width: int,
    generator: torch.Generator,
) -> PixelMap:
    """The map and after it the operation, with its random numbers drawn for each image."""
    num_images = len(pixel_map.shift)
    done_N = torch.rand(num_images, generator=generator) < operation.probability
    if isinstance(operation, Flip):
        sides_2N = torch.rand(2, num_images, generator=generator) < 0.5
        if operation.horizontal != operation.vertical:
            sides_2N[:] = True  # one direction alone is decided by `probability`
        no = torch.zeros_like(done_N)
        return pixel_map.mirrored(
            done_N & sides_2N[0] if operation.horizontal else no,
            done_N & sides_2N[1] if operation.vertical else no,
        )
    if isinstance(operation, Crop):
        # Of an image with fewer pixels there is no mirror image as wide as the image itself.
        most_2 = torch.tensor([max_move(operation, width), max_move(operation, height)])
        drawn_N2 = torch.rand(num_images, 2, generator=generator)
        pixels_N2 = (drawn_N2 * (2 * most_2 + 1)).floor() - most_2
        return pixel_map.moved(pixels_N2 * done_N[:, None], is_exact=True)
    uniform_N = (2 * torch.rand(num_images, generator=generator) - 1) * done_N
    if isinstance(operation, Rotate):
        return pixel_map.turned(uniform_N * math.radians(operation.degrees))
    if isinstance(operation, Scale):
        return pixel_map.scaled(1 + uniform_N * operation.amount)
    assert isinstance(operation, Shear)
    return pixel_map.sheared((uniform_N * math.radians(operation.degrees)).tan())


def max_move(operation: Crop, side: int) -> int:
    """The most pixels that a crop moves an image of this side."""
    return min(round(operation.padding * side), side - 1)


def resample(
    images_NCHW: torch.Tensor, pixel_map: PixelMap, *, border: Border = "reflect", low: float = 0.0
) -> torch.Tensor:
    """The images seen through the map, bilinearly; a new tensor of the same shape.

    Args:
        images_NCHW: float32.
        pixel_map: of as many images.
        border: what stands beyond the edge; "reflect" does not repeat the last pixel.
        low: the level of the border "low".
    """
    if pixel_map.is_exact:
        return _moved_exactly(images_NCHW, pixel_map, border=border, low=low)
    _, _, height, width = images_NCHW.shape
    grid_N2HW = _grid(pixel_map, height, width).to(images_NCHW.device)
    shifted = images_NCHW - low if border == "low" and low else images_NCHW
    seen: torch.Tensor = functional.grid_sample(
        shifted, grid_N2HW.permute(0, 2, 3, 1), padding_mode=_PADDING_MODE[border], align_corners=True
    )
    return seen.add_(low) if border == "low" and low else seen


def _grid(pixel_map: PixelMap, height: int, width: int) -> torch.Tensor:
    """Where each output pixel comes from, in the coordinates of grid_sample: -1 and 1 are the outer pixels.

    Channels first, because grid_sample reads that faster than pairs, and a sum of a row and a column, because
    affine_grid's product of matrices costs as much as the resampling.
    """
    scale_x, scale_y = 2 / max(width - 1, 1), 2 / max(height - 1, 1)
    x_W = torch.arange(width) - (width - 1) / 2
    y_H = torch.arange(height) - (height - 1) / 2
    matrix, shift = pixel_map.matrix, pixel_map.shift
    grid_N2HW = torch.empty(len(shift), 2, height, width)
    for axis, scale in enumerate((scale_x, scale_y)):
        of_x_N1W = (matrix[:, axis, 0, None] * x_W * scale)[:, None, :]
        of_y_NH1 = ((matrix[:, axis, 1, None] * y_H + shift[:, axis, None]) * scale)[:, :, None]
        torch.add(of_x_N1W, of_y_NH1, out=grid_N2HW[:, axis])
    return grid_N2HW


def _moved_exactly(
    images_NCHW: torch.Tensor, pixel_map: PixelMap, *, border: Border, low: float
) -> torch.Tensor:
    """Moves and mirrors by slices of a padded copy: of large images ten times faster than gathering."""
    _, _, height, width = images_NCHW.shape
    signs_N2 = pixel_map.matrix.diagonal(dim1=1, dim2=2)
    moves_N2 = pixel_map.shift.round().to(torch.int64)
    most_x, most_y = (int(moves_N2[:, axis].abs().max()) if len(moves_N2) else 0 for axis in (0, 1))
    padded = images_NCHW
    if most_x or most_y:
        padding, value = (most_x, most_x, most_y, most_y), low if border == "low" else 0.0
        padded = functional.pad(images_NCHW, padding, mode=_PAD_MODE[border], value=value)
    elif not (signs_N2 < 0).any():
        return images_NCHW.clone(memory_format=torch.contiguous_format)
    if height * width <= _FEW_PIXELS:
        return _gathered(
            padded, signs_N2, moves_N2 + torch.tensor([most_x, most_y]), height=height, width=width
        )
    seen = torch.empty_like(images_NCHW, memory_format=torch.contiguous_format)
    for row, ((x, y), (sign_x, sign_y)) in enumerate(zip(moves_N2.tolist(), signs_N2.tolist(), strict=True)):
        # The slice is mirrored about the centre of the image, to which the moves are relative.
        piece = padded[row, :, most_y + y : most_y + y + height, most_x + x : most_x + x + width]
        axes = [axis for axis, sign in ((2, sign_x), (1, sign_y)) if sign < 0]
        seen[row] = piece.flip(axes) if axes else piece
    return seen


def _gathered(
    padded: torch.Tensor, signs_N2: torch.Tensor, corners_N2: torch.Tensor, *, height: int, width: int
) -> torch.Tensor:
    """The same by an index for each pixel: faster where a slice costs more than what it copies."""
    num_images, channels, padded_height, padded_width = padded.shape
    x_W, y_H = torch.arange(width), torch.arange(height)
    x_NW = torch.where(signs_N2[:, :1] < 0, width - 1 - x_W, x_W) + corners_N2[:, :1]
    y_NH = torch.where(signs_N2[:, 1:] < 0, height - 1 - y_H, y_H) + corners_N2[:, 1:]
    pixel_NP = (y_NH[:, :, None] * padded_width + x_NW[:, None, :]).view(num_images, 1, -1).to(padded.device)
    flat = padded.reshape(num_images, channels, padded_height * padded_width)
    return flat.gather(2, pixel_NP.expand(-1, channels, -1)).view(num_images, channels, height, width)


def _matrix(a_N: torch.Tensor, b_N: torch.Tensor, c_N: torch.Tensor, d_N: torch.Tensor) -> torch.Tensor:
    return torch.stack([a_N, b_N, c_N, d_N], dim=1).view(-1, 2, 2)
