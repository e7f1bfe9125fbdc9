"""Views of images by albumentations 2.0.8 (extra `augment`). Fulfils .backends.ImageBackend.

Images go through it one by one as uint8 arrays, where OpenCV is fast: a view has 256 levels, and its image is
rounded to them. Rotation, scale and shear are one resampling as here.

2.0.8 is the last release under the MIT licence. It asks the network for newer ones when it is imported; that
is turned off here. albumentationsx has the same import name, and the AGPL or a commercial licence.

Not covered: images with two, or more than four channels.
"""

from typing import Any

import numpy as np
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
from ayni.settings import forbid_update_checks


class AlbumentationsBackend:
    """Arrays and OpenCV, image by image; pipelines are made once for each policy and size."""

    def __init__(self) -> None:
        forbid_update_checks()
        try:
            import albumentations
            import cv2
        except ImportError as error:
            raise MissingExtraError(extra="augment", package="albumentations") from error
        self._library, self._cv2 = albumentations, cv2
        self._made: dict[Any, Any] = {}

    def views(
        self,
        images_NCHW: torch.Tensor,
        policy: Policy,
        *,
        generator: torch.Generator,
        value_range: tuple[float, float],
    ) -> torch.Tensor:
        """One view of each image; the pipeline's generator is seeded from `generator` for each batch."""
        low, high = value_range
        key = (policy, tuple(images_NCHW.shape[1:]))
        if key not in self._made:
            steps = [
                self._step(operation, policy, images_NCHW)
                for operation in per_image_operations(policy, backend="albumentations")
            ]
            self._made[key] = self._library.Compose(steps)
        pipeline = self._made[key]
        pipeline.set_random_seed(int(torch.randint(2**31, (), generator=generator)))
        levels = ((images_NCHW - low) * (255 / (high - low))).round_().clamp_(0, 255).to(torch.uint8)
        images_NHWC = np.ascontiguousarray(levels.cpu().permute(0, 2, 3, 1).numpy())
        views_NHWC = np.stack([self._view(pipeline, image) for image in images_NHWC])
        views = torch.from_numpy(views_NHWC).permute(0, 3, 1, 2).to(images_NCHW.device, torch.float32)
        return views.contiguous().mul_((high - low) / 255).add_(low)

    def _view(self, pipeline: Any, image_HWC: Any) -> Any:
        view = pipeline(image=image_HWC)["image"]
        # OpenCV drops the channel of grey images.
        return view.reshape(image_HWC.shape)

    def _step(  # noqa: PLR0911 - a table
        self, operation: Operation, policy: Policy, images_NCHW: torch.Tensor
    ) -> Any:
        library, height, width = self._library, *images_NCHW.shape[2:]
        cv2 = self._cv2
        modes = {"reflect": cv2.BORDER_REFLECT_101, "edge": cv2.BORDER_REPLICATE, "low": cv2.BORDER_CONSTANT}
        mode = modes[policy.border]
        match operation:
            case Crop(probability=p):
                x, y = max_move(operation, width), max_move(operation, height)
                moves = {"x": (-x, x), "y": (-y, y)}
                # Of whole pixels without interpolation; PadIfNeeded and RandomCrop take two copies for it.
                return library.Affine(translate_px=moves, border_mode=mode, interpolation=0, p=p)
            case Flip(horizontal=True, vertical=False, probability=p):
                return library.HorizontalFlip(p=p)
            case Flip(horizontal=False, vertical=True, probability=p):
                return library.VerticalFlip(p=p)
            case Rotate(degrees=degrees, probability=p):
                return library.Rotate((-degrees, degrees), border_mode=mode, p=p)
            case Scale(amount=amount, probability=p):
                return library.Affine(scale=(1 - amount, 1 + amount), border_mode=mode, p=p)
            case Shear(degrees=degrees, probability=p):
                return library.Affine(shear={"x": (-degrees, degrees), "y": (0, 0)}, border_mode=mode, p=p)
            case Noise(deviation=deviation, probability=p) if deviation <= 1:
                return library.GaussNoise(std_range=(deviation, deviation), p=p)
            case Brightness(amount=amount, probability=p):
                return library.RandomBrightnessContrast(amount, 0.0, p=p)
            case Contrast(amount=amount, probability=p):
                return library.RandomBrightnessContrast(0.0, amount, p=p)
            case Colour(amount=amount, probability=p) if images_NCHW.shape[1] == 3:
                return library.ColorJitter((1, 1), (1, 1), (1 - amount, 1 + amount), (0, 0), p=p)
            case Cutout(size=size, level=level, probability=p):
                side = max(1, round(size * min(height, width)))
                return library.CoarseDropout((1, 1), (side, side), (side, side), fill=255 * level, p=p)
        raise PolicyError(f"albumentations is not asked for {operation} on {images_NCHW.shape[1]} channels.")
