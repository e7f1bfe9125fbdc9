"""RandAugment and TrivialAugment on a batch: each image draws its own operations from a fixed list.

Magnitude m from 0 to 30 is a share m / 30 of the strongest: turn 30 degrees, shear 0.3 (17 degrees), move 1/3
of the side, brightness, contrast, colour and sharpness +-0.9, posterize down to 4 bits, solarize from half of
the range on. Signs are random. These are the ranges of the RandAugment paper's code but for the moves, which
are there 100 pixels of an image of 331.

Geometry of all draws is done first, in one resampling with the rest of the policy; the other operations
follow, draw by draw. On grey images `colour` is not in the list.

Legend: N images, C channels, H rows, W columns.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from ayni.data.augmentation.geometry import PixelMap
from ayni.data.augmentation.operations import SEARCHLESS_LIST, RandAugment, SearchlessOperation
from ayni.data.augmentation.pixels import grey_of, stretch_

_LARGEST = 30.0
_TURN_RADIANS, _SHEAR, _MOVE, _LEVEL = math.radians(30), 0.3, 1 / 3, 0.9
_GEOMETRY = ("shear_x", "shear_y", "move_x", "move_y", "turn")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draws:
    """For each of D draws and N images, [D, N]: the position in the list, and a magnitude of -1 to 1."""

    chosen: torch.Tensor
    magnitude: torch.Tensor

    def at(self, rows: slice) -> "Draws":
        """What some of the images drew."""
        return Draws(chosen=self.chosen[:, rows], magnitude=self.magnitude[:, rows])

    def of(self, draw: int, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """The images [R] that drew this operation, and their magnitudes [R]."""
        rows = torch.nonzero(self.chosen[draw] == SEARCHLESS_LIST.index(name))[:, 0]
        return rows, self.magnitude[draw, rows]


def draw_searchless(
    operation: SearchlessOperation, *, num_images: int, has_colour: bool, generator: torch.Generator
) -> Draws:
    """What each image draws."""
    is_rand = isinstance(operation, RandAugment)
    shape = (operation.operations if isinstance(operation, RandAugment) else 1, num_images)
    chosen = torch.randint(len(SEARCHLESS_LIST) - (not has_colour), shape, generator=generator)
    level = operation.magnitude / _LARGEST
    size = torch.full(shape, level) if is_rand else torch.rand(shape, generator=generator) * level
    sign = 1 - 2 * torch.randint(2, shape, generator=generator)
    return Draws(chosen=chosen, magnitude=size * sign)


def add_geometry(pixel_map: PixelMap, draws: Draws, *, height: int, width: int) -> PixelMap:
    """The map, and after it what of the draws moves pixels. Unchanged when nothing does."""
    for draw in range(len(draws.chosen)):
        amounts = {}
        for name in _GEOMETRY:
            rows, magnitude = draws.of(draw, name)
            amount = torch.zeros(draws.chosen.shape[1])
            amount[rows] = magnitude
            amounts[name] = amount
        if not any(bool(amount.any()) for amount in amounts.values()):
            continue
        moves = torch.stack([amounts["move_x"] * width, amounts["move_y"] * height], dim=1) * _MOVE
        pixel_map = (
            pixel_map.turned(amounts["turn"] * _TURN_RADIANS)
            .sheared(amounts["shear_x"] * _SHEAR, amounts["shear_y"] * _SHEAR)
            .moved(moves)
        )
    return pixel_map


def change_pixels_by_draws_(
    images_NCHW: torch.Tensor, draws: Draws, *, value_range: tuple[float, float]
) -> None:
    """Do to each image what it drew, in place; the result stays in the range."""
    low, high = value_range
    for draw in range(len(draws.chosen)):
        for name in SEARCHLESS_LIST:
            if name in _GEOMETRY or name == "identity":
                continue
            rows, magnitude = draws.of(draw, name)
            if not len(rows):
                continue
            unit = (images_NCHW[rows] - low) / (high - low)
            images_NCHW[rows] = _changed(name, unit, magnitude).clamp_(0, 1) * (high - low) + low


def _changed(name: str, unit_RCHW: torch.Tensor, magnitude_R: torch.Tensor) -> torch.Tensor:
    """Images of the range [0, 1] after one operation."""
    share_R111 = magnitude_R.abs().view(-1, 1, 1, 1)
    if name == "autocontrast":
        low, high = unit_RCHW.amin((2, 3), keepdim=True), unit_RCHW.amax((2, 3), keepdim=True)
        span = high - low
        return torch.where(span > 0, (unit_RCHW - low) / span.clamp(min=1e-12), unit_RCHW)
    if name == "equalize":
        return _equalized(unit_RCHW)
    if name == "solarize":
        return torch.where(unit_RCHW >= 1 - share_R111 / 2, 1 - unit_RCHW, unit_RCHW)
    if name == "posterize":
        levels = 2 ** (8 - (share_R111 * 4).round())
        return torch.where(
            share_R111 > 0, (unit_RCHW * 255 / 256 * levels).floor() / levels * 256 / 255, unit_RCHW
        )
    if name == "brightness":
        return unit_RCHW * (1 + magnitude_R.view(-1, 1, 1, 1) * _LEVEL)
    changed = unit_RCHW.clone()
    pivots = {"contrast": _mean_grey, "colour": grey_of, "sharpness": _smoothed}
    stretch_(changed, magnitude_R * _LEVEL, pivots[name](unit_RCHW))
    return changed


def _mean_grey(unit_RCHW: torch.Tensor) -> torch.Tensor:
    return grey_of(unit_RCHW).mean(dim=(2, 3), keepdim=True)


def _smoothed(unit_RCHW: torch.Tensor) -> torch.Tensor:
    """The 3x3 kernel 1 1 1, 1 5 1, 1 1 1 over 13, as Pillow's SMOOTH has it; the outer pixels stay."""
    height, width = unit_RCHW.shape[2:]
    if min(height, width) < 3:
        return unit_RCHW
    flat = unit_RCHW.reshape(-1, 1, height, width)
    smoothed = flat.clone()
    inner = flat[..., 1:-1, 1:-1]
    smoothed[..., 1:-1, 1:-1] = (9 * functional.avg_pool2d(flat, 3, stride=1) + 4 * inner) / 13
    return smoothed.view_as(unit_RCHW)


def _equalized(unit_RCHW: torch.Tensor) -> torch.Tensor:
    """Each channel with its 256 levels spread evenly; one with a single level stays."""
    height, width = unit_RCHW.shape[2:]
    level_MP = (unit_RCHW * 255).round().clamp_(0, 255).to(torch.int64).reshape(-1, height * width)
    counts = torch.zeros(len(level_MP), 256).scatter_add_(1, level_MP, torch.ones(level_MP.shape))
    below = counts.cumsum(1)
    first = counts.gather(1, level_MP.amin(1, keepdim=True))
    spread = (below - first) / (height * width - first).clamp(min=1)
    is_flat = first == height * width
    even = torch.where(is_flat, level_MP / 255, spread.gather(1, level_MP))
    return even.view_as(unit_RCHW).to(unit_RCHW.dtype)
