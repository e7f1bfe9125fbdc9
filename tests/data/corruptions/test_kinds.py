"""The 15 kinds: shapes, ranges, seeds, what each must leave alone, and a second opinion at 224 pixels."""

import importlib.util
import math

import numpy as np
import pytest
import torch

from ayni.data.corruptions.kinds import KINDS, SEVERITIES, CorruptionInputError, corrupt, family_of

SHAPES = [(3, 3, 32, 32), (2, 1, 8, 8), (2, 28, 28), (2, 3, 20, 50), (1, 1, 65, 31)]


def scene(*shape: int) -> torch.Tensor:
    """Smooth shades with an edge: something that blurs, shifts and noise all change."""
    height, width = shape[-2:]
    down = torch.linspace(0.1, 0.8, height)[:, None]
    right = (torch.arange(width) > width // 3).float() * 0.15
    return (down + right).expand(*shape).contiguous()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_kind_changes_images_of_any_size_and_stays_in_range(kind: str, shape: tuple[int, ...]) -> None:
    images = scene(*shape)

    corrupted = corrupt(images, kind=kind, severity=3, seed=1)

    assert corrupted.shape == images.shape
    assert corrupted.dtype == torch.float32
    assert 0 <= float(corrupted.min()) <= float(corrupted.max()) <= 1
    assert not torch.equal(corrupted, images)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_pixels_and_another_seed_others(kind: str) -> None:
    images = scene(2, 3, 32, 32)

    first, again, other = (corrupt(images, kind=kind, severity=2, seed=seed) for seed in (5, 5, 6))

    assert torch.equal(first, again)
    is_random = kind not in (
        "defocus_blur",
        "zoom_blur",
        "brightness",
        "contrast",
        "pixelate",
        "jpeg_compression",
    )
    assert torch.equal(first, other) is not is_random


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)

    corrupt(scene(1, 1, 8, 8), kind="snow", severity=5, seed=0)

    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_come_back_as_bytes_and_say_the_same(kind: str) -> None:
    pixels = (scene(2, 3, 32, 32) * 255).round().to(torch.uint8)

    as_bytes = corrupt(pixels, kind=kind, severity=4, seed=0)
    as_floats = corrupt(pixels.float() / 255, kind=kind, severity=4, seed=0)

    assert as_bytes.dtype == torch.uint8
    assert float((as_bytes.float() / 255 - as_floats).abs().max()) <= 0.51 / 255


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in ("frost", "glass_blur", "elastic_transform")]
)
def test_a_higher_severity_is_worse(kind: str) -> None:
    images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3

    changes = [
        float((corrupt(images, kind=kind, severity=severity, seed=0) - images).abs().mean())
        for severity in (1, 5)
    ]

    assert changes[1] > changes[0]


def test_noise_has_the_strength_that_was_published() -> None:
    grey = torch.full((4, 3, 100, 100), 0.5)

    gaussian = corrupt(grey, kind="gaussian_noise", severity=1, seed=0)
    shot = corrupt(grey, kind="shot_noise", severity=1, seed=0)
    impulse = corrupt(grey, kind="impulse_noise", severity=5, seed=0)

    assert float(gaussian.std()) == pytest.approx(0.08, rel=0.02)
    # A Poisson number has its mean as variance: 0.5 * 60 photons, over 60.
    assert float(shot.std()) == pytest.approx((0.5 * 60) ** 0.5 / 60, rel=0.02)
    assert float((impulse == 1).float().mean()) == pytest.approx(0.135, abs=0.005)
    assert float((impulse == 0).float().mean()) == pytest.approx(0.135, abs=0.005)


def test_brightness_keeps_hue_and_saturation_and_contrast_keeps_the_mean() -> None:
    colour = torch.tensor([0.4, 0.2, 0.1]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8).contiguous()
    brighter = corrupt(colour, kind="brightness", severity=2, seed=0)
    shades = scene(1, 3, 32, 32) * 0.9

    flatter = corrupt(shades, kind="contrast", severity=3, seed=0)

    assert brighter[0, :, 0, 0].tolist() == pytest.approx([0.6, 0.3, 0.15], abs=1e-6)
    assert torch.allclose(flatter.mean((2, 3)), shades.mean((2, 3)), atol=1e-5)
    assert float(flatter.std()) == pytest.approx(0.2 * float(shades.std()), rel=0.01)
    assert float(corrupt(torch.zeros(1, 3, 8, 8), kind="brightness", severity=1, seed=0).mean()) == (
        pytest.approx(0.1)
    )


