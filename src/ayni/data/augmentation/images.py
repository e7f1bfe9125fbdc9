"""A policy done to a batch of images: geometry in one resampling, then pixels, then mixing.

Batches are worked on in blocks that fit the processor's cache: twice as fast on 224x224 images. Every draw
comes from the generator that is given, so that the same seed and batch give the same views on one machine;
whoever trains on several machines gives each its own seed.

Legend: N images, C channels, H rows, W columns, K classes.

Not covered: integer images (a view of them would be rounded): make them float32 first.
"""

import torch

from ayni.data.augmentation.backends import ImageBackend
from ayni.data.augmentation.geometry import PixelMap, draw_geometry, resample
from ayni.data.augmentation.mixing import mix
from ayni.data.augmentation.operations import GEOMETRY, MIXING, PIXELS, SEARCHLESS
from ayni.data.augmentation.pixels import change_pixels_
from ayni.data.augmentation.policy import Policy
from ayni.data.augmentation.searchless import (
    Draws,
    add_geometry,
    change_pixels_by_draws_,
    draw_searchless,
)
from ayni.errors import UserError

# Values of a block. Larger ones leave the cache, smaller ones spend their time on calls.
_BLOCK_VALUES = 2**19


class AugmentationInputError(UserError):
    """What should be augmented is no batch of that kind."""


def augment_images(
    images_NCHW: torch.Tensor,
    policy: Policy,
    *,
    generator: torch.Generator,
    value_range: tuple[float, float] = (0.0, 1.0),
    backend: ImageBackend | None = None,
) -> torch.Tensor:
    """One view of each image: a new tensor of the same shape, inside the range.

    Operations that mix labels are left to `augment_labelled_images`.

    Args:
        images_NCHW: float32, on any device.
        policy: for images.
        generator: of every draw; on the CPU.
        value_range: black and white; values beyond are cut off.
        backend: another library that does geometry and pixels; None = the code here.

    Raises:
        AugmentationInputError: not float32 [N, C, H, W], or a policy for other data.
    """
    _check(images_NCHW, policy)
    if backend is not None:
        return backend.views(images_NCHW, policy, generator=generator, value_range=value_range)
    num_images, channels, height, width = images_NCHW.shape
    pixel_map, draws = PixelMap.identity(num_images), None
    for operation in policy.operations:
        if isinstance(operation, GEOMETRY):
            pixel_map = draw_geometry(pixel_map, operation, height=height, width=width, generator=generator)
        elif isinstance(operation, SEARCHLESS):
            draws = draw_searchless(
                operation, num_images=num_images, has_colour=channels == 3, generator=generator
            )
            pixel_map = add_geometry(pixel_map, draws, height=height, width=width)
    block = max(1, _BLOCK_VALUES // max(1, channels * height * width))
    views = torch.empty_like(images_NCHW, memory_format=torch.contiguous_format)
    for first in range(0, num_images, block):
        rows = slice(first, first + block)
        of_block = None if draws is None else draws.at(rows)
        view = _resampled(images_NCHW[rows], pixel_map.at(rows), of_block, policy, value_range)
        for operation in policy.operations:
            if isinstance(operation, PIXELS):
                change_pixels_(view, operation, value_range=value_range, generator=generator)
        views[rows] = view.clamp_(*value_range)
    return views


def augment_labelled_images(
    images_NCHW: torch.Tensor,
    labels: torch.Tensor,
    policy: Policy,
    *,
    num_classes: int,
    generator: torch.Generator,
    value_range: tuple[float, float] = (0.0, 1.0),
    backend: ImageBackend | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Views and their labels: as they were, or shares [N, K] where the policy mixes.

    Raises:
        AugmentationInputError: as with `augment_images`, or a label is not one of K classes.
    """
    has_views = any(not isinstance(operation, MIXING) for operation in policy.operations)
    _check(images_NCHW, policy)
    views = images_NCHW
    if has_views:
        views = augment_images(
            images_NCHW, policy, generator=generator, value_range=value_range, backend=backend
        )
    for operation in policy.operations:
        if isinstance(operation, MIXING):
            try:
                return mix(views, labels, operation, num_classes=num_classes, generator=generator)
            except ValueError as error:
                raise AugmentationInputError(f"Labels cannot be mixed: {error}.") from error
    return views, labels


def _resampled(
    images_NCHW: torch.Tensor,
    pixel_map: PixelMap,
    draws: Draws | None,
    policy: Policy,
    value_range: tuple[float, float],
) -> torch.Tensor:
    view = resample(images_NCHW, pixel_map, border=policy.border, low=value_range[0])
    if draws is not None:
        change_pixels_by_draws_(view, draws, value_range=value_range)
    return view


def _check(images_NCHW: torch.Tensor, policy: Policy) -> None:
    if policy.kind != "images":
        raise AugmentationInputError(f"The policy {policy.name} is for {policy.kind}, not for images.")
    if images_NCHW.ndim != 4 or images_NCHW.dtype != torch.float32:
        raise AugmentationInputError(
            f"Images are expected as float32 [N, C, H, W]; these are {images_NCHW.dtype} "
            f"{tuple(images_NCHW.shape)}."
        )
