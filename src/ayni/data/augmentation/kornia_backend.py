"""Views of images by kornia (extra `augment`). Fulfils ayni.data.augmentation.backends.ImageBackend.

Operations run one after the other, in the policy's order, with kornia's own definitions: its contrast scales
levels about 0 and its border for rotations is the mirror image, whatever the policy's border.

Not covered: borders other than "reflect".
"""

from typing import Any

import torch

from ayni.data.augmentation.backends import per_image_operations
from ayni.data.augmentation.geometry import max_move
from ayni.data.augmentation.operations import (
    Brightness,
    Colour,
    Contrast,
    Crop,
    Cutout,
    Flip,
    Noise,
    Operation,
    Rotate,
    Scale,
    Shear,
)
from ayni.data.augmentation.policy import Policy, PolicyError
from ayni.errors import MissingExtraError


class KorniaBackend:
    """Batched torch, as the code here; its modules are made anew for each policy and size."""

    def __init__(self) -> None:
        try:
            import kornia.augmentation
        except ImportError as error:
            raise MissingExtraError(extra="augment", package="kornia") from error
        self._kornia = kornia.augmentation
        self._made: dict[Any, list[Any]] = {}

    def views(
        self,
        images_NCHW: torch.Tensor,
        policy: Policy,
        *,
        generator: torch.Generator,
        value_range: tuple[float, float],
    ) -> torch.Tensor:
        """One view of each image; kornia's global generator is seeded from `generator` and then restored."""
        low, high = value_range
        key = (policy, tuple(images_NCHW.shape[1:]))
        if key not in self._made:
            self._made[key] = [
                self._module(operation, policy, images_NCHW)
                for operation in per_image_operations(policy, backend="kornia")
            ]
        seed = int(torch.randint(2**62, (), generator=generator))
        unit = (images_NCHW - low) / (high - low)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for module in self._made[key]:
                unit = module(unit)
        return unit.clamp_(0, 1) * (high - low) + low

    def _module(  # noqa: PLR0911 - a table
        self, operation: Operation, policy: Policy, images_NCHW: torch.Tensor
    ) -> Any:
        if policy.border != "reflect":
            raise PolicyError(f"kornia does rotations with the border reflect alone, not {policy.border}.")
        kornia, height, width = self._kornia, *images_NCHW.shape[2:]
        turn = {"padding_mode": "reflection", "align_corners": True}
        match operation:
            case Crop(probability=p):
                padding = (max_move(operation, width), max_move(operation, height))
                return kornia.RandomCrop((height, width), padding=padding, padding_mode="reflect", p=p)
            case Flip(horizontal=True, vertical=False, probability=p):
                return kornia.RandomHorizontalFlip(p=p)
            case Flip(horizontal=False, vertical=True, probability=p):
                return kornia.RandomVerticalFlip(p=p)
            case Rotate(degrees=degrees, probability=p):
                return kornia.RandomAffine(degrees, p=p, **turn)
            case Scale(amount=amount, probability=p):
                return kornia.RandomAffine(0.0, scale=(1 - amount, 1 + amount), p=p, **turn)
            case Shear(degrees=degrees, probability=p):
                return kornia.RandomAffine(0.0, shear=degrees, p=p, **turn)
            case Noise(deviation=deviation, probability=p):
                return kornia.RandomGaussianNoise(std=deviation, p=p)
            case Brightness(amount=amount, probability=p):
                return kornia.RandomBrightness((1 - amount, 1 + amount), p=p)
            case Contrast(amount=amount, probability=p):
                return kornia.RandomContrast((1 - amount, 1 + amount), p=p)
            case Colour(amount=amount, probability=p) if images_NCHW.shape[1] == 3:
                return kornia.RandomSaturation((1 - amount, 1 + amount), p=p)
            case Cutout(size=size, level=level, probability=p):
                area = (size * min(height, width)) ** 2 / (height * width)
                return kornia.RandomErasing((area, area), (1.0, 1.0), value=level, p=p)
        raise PolicyError(f"kornia is not asked for {operation} on {images_NCHW.shape[1]} channels.")
