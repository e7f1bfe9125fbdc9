"""Pictures are read back: their size, their scale and their colours carry meaning."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ayni.explain.pictures import PICTURE_SIDE, as_image, draw_attribution, draw_input


def pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((28, 20), (28, 20)),
        ((1, 28, 20), (28, 20)),
        ((3, 28, 20), (28, 20, 3)),
        ((2, 28, 20), None),
        ((7,), None),
        ((1, 1, 9), None),
    ],
)
def test_only_grey_and_coloured_images_are_images(
    shape: tuple[int, ...], expected: tuple[int, ...] | None
) -> None:
    image = as_image(np.zeros(shape))

    assert (None if image is None else image.shape) == expected


def test_an_input_fills_its_own_range_and_keeps_its_proportions(tmp_path: Path) -> None:
    image = np.full((4, 8), -5.0)
    image[0, 0] = 3.0

    draw_input(image, tmp_path / "input.png")

    drawn = pixels(tmp_path / "input.png")
    assert drawn.shape == (PICTURE_SIDE // 2, PICTURE_SIDE, 3)
    assert drawn[0, 0].tolist() == [255, 255, 255]
    assert drawn[-1, -1].tolist() == [0, 0, 0]


def test_for_is_red_against_is_blue_and_nothing_is_white(tmp_path: Path) -> None:
    draw_attribution(np.array([[1.0, -1.0], [0.0, 0.01]]), tmp_path / "map.png")

    drawn = pixels(tmp_path / "map.png").astype(int)
    top_left, top_right, bottom_left = drawn[0, 0], drawn[0, -1], drawn[-1, 0]
    assert top_left[0] > top_left[2] + 50
    assert top_right[2] > top_right[0] + 50
    assert bottom_left.min() > 240


def test_one_scale_serves_both_signs(tmp_path: Path) -> None:
    draw_attribution(np.array([[1.0, -0.01], [0.0, 0.0]]), tmp_path / "map.png")

    weak_against = pixels(tmp_path / "map.png")[0, -1]
    assert weak_against.min() > 235


def test_an_attribution_of_zeros_is_white_and_not_an_error(tmp_path: Path) -> None:
    draw_attribution(np.zeros((2, 2)), tmp_path / "map.png")

    assert pixels(tmp_path / "map.png").min() > 240
