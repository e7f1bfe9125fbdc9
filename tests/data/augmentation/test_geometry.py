"""Geometry against scipy and numpy, on images that are not square."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from ayni.data.augmentation.geometry import PixelMap, draw_geometry, resample
from ayni.data.augmentation.operations import Crop, Flip, Rotate

HEIGHT, WIDTH = 20, 31


def images(num: int = 1, channels: int = 1, *, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    return torch.rand(num, channels, height, width, generator=torch.Generator().manual_seed(1))


def oracle(image: torch.Tensor, inverse_yx: np.ndarray, *, mode: str = "mirror") -> np.ndarray:
    """scipy's map of (y, x) about the centre, as [H, W]."""
    height, width = image.shape[-2:]
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    plane = image.reshape(height, width).numpy().astype(np.float64)
    return ndimage.affine_transform(plane, inverse_yx, centre - inverse_yx @ centre, order=1, mode=mode)


@pytest.mark.parametrize("degrees", [15.0, -40.0, 90.0, 133.0])
def test_an_angle_is_the_angle_of_the_image_also_when_it_is_not_square(degrees: float) -> None:
    image, radians = images(), math.radians(degrees)
    cosine, sine = math.cos(radians), math.sin(radians)

    turned = resample(image, PixelMap.identity(1).turned(torch.tensor([radians])))

    inverse = np.array([[cosine, sine], [-sine, cosine]])
    assert np.abs(turned[0, 0].numpy() - oracle(image, inverse)).max() < 2e-5


def test_a_quarter_turn_of_a_square_is_numpys() -> None:
    square = images(height=9, width=9)

    turned = resample(square, PixelMap.identity(1).turned(torch.tensor([math.pi / 2])))

    assert np.allclose(turned[0, 0], np.rot90(square[0, 0].numpy()), atol=1e-5)


@pytest.mark.parametrize(
    ("border", "mode"), [("reflect", "mirror"), ("edge", "nearest"), ("low", "constant")]
)
def test_scale_shear_and_move_are_one_map_with_the_border_that_is_asked_for(border: str, mode: str) -> None:
    image = images()
    one = torch.ones(1)

    pixel_map = PixelMap.identity(1).scaled(0.8 * one).sheared(0.3 * one).moved(torch.tensor([[2.5, -1.25]]))
    seen = resample(image, pixel_map, border=border)  # type: ignore[arg-type]

    # What is done last is undone first.
    scale, shear = np.eye(2) / 0.8, np.array([[1, 0], [-0.3, 1]])
    centre = np.array([(HEIGHT - 1) / 2, (WIDTH - 1) / 2])
    inverse, shift = scale @ shear, scale @ shear @ np.array([1.25, -2.5])
    plane = image[0, 0].numpy().astype(np.float64)
    expected = ndimage.affine_transform(plane, inverse, centre - inverse @ centre + shift, order=1, mode=mode)
    # Beyond the edge scipy's constant begins at the outer pixel's centre, torch's one pixel further.
    inner = slice(None) if border != "low" else np.s_[6:-6, 8:-8]
    assert np.abs(seen[0, 0].numpy() - expected)[inner].max() < 2e-5


def test_each_image_has_an_angle_of_its_own_between_the_bounds() -> None:
    generator = torch.Generator().manual_seed(3)

    pixel_map = draw_geometry(
        PixelMap.identity(500), Rotate(degrees=30), height=8, width=8, generator=generator
    )

    angles = torch.atan2(pixel_map.matrix[:, 1, 0], pixel_map.matrix[:, 0, 0]).rad2deg()
    assert -30 <= angles.min() < -28
    assert 28 < angles.max() <= 30
    assert angles.unique().numel() > 490


@pytest.mark.parametrize("side", [12, 100])
@pytest.mark.parametrize("border", ["reflect", "edge", "low"])
def test_moves_and_mirrors_keep_every_value_exactly(side: int, border: str) -> None:
    batch = images(6, 3, height=side, width=side + 5)
    moves = torch.tensor([[0, 0], [3, 0], [0, -2], [-3, 2], [1, 1], [2, -2]])
    mirrored = torch.tensor([False, True, False, True, False, True])

    pixel_map = PixelMap.identity(6).moved(moves, is_exact=True).mirrored(mirrored, ~mirrored)
    seen = resample(batch, pixel_map, border=border, low=-1.0)  # type: ignore[arg-type]

    mode = {"reflect": "reflect", "edge": "edge", "low": "constant"}[border]
    for row, (x, y) in enumerate(moves.tolist()):
        extra = {"constant_values": -1.0} if border == "low" else {}
        padded = np.pad(batch[row].numpy(), ((0, 0), (4, 4), (4, 4)), mode=mode, **extra)  # type: ignore[call-overload]
        moved = padded[:, 4 - y : 4 - y + side, 4 - x : 4 - x + side + 5]
        expected = np.flip(moved, 2 if mirrored[row] else 1)
        assert (seen[row].numpy() == expected).all()


def test_a_crop_stays_within_its_padding_and_reaches_it() -> None:
    generator = torch.Generator().manual_seed(0)

    pixel_map = draw_geometry(
        PixelMap.identity(400), Crop(padding=0.1), height=20, width=40, generator=generator
    )

    assert pixel_map.is_exact
    assert (pixel_map.shift.amin(0).tolist(), pixel_map.shift.amax(0).tolist()) == ([-4, -2], [4, 2])


def test_one_direction_of_flip_is_done_with_its_probability() -> None:
    generator = torch.Generator().manual_seed(0)

    pixel_map = draw_geometry(
        PixelMap.identity(2000), Flip(probability=0.25), height=4, width=4, generator=generator
    )

    share = (pixel_map.matrix[:, 0, 0] < 0).float().mean()
    assert 0.22 < share < 0.28
    assert (pixel_map.matrix[:, 1, 1] == 1).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1)])
def test_images_of_one_row_or_column_pass(shape: tuple[int, int]) -> None:
    image = images(height=shape[0], width=shape[1])

    seen = resample(image, PixelMap.identity(1).turned(torch.tensor([0.2])))

    assert torch.isfinite(seen).all()
