"""The full pipeline crop, rotate, flip, noise and cutout: ours against kornia and albumentations, one thread.

Each library does it in its own fast way: ours and kornia on batches of float32 tensors, albumentations image
by image on uint8 arrays, without converting to or from tensors. All in one process, in turns, in CPU time;
ratios are of medians. What the back-end switch makes of the two (conversions included) stands beside it.

Not covered: several threads, GPUs, decoding of files.
"""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.registry import Benchmark, Outcome

SIZES = ((28, 1, 256), (224, 3, 32))
SMALL, LARGE = SIZES[0][0], SIZES[1][0]
PADDING, DEGREES, DEVIATION, CUTOUT = 0.125, 15.0, 0.05, 0.25


def measure(quick: bool) -> Outcome:
    """Medians over turns, in microseconds an image."""
    import cv2
    import torch

    num_turns = 5 if quick else 41
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    values: dict[str, Any] = {"turns": num_turns}
    try:
        for side, channels, batch in SIZES:
            found = _in_turns(_pipelines(side, channels, batch), num_turns)
            values |= {f"{name}_{side}_us": 1e6 * seconds / batch for name, seconds in found.items()}
            fastest = min(values[f"{name}_{side}_us"] for name in ("kornia", "albumentations"))
            values[f"own_over_fastest_{side}"] = values[f"own_{side}_us"] / fastest
    finally:
        torch.set_num_threads(num_threads)
    met = values[f"own_over_fastest_{SMALL}"] <= 0.5 and values[f"own_over_fastest_{LARGE}"] <= 1.7
    return Outcome(values=values, seeds=(0,), met=met)


def _in_turns(pipelines: dict[str, Callable[[], object]], num_turns: int) -> dict[str, float]:
    """Median CPU seconds of a batch."""
    seconds: dict[str, list[float]] = {name: [] for name in pipelines}
    for pipeline in pipelines.values():
        pipeline()
    for _ in range(num_turns):
        for name, pipeline in pipelines.items():
            started = time.process_time()
            pipeline()
            seconds[name].append(time.process_time() - started)
    return {name: statistics.median(found) for name, found in seconds.items()}


def _pipelines(side: int, channels: int, batch: int) -> dict[str, Callable[[], object]]:
    import torch

    from ayni.data.augmentation.backends import find_backend
    from ayni.data.augmentation.images import augment_images
    from ayni.data.augmentation.operations import Crop, Cutout, Flip, Noise, Rotate
    from ayni.data.augmentation.policy import Policy

    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, channels, side, side, generator=generator)
    policy = Policy(
        name="full",
        operations=(
            Crop(padding=PADDING),
            Rotate(degrees=DEGREES),
            Flip(),
            Noise(deviation=DEVIATION),
            Cutout(size=CUTOUT),
        ),
    )
    switched = {name: find_backend(name) for name in ("kornia", "albumentations")}
    return {
        "own": lambda: augment_images(images, policy, generator=generator),
        "kornia": _kornia(images),
        "albumentations": _albumentations(images),
        **{
            f"switched_to_{name}": partial(
                augment_images, images, policy, generator=generator, backend=backend
            )
            for name, backend in switched.items()
        },
    }


def _kornia(images: Any) -> Callable[[], object]:
    import kornia.augmentation as kornia
    import torch

    side = images.shape[-1]
    pipeline = torch.nn.Sequential(
        kornia.RandomCrop((side, side), padding=round(PADDING * side), padding_mode="reflect"),
        kornia.RandomRotation(DEGREES, p=1.0),
        kornia.RandomHorizontalFlip(),
        kornia.RandomGaussianNoise(std=DEVIATION, p=1.0),
        kornia.RandomErasing((CUTOUT**2, CUTOUT**2), (1.0, 1.0), p=1.0),
    )
    return lambda: pipeline(images)


def _albumentations(images: Any) -> Callable[[], object]:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations
    import cv2
    import numpy as np

    side, hole = images.shape[-1], round(CUTOUT * images.shape[-1])
    padded = side + 2 * round(PADDING * side)
    pipeline = albumentations.Compose(
        [
            albumentations.PadIfNeeded(padded, padded, border_mode=cv2.BORDER_REFLECT_101),
            albumentations.RandomCrop(side, side),
            albumentations.Rotate((-DEGREES, DEGREES), border_mode=cv2.BORDER_REFLECT_101, p=1.0),
            albumentations.HorizontalFlip(p=0.5),
            albumentations.GaussNoise(std_range=(DEVIATION, DEVIATION), p=1.0),
            albumentations.CoarseDropout((1, 1), (hole, hole), (hole, hole), fill=0, p=1.0),
        ],
        seed=0,
    )
    levels = [np.ascontiguousarray(image) for image in (images * 255).byte().permute(0, 2, 3, 1).numpy()]
    return lambda: [pipeline(image=image)["image"] for image in levels]


BENCHMARK = Benchmark(
    name="augmentation_speed",
    topic="data: augmentation",
    bar="crop + rotate + flip + noise + cutout on one thread: 28x28 in at most 0.5 of the time of the faster "
    "of kornia and albumentations, 224x224 in at most 1.7 of it",
    seconds_quick=10,
    seconds_full=40,
    measure=measure,
)
