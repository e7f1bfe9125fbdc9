"""Weather of four kinds. Images: float [N, C, H, W] in [0, 1]. `scale`: shorter side over 224 pixels.

Source: as in noise.py; what is laid over the image is drawn (textures.py).
"""

import torch

from ayni.data.corruptions import textures

# Share of the image, share of the ice.
_FROST = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
# Strength, decay from octave to octave.
_FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
# Mean and deviation of noise, width of a flake, threshold, radius and sigma of a trail, share of the image.
_SNOW = (
    (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
_BRIGHTER_BY = (0.1, 0.2, 0.3, 0.4, 0.5)
# Ice takes away red first.
_ICE_TINT = (0.88, 0.98, 1.0)
# Weights of red, green and blue in the brightness that the eye sees (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


def snow(images: torch.Tensor, severity: int, generator: torch.Generator, *, scale: float) -> torch.Tensor:
    """A whitened image with flakes that fall one way, and the same flakes turned by 180 degrees."""
    mean, deviation, zoom, threshold, radius, sigma, share = _SNOW[severity - 1]
    flakes = textures.snowfall(
        len(images),
        *images.shape[-2:],
        mean=mean,
        deviation=deviation,
        zoom=zoom,
        threshold=threshold,
        radius=radius,
        sigma=sigma,
        scale=scale,
        generator=generator,
    )
    whitened = share * images + (1 - share) * torch.maximum(images, _grey(images) * 1.5 + 0.5)
    return whitened + flakes + flakes.flip(-1, -2)


def frost(images: torch.Tensor, severity: int, generator: torch.Generator, *, scale: float) -> torch.Tensor:
    """Ice on the lens."""
    of_image, of_ice = _FROST[severity - 1]
    ice = textures.frost(len(images), *images.shape[-2:], generator=generator)
    if images.shape[1] == 3:
        ice = ice * torch.tensor(_ICE_TINT).reshape(1, 3, 1, 1)
    return of_image * images + of_ice * ice


def fog(images: torch.Tensor, severity: int, generator: torch.Generator, *, scale: float) -> torch.Tensor:
    """Clouds between camera and scene; the brightest value stays as bright as it was."""
    strength, decay = _FOG[severity - 1]
    clouds = textures.plasma(len(images), *images.shape[-2:], decay=decay, generator=generator)
    brightest = images.amax((1, 2, 3), keepdim=True)
    return (images + strength * clouds) * brightest / (brightest + strength)


def brightness(
    images: torch.Tensor, severity: int, generator: torch.Generator, *, scale: float
) -> torch.Tensor:
    """More light: the value of the colour (HSV) rises, hue and saturation stay."""
    more = _BRIGHTER_BY[severity - 1]
    value = images.amax(1, keepdim=True)
    brighter = (value + more).clamp(0, 1)
    # Black has neither hue nor saturation, and becomes grey.
    return torch.where(value > 0, images * (brighter / value.clamp(min=1e-6)), brighter)


def _grey(images: torch.Tensor) -> torch.Tensor:
    if images.shape[1] == 1:
        return images
    return (images * torch.tensor(_LUMA).reshape(1, 3, 1, 1)).sum(1, keepdim=True)
