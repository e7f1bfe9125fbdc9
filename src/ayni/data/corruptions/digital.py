"""Digital corruptions of four kinds. Images: float [N, C, H, W] in [0, 1]. `scale`: shorter side over 224 px.

Source: as in noise.py. Where we differ: elastic displacements are stated by how far they move a pixel (root
mean square, what the published sigma and alpha give at 224 pixels) and grow with the image; with sigma and
alpha scaled one by one the displacement would stay the same number of pixels on any image.
"""

import io
import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name that torch's own pages use

from ayni.data.corruptions.filtering import apply_rows_columns, box_matrix, gaussian_blur

_CONTRAST_LEFT = (0.4, 0.3, 0.2, 0.1, 0.05)
_SHARE_OF_PIXELS = (0.6, 0.5, 0.4, 0.3, 0.25)
_JPEG_QUALITY = (25, 18, 15, 10, 7)
# Published alpha, sigma, and way of the corners, in pixels of 224; 244 is what the authors computed with.
_ELASTIC = tuple(
    (244 * alpha, 244 * sigma, 244 * corners)
    for alpha, sigma, corners in (
        (2.0, 0.7, 0.1),
        (2.0, 0.08, 0.2),
        (0.05, 0.01, 0.02),
        (0.07, 0.01, 0.02),
        (0.12, 0.01, 0.02),
    )
)
_UNIFORM_DEVIATION = 1 / math.sqrt(3)  # of numbers drawn evenly from [-1, 1]


def contrast(
    images: torch.Tensor, severity: int, generator: torch.Generator, *, scale: float
) -> torch.Tensor:
    """Values move towards the mean of their channel."""
    means = images.mean((2, 3), keepdim=True)
    return (images - means) * _CONTRAST_LEFT[severity - 1] + means


def pixelate(
    images: torch.Tensor, severity: int, generator: torch.Generator, *, scale: float
) -> torch.Tensor:
    """Fewer pixels, each the mean of its box."""
    share = _SHARE_OF_PIXELS[severity - 1]
    height, width = images.shape[-2:]
    rows = box_matrix(height, max(1, int(height * share)))
    return apply_rows_columns(images, rows, box_matrix(width, max(1, int(width * share))))


def jpeg_compression(
    images: torch.Tensor, severity: int, generator: torch.Generator, *, scale: float
) -> torch.Tensor:
    """Saved as JPEG of low quality, one image after the other."""
    from PIL import Image

    pixels = (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    if images.shape[1] == 1:
        pixels = pixels[..., 0]
    found = np.empty_like(pixels)
    for index, image in enumerate(pixels):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=_JPEG_QUALITY[severity - 1])
        found[index] = np.asarray(Image.open(file))
    values = torch.from_numpy(found).float() / 255
    return values[:, None] if images.shape[1] == 1 else values.permute(0, 3, 1, 2)


def elastic_transform(
    images: torch.Tensor, severity: int, generator: torch.Generator, *, scale: float
) -> torch.Tensor:
    """A sheet of rubber: three corners are pulled, and every point a little by itself."""
    alpha, sigma, corners = _ELASTIC[severity - 1]
    num, _, height, width = images.shape
    way = _UNIFORM_DEVIATION * alpha / (2 * math.sqrt(math.pi) * sigma) * scale
    noise = torch.rand(num, 2, height, width, generator=generator) * 2 - 1
    field = gaussian_blur(noise, sigma * scale)
    # A wide blur leaves little that differs from point to point; the root mean square is over all images.
    field = field * (way / field.square().mean().sqrt().clamp(min=1e-9))
    places = _pulled(num, height, width, corners * scale, generator) + field.permute(0, 2, 3, 1)
    # grid_sample counts from -1 to 1 over the centres of the outer pixels.
    span = torch.tensor([max(1, width - 1), max(1, height - 1)])
    return F.grid_sample(
        images, places / span * 2 - 1, mode="bilinear", padding_mode="reflection", align_corners=True
    )


def _pulled(num: int, height: int, width: int, way: float, generator: torch.Generator) -> torch.Tensor:
    """Where each pixel comes from, (x, y) [N, H, W, 2], after three corners moved by up to `way` pixels."""
    third = min(height, width) / 3
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2])
    before = centre + torch.tensor([[third, third], [third, -third], [-third, -third]])
    moved = before + (torch.rand(num, 3, 2, generator=generator) * 2 - 1) * way
    # The map that takes the moved corners back: [x y 1] of three points to [x y].
    ones = torch.ones(num, 3, 1)
    affine = torch.linalg.solve(torch.cat([moved, ones], dim=2), before.expand(num, 3, 2))
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    points = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).float()
    places: torch.Tensor = points.reshape(-1, 3) @ affine
    return places.reshape(num, height, width, 2)
