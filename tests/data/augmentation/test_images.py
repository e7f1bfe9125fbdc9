"""Policies on batches of images: seeds, ranges, borders, labels."""

import pytest
import torch

from ayni.data.augmentation import images as module
from ayni.data.augmentation.images import (
    AugmentationInputError,
    augment_images,
    augment_labelled_images,
)
from ayni.data.augmentation.operations import (
    Brightness,
    Colour,
    Contrast,
    Crop,
    CutMix,
    Cutout,
    Flip,
    Mixup,
    Noise,
    Rotate,
)
from ayni.data.augmentation.policy import POLICIES, Policy, named_policy

IMAGE_POLICIES = [name for name in POLICIES if named_policy(name).kind == "images"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(num: int = 8, channels: int = 3, height: int = 12, width: int = 17) -> torch.Tensor:
    return torch.rand(num, channels, height, width, generator=seeded(9))


def only(operation: object) -> Policy:
    return Policy(name="one", operations=(operation,))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", IMAGE_POLICIES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_policy_repeats_with_its_seed_stays_in_range_and_leaves_the_originals(
    name: str, channels: int
) -> None:
    originals, labels = batch(channels=channels) * 2 - 1, torch.arange(8) % 3
    before = originals.clone()

    def run(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        return augment_labelled_images(
            originals, labels, named_policy(name), num_classes=3, generator=seeded(seed), value_range=(-1, 1)
        )

    (views, found), (again, _), (others, _) = run(5), run(5), run(6)
    assert torch.equal(views, again)
    assert not torch.equal(views, others)
    assert torch.equal(originals, before)
    assert views.shape == originals.shape
    assert views.min() >= -1
    assert views.max() <= 1
    assert found.shape == ((8, 3) if named_policy(name).mixes_labels else (8,))


def test_blocks_of_any_size_give_the_same_geometry(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy(name="two", operations=(Rotate(), Flip()))
    whole = augment_images(batch(), policy, generator=seeded())

    monkeypatch.setattr(module, "_BLOCK_VALUES", 1)

    assert torch.allclose(augment_images(batch(), policy, generator=seeded()), whole, atol=1e-6)


def test_a_turn_of_a_white_image_has_no_dark_corners_unless_asked_for() -> None:
    white = torch.ones(4, 1, 20, 30)
    operations = (Rotate(degrees=45),)

    reflected = augment_images(white, Policy(name="r", operations=operations), generator=seeded())
    dark = augment_images(white, Policy(name="r", operations=operations, border="low"), generator=seeded())

    assert reflected.min() > 1 - 1e-5
    assert dark.min() == 0


def test_noise_has_the_deviation_of_the_range() -> None:
    grey = torch.full((4, 1, 100, 100), 100.0)

    views = augment_images(grey, only(Noise(deviation=0.1)), generator=seeded(), value_range=(0, 255))

    assert views.std().item() == pytest.approx(25.5, rel=0.02)
    assert views.mean().item() == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize("side", [40, 80])
def test_cutout_clears_one_square_that_may_be_cut_off_at_the_border(side: int) -> None:
    views = augment_images(
        torch.ones(200, 2, side, side), only(Cutout(size=0.5, level=0.0)), generator=seeded()
    )

    cleared = views == 0
    sizes = cleared[:, 0].sum((1, 2))
    half = side // 2
    assert torch.equal(cleared[:, 0], cleared[:, 1])
    assert sizes.max() == half**2
    assert sizes.min() >= (half // 2) ** 2
    rows, columns = cleared[:, 0].any(2).sum(1), cleared[:, 0].any(1).sum(1)
    assert torch.equal(rows * columns, sizes)  # a rectangle in each


def test_brightness_moves_every_pixel_of_an_image_by_one_level() -> None:
    grey = torch.full((50, 3, 4, 4), 0.5)

    views = augment_images(grey, only(Brightness(amount=0.3)), generator=seeded())

    assert (views.flatten(1).std(1) < 1e-6).all()
    assert 0.2 <= views.min() < 0.25
    assert 0.75 < views.max() <= 0.8


def test_contrast_keeps_the_mean_grey_and_colour_each_pixels_grey() -> None:
    images = batch() * 0.2 + 0.4
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)

    contrast = augment_images(images, only(Contrast(amount=0.5)), generator=seeded())
    colour = augment_images(images, only(Colour(amount=0.5)), generator=seeded())

    grey = (images * weights).sum(1)
    assert torch.allclose((contrast * weights).sum(1).mean((1, 2)), grey.mean((1, 2)), atol=1e-5)
    assert torch.allclose((colour * weights).sum(1), grey, atol=1e-5)
    assert not torch.allclose(colour, images, atol=1e-3)


@pytest.mark.parametrize("side", [10, 70])
def test_cutmix_mixes_labels_by_the_area_that_was_really_pasted(side: int) -> None:
    labels = torch.arange(64) % 4
    # Each image is filled with its label: what is pasted can be counted.
    images = (labels.float() / 4).view(-1, 1, 1, 1).expand(-1, 1, side, side + 3)

    views, shares = augment_labelled_images(
        images, labels, only(CutMix(probability=1.0)), num_classes=4, generator=seeded()
    )

    counted = torch.stack([(views == label / 4).float().mean((1, 2, 3)) for label in range(4)], dim=1)
    assert torch.allclose(shares, counted, atol=1e-5)
    assert (shares.max(1).values < 1).sum() > 20


def test_mixup_blends_labels_as_it_blends_images() -> None:
    labels = torch.arange(64) % 2
    images = labels.float().view(-1, 1, 1, 1).expand(-1, 1, 3, 3)

    views, shares = augment_labelled_images(
        images, labels, only(Mixup(alpha=1.0)), num_classes=2, generator=seeded()
    )

    assert torch.allclose(shares[:, 1], views[:, 0, 0, 0], atol=1e-5)
    assert 0.2 < shares[:, 1].mean() < 0.8


def test_the_probability_of_an_operation_is_that_of_each_image() -> None:
    images = batch(num=1000, channels=1, height=6, width=6)

    views = augment_images(images, only(Crop(padding=0.5, probability=0.3)), generator=seeded())

    changed = (views != images).flatten(1).any(1).float().mean()
    assert 0.2 < changed < 0.35  # one crop in 49 moves by nothing


@pytest.mark.parametrize(
    ("images", "policy", "message"),
    [
        (torch.zeros(2, 8, 8), "crop_flip", "N, C, H, W"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "crop_flip", "uint8"),
        (torch.zeros(2, 1, 8, 8), "words", "for text"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(images: torch.Tensor, policy: str, message: str) -> None:
    with pytest.raises(AugmentationInputError, match=message):
        augment_images(images, named_policy(policy), generator=seeded())


def test_a_label_beyond_the_classes_is_refused() -> None:
    with pytest.raises(AugmentationInputError, match="0 to 6, expected 0 to 2"):
        augment_labelled_images(
            batch(), torch.arange(8) % 7, only(Mixup()), num_classes=3, generator=seeded()
        )
