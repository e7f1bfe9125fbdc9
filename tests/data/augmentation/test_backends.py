"""Other libraries behind the switch do what the policy says, within the range, by the seed."""

import pytest
import torch

from ayni.data.augmentation.backends import find_backend
from ayni.data.augmentation.images import augment_images, augment_labelled_images
from ayni.data.augmentation.operations import (
    Brightness,
    Colour,
    Contrast,
    Crop,
    CutMix,
    Cutout,
    Flip,
    Noise,
    Rotate,
    Scale,
    Shear,
)
from ayni.data.augmentation.policy import Policy, PolicyError, named_policy

ALL = (Crop(), Flip(), Rotate(), Scale(), Shear(), Noise(), Brightness(), Contrast(), Colour(), Cutout())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=["kornia", "albumentations"])
def name(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param)
    return str(request.param)


def test_it_repeats_with_its_seed_and_stays_in_range(name: str) -> None:
    backend, policy = find_backend(name), Policy(name="all", operations=ALL)  # type: ignore[arg-type]
    images = torch.rand(4, 3, 16, 20, generator=seeded()) * 2 - 1

    def run(seed: int) -> torch.Tensor:
        return augment_images(images, policy, generator=seeded(seed), value_range=(-1, 1), backend=backend)

    views = run(1)
    assert views.shape == images.shape
    assert views.dtype == torch.float32
    assert views.min() >= -1
    assert views.max() <= 1
    assert torch.equal(views, run(1))
    assert not torch.equal(views, run(2))


def test_a_certain_flip_is_a_flip(name: str) -> None:
    images = torch.randint(256, (3, 1, 9, 12), generator=seeded()).float() / 255
    policy = Policy(name="flip", operations=(Flip(probability=1.0),))

    views = augment_images(images, policy, generator=seeded(), backend=find_backend(name))  # type: ignore[arg-type]

    assert torch.allclose(views, images.flip(-1), atol=1e-6)


def test_mixing_is_done_here_after_the_library(name: str) -> None:
    policy = Policy(name="both", operations=(Flip(), CutMix(probability=1.0)))

    _, shares = augment_labelled_images(
        torch.rand(8, 1, 12, 12, generator=seeded()),
        torch.arange(8),
        policy,
        num_classes=8,
        generator=seeded(),
        backend=find_backend(name),  # type: ignore[arg-type]
    )

    assert torch.allclose(shares.sum(1), torch.ones(8))


def test_lists_that_libraries_do_not_share_are_refused(name: str) -> None:
    with pytest.raises(PolicyError, match="backend: own"):
        augment_images(
            torch.rand(2, 3, 8, 8),
            named_policy("randaugment"),
            generator=seeded(),
            backend=find_backend(name),  # type: ignore[arg-type]
        )


def test_the_own_code_needs_no_library() -> None:
    assert find_backend("own") is None
