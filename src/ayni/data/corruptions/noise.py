"""Noise of three kinds. Images are float [N, C, H, W] in [0, 1]; what comes out may leave the range.

Strengths are shares of the range and do not depend on the size of an image.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019, arXiv:1903.12261, and the constants that its authors published for ImageNet-C.
"""

import torch

_GAUSSIAN_DEVIATION = (0.08, 0.12, 0.18, 0.26, 0.38)
_PHOTONS_OF_WHITE = (60.0, 25.0, 12.0, 5.0, 3.0)
_SHARE_OF_IMPULSES = (0.03, 0.06, 0.09, 0.17, 0.27)


def gaussian_noise(images: torch.Tensor, severity: int, generator: torch.Generator) -> torch.Tensor:
    """Little light: noise of one strength everywhere."""
    noise = torch.randn(images.shape, generator=generator)
    return images + noise * _GAUSSIAN_DEVIATION[severity - 1]


def shot_noise(images: torch.Tensor, severity: int, generator: torch.Generator) -> torch.Tensor:
    """Light comes in photons: a Poisson number of them, the fewer the noisier."""
    photons = _PHOTONS_OF_WHITE[severity - 1]
    return torch.poisson(images * photons, generator=generator) / photons


def impulse_noise(images: torch.Tensor, severity: int, generator: torch.Generator) -> torch.Tensor:
    """Bits that flip: some values become black or white, half of each."""
    share = _SHARE_OF_IMPULSES[severity - 1]
    draw = torch.rand(images.shape, generator=generator)
    return torch.where(draw < share, (draw < share / 2).to(images.dtype), images)
