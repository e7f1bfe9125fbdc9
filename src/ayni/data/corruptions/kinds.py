"""The 15 kinds of corruption by name, and one function that applies one of them to a batch.

Severities are the constants that Hendrycks and Dietterich (2019) published for ImageNet-C, made for images
of 224 pixels. On other sizes every length in pixels (radius, sigma, way, width of a flake) is multiplied by
shorter side / 224, as the same authors' constants for CIFAR-10 do by and large (a defocus of radius 3 to 10
becomes 0.3 to 1.5 there, 0.43 to 1.43 here). Strengths, shares and factors stay.

Not covered: other layouts than those of `corrupt`, images that were standardised by channel, devices other
than the CPU.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal, TypeAlias

import torch

from ayni.data.corruptions import blur, digital, noise, weather
from ayni.errors import UserError

Family: TypeAlias = Literal["noise", "blur", "weather", "digital"]
SEVERITIES = (1, 2, 3, 4, 5)
_SMALLEST_SIDE = 4
_SIDE_OF_IMAGENET = 224
_Corruption: TypeAlias = Callable[..., torch.Tensor]


class CorruptionInputError(UserError):
    """What is to be corrupted is no batch of images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    family: Family
    function: _Corruption
    has_lengths: bool = True


_KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "gaussian_noise": _Kind(family="noise", function=noise.gaussian_noise, has_lengths=False),
        "shot_noise": _Kind(family="noise", function=noise.shot_noise, has_lengths=False),
        "impulse_noise": _Kind(family="noise", function=noise.impulse_noise, has_lengths=False),
        "defocus_blur": _Kind(family="blur", function=blur.defocus_blur),
        "glass_blur": _Kind(family="blur", function=blur.glass_blur),
        "motion_blur": _Kind(family="blur", function=blur.motion_blur),
        "zoom_blur": _Kind(family="blur", function=blur.zoom_blur),
        "snow": _Kind(family="weather", function=weather.snow),
        "frost": _Kind(family="weather", function=weather.frost),
        "fog": _Kind(family="weather", function=weather.fog),
        "brightness": _Kind(family="weather", function=weather.brightness),
        "contrast": _Kind(family="digital", function=digital.contrast),
        "elastic_transform": _Kind(family="digital", function=digital.elastic_transform),
        "pixelate": _Kind(family="digital", function=digital.pixelate),
        "jpeg_compression": _Kind(family="digital", function=digital.jpeg_compression),
    }
)
KINDS = tuple(_KINDS)
"""Names in the order of the paper: noise, blur, weather, digital."""


def family_of(kind: str) -> Family:
    """Noise, blur, weather or digital.

    Raises:
        ValueError: no such kind.
    """
    return _kind(kind).family


def corrupt(images: torch.Tensor, *, kind: str, severity: int, seed: int) -> torch.Tensor:
    """A batch, corrupted; the same shape and type, values in the same range.

    Args:
        images: [N, C, H, W] with C = 1 or 3, or [N, H, W]; uint8, or float in [0, 1]. Sides of 4 or more.
        kind: One of KINDS.
        severity: From 1 to 5.
        seed: Chooses what is random; the same batch with the same seed gives the same pixels.

    Raises:
        CorruptionInputError: other shapes, types or ranges.
        ValueError: no such kind or severity.
    """
    found = _kind(kind)
    if severity not in SEVERITIES:
        raise ValueError(f"severity is {severity!r}, expected 1 to 5")
    values_NCHW = _as_values(images)
    # Every kind and severity draws its own numbers, so that settings do not share their noise.
    generator = torch.Generator().manual_seed(_seed(seed, kind, severity))
    function = partial(found.function, values_NCHW, severity, generator)
    if found.has_lengths:
        function = partial(function, scale=min(values_NCHW.shape[-2:]) / _SIDE_OF_IMAGENET)
    with torch.no_grad():
        corrupted = function().clamp(0, 1).reshape(images.shape)
    if images.dtype == torch.uint8:
        return (corrupted * 255).round().to(torch.uint8)
    return corrupted.to(images.dtype)


def _seed(seed: int, kind: str, severity: int) -> int:
    return (seed * len(KINDS) + KINDS.index(kind)) * len(SEVERITIES) + severity


def _kind(name: str) -> _Kind:
    if name not in _KINDS:
        raise ValueError(f"kind is {name!r}, expected one of {', '.join(KINDS)}")
    return _KINDS[name]


def _as_values(images: torch.Tensor) -> torch.Tensor:
    """Float32 [N, C, H, W] in [0, 1]."""
    shape = tuple(images.shape)
    has_channels = images.ndim == 4
    if images.ndim not in (3, 4) or (has_channels and shape[1] not in (1, 3)):
        raise CorruptionInputError(
            f"The batch has the shape {shape}, expected [N, C, H, W] with 1 or 3 channels, or [N, H, W]."
        )
    if min(shape[-2:]) < _SMALLEST_SIDE or shape[0] == 0:
        raise CorruptionInputError(
            f"The batch has the shape {shape}: expected at least one image with sides of {_SMALLEST_SIDE} or "
            "more."
        )
    if images.dtype == torch.uint8:
        values = images.float() / 255
    elif images.is_floating_point():
        values = images.float()
        low, high = float(values.min()), float(values.max())
        # Written so that NaN is refused as well.
        if not (low >= 0 and high <= 1):
            raise CorruptionInputError(
                f"Values go from {low:g} to {high:g}, expected [0, 1]. Give uint8 or divide by the white "
                "value; a task whose images have another range says so by `value_range = (black, white)`."
            )
    else:
        raise CorruptionInputError(f"Values are {images.dtype}, expected uint8 or float.")
    return values if has_channels else values[:, None]