@pytest.mark.parametrize("kind", ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "pixelate"])
def test_a_blur_leaves_an_even_image_alone(kind: str) -> None:
    even = torch.full((2, 1, 28, 40), 0.6)

    assert torch.allclose(corrupt(even, kind=kind, severity=5, seed=0), even, atol=1e-5)


def test_a_twice_as_large_image_is_blurred_twice_as_far() -> None:
    def width_of(side: int) -> float:
        """Deviation of where the light of one bright pixel ends up, in pixels."""
        point = torch.zeros(1, 1, side, side)
        point[..., side // 2, side // 2] = 1
        light = corrupt(point, kind="defocus_blur", severity=5, seed=0)[0, 0]
        offsets = torch.arange(side) - side // 2
        variance = float((light * offsets[:, None] ** 2).sum() / light.sum())
        return math.sqrt(variance)

    assert width_of(448) / width_of(224) == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_small_images_suffer_about_as_much_as_large_ones_of_the_same_scene(kind: str) -> None:
    large = torch.nn.functional.interpolate(
        torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(2)), 224, mode="bicubic"
    ).clamp(0, 1)
    small = torch.nn.functional.avg_pool2d(large, 4)

    change = {
        images.shape[-1]: float((corrupt(images, kind=kind, severity=3, seed=0) - images).abs().mean())
        for images in (large, small)
    }

    # JPEG cuts squares of 8 pixels whatever the size, and a blur below one pixel averages little.
    bound = {"jpeg_compression": 6.0, "pixelate": 6.0, "glass_blur": 6.0, "defocus_blur": 2.0}.get(kind, 1.3)
    assert 1 / bound < change[56] / change[224] < bound


# Its elastic transform has constants of its own.
@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "elastic_transform"])
def test_at_224_pixels_the_change_is_that_of_imagecorruptions(kind: str) -> None:
    # Unrepaired it cannot be imported.
    if importlib.util.find_spec("imagecorruptions") is None:
        pytest.skip("imagecorruptions is not installed")
    data = pytest.importorskip("skimage.data")
    from benchmarks.corruption_speed import repaired_imagecorruptions
    from PIL import Image

    other = repaired_imagecorruptions()
    image = np.asarray(Image.fromarray(data.astronaut()).resize((224, 224)))
    batch = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].expand(4, -1, -1, -1).contiguous()

    for severity in SEVERITIES:
        ours = corrupt(batch, kind=kind, severity=severity, seed=0).float() - batch.float()
        draws = [
            other.corrupt(image, corruption_name=kind, severity=severity).astype(float) - image
            for _ in range(3)
        ]
        ratio = float(ours.abs().mean()) / float(np.abs(draws).mean())
        # Its frost is photographed, and differs from photograph to photograph.
        bound = 1.7 if kind == "frost" else 1.3
        assert 1 / bound < ratio < bound, f"severity {severity}: {ratio:.2f} times the change"


def test_kinds_have_families_and_the_paper_s_order() -> None:
    assert len(KINDS) == 15
    assert [family_of(kind) for kind in KINDS] == (
        ["noise"] * 3 + ["blur"] * 4 + ["weather"] * 4 + ["digital"] * 4
    )
    with pytest.raises(ValueError, match="expected one of gaussian_noise"):
        family_of("spatter")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 2, 8, 8), "1 or 3 channels"),
        (torch.zeros(8, 8), "1 or 3 channels"),
        (torch.zeros(2, 3, 3, 8), "sides of 4"),
        (torch.zeros(0, 3, 8, 8), "at least one image"),
        (torch.full((1, 1, 8, 8), 16.0), r"from 16 to 16, expected \[0, 1\]"),
        (torch.full((1, 1, 8, 8), float("nan")), "nan"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.int64), "int64"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(images: torch.Tensor, message: str) -> None:
    with pytest.raises(CorruptionInputError, match=message):
        corrupt(images, kind="fog", severity=1, seed=0)


@pytest.mark.parametrize(("kind", "severity"), [("fog", 0), ("fog", 6), ("rain", 1)])
def test_unknown_kinds_and_severities_are_refused(kind: str, severity: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        corrupt(torch.zeros(1, 1, 8, 8), kind=kind, severity=severity, seed=0)
