"""RandAugment and TrivialAugment: what is drawn, and each operation against its definition."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps

from ayni.data.augmentation import searchless
from ayni.data.augmentation.images import augment_images
from ayni.data.augmentation.operations import SEARCHLESS_LIST, RandAugment, TrivialAugment
from ayni.data.augmentation.policy import Policy
from ayni.data.augmentation.searchless import Draws, draw_searchless


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def levels() -> np.ndarray:
    return np.random.default_rng(0).integers(40, 200, (240, 320, 3)).astype(np.uint8)


def changed(name: str, magnitude: float) -> np.ndarray:
    """The picture of `levels` after one operation, in levels of 0 to 255."""
    images = torch.from_numpy(levels()).permute(2, 0, 1)[None].float() / 255
    draws = Draws(chosen=torch.tensor([[SEARCHLESS_LIST.index(name)]]), magnitude=torch.tensor([[magnitude]]))
    searchless.change_pixels_by_draws_(images, draws, value_range=(0, 1))
    return (images[0].permute(1, 2, 0) * 255).numpy()


def test_randaugment_draws_every_operation_equally_and_at_its_magnitude() -> None:
    draws = draw_searchless(
        RandAugment(operations=2, magnitude=15), num_images=7000, has_colour=True, generator=seeded()
    )

    counts = torch.bincount(draws.chosen.flatten(), minlength=len(SEARCHLESS_LIST))
    assert draws.chosen.shape == (2, 7000)
    assert counts.min() > 850
    assert counts.max() < 1150
    assert draws.magnitude.abs().unique().tolist() == [0.5]


def test_trivialaugment_draws_one_operation_at_any_magnitude_and_no_colour_for_grey_images() -> None:
    draws = draw_searchless(TrivialAugment(), num_images=5000, has_colour=False, generator=seeded())

    assert draws.chosen.shape == (1, 5000)
    assert SEARCHLESS_LIST.index("colour") not in draws.chosen.unique().tolist()
    assert draws.magnitude.abs().max() > 0.99
    assert draws.magnitude.abs().mean().item() == pytest.approx(0.5, abs=0.02)


def test_solarize_and_posterize_are_pillows() -> None:
    picture = Image.fromarray(levels())

    solarized = changed("solarize", 0.5)
    posterized = changed("posterize", 1.0)

    assert np.abs(solarized - np.asarray(ImageOps.solarize(picture, 192))).max() < 0.01
    assert np.abs(posterized - np.asarray(ImageOps.posterize(picture, 4))).max() < 1.1


def test_autocontrast_and_equalize_spread_levels_as_pillow_does() -> None:
    picture = Image.fromarray(levels())

    assert np.abs(changed("autocontrast", 1.0) - np.asarray(ImageOps.autocontrast(picture))).max() <= 1.01
    # Pillow's steps are whole numbers, so that its levels are coarser.
    assert np.abs(changed("equalize", 1.0) - np.asarray(ImageOps.equalize(picture))).max() < 2


def test_sharpness_moves_away_from_pillows_smoothed_picture() -> None:
    smoothed = np.asarray(Image.fromarray(levels()).filter(ImageFilter.SMOOTH)).astype(np.float64)

    expected = np.clip(levels() + 0.45 * (levels() - smoothed), 0, 255)

    assert np.abs(changed("sharpness", 0.5) - expected).max() < 0.6


@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_an_image_of_one_level_stays(name: str) -> None:
    images = torch.full((1, 1, 5, 5), 0.4)
    draws = Draws(chosen=torch.tensor([[SEARCHLESS_LIST.index(name)]]), magnitude=torch.tensor([[1.0]]))

    searchless.change_pixels_by_draws_(images, draws, value_range=(0, 1))

    assert torch.allclose(images, torch.full_like(images, 0.4), atol=1e-2)


def test_magnitude_zero_moves_nothing() -> None:
    images = torch.rand(40, 3, 8, 8, generator=seeded())
    policy = Policy(name="none", operations=(RandAugment(magnitude=0),))

    views = augment_images(images, policy, generator=seeded())

    # Autocontrast and equalize have no magnitude.
    same = (views - images).abs().flatten(1).amax(1) < 1e-5
    assert same.float().mean() > 0.6
