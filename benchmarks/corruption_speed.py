"""All 75 corruptions of small images: our batches against imagecorruptions, which goes image by image.

Colour images of 32 x 32 pixels, one thread, one process; both make the same 15 kinds at 5 severities, in
turns. Times are of the processor; that of a kind is the median over the turns, and the sums of those medians
are compared.

imagecorruptions 1.1.2 does not run with the libraries of today. `repaired_imagecorruptions` gives it a
stand-in for pkg_resources, the removed name np.float_, and the present name of an argument of scikit-image;
its arithmetic is untouched. Two of its kinds take their time from Python loops over pixels (glass blur)
and from reading a photograph each time (frost).

Not covered: larger images (at 224 pixels both are bound by the same noise and Fourier transforms), threads.
"""

import importlib.util
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.registry import Benchmark, Outcome

SIDE = 32
BAR = 15.0
OURS, OTHER = "ayni", "imagecorruptions"


def repaired_imagecorruptions() -> Any:
    """The package, importable and with all kinds working."""
    stand_in = types.ModuleType("pkg_resources")

    def resource_filename(module: str, path: str) -> str:
        found = importlib.util.find_spec(module.partition(".")[0])
        assert found is not None and found.origin is not None
        return str(Path(found.origin).parent / path)

    stand_in.resource_filename = resource_filename  # type: ignore[attr-defined]
    sys.modules["pkg_resources"] = stand_in
    np.float_ = np.float64  # type: ignore[attr-defined]
    import imagecorruptions
    import imagecorruptions.corruptions as kinds
    from skimage import filters

    # Without types in some versions of scikit-image.
    gaussian: Any = filters.gaussian

    def with_old_argument(image: Any, *arguments: Any, multichannel: bool = False, **more: Any) -> Any:
        return gaussian(image, *arguments, channel_axis=-1 if multichannel else None, **more)

    kinds.gaussian = with_old_argument
    return imagecorruptions


def measure(quick: bool) -> Outcome:
    """Milliseconds an image of each kind, summed over its five severities."""
    import torch

    from ayni.data.corruptions.kinds import KINDS, SEVERITIES, corrupt

    num_images, num_others, num_turns = (64, 2, 3) if quick else (256, 16, 5)
    other = repaired_imagecorruptions()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(num_images, 3, SIDE, SIDE, generator=generator) * 255).to(torch.uint8)
    arrays = images[:num_others].permute(0, 2, 3, 1).contiguous().numpy()
    milliseconds: dict[str, dict[str, float]] = {OURS: {}, OTHER: {}}
    try:
        for kind in KINDS:

            def ours(kind: str = kind) -> None:
                for severity in SEVERITIES:
                    corrupt(images, kind=kind, severity=severity, seed=0)

            def others(kind: str = kind) -> None:
                for severity in SEVERITIES:
                    for array in arrays:
                        other.corrupt(array, corruption_name=kind, severity=severity)

            of_ours, of_others = _medians_in_turns(ours, others, num_turns)
            milliseconds[OURS][kind] = 1000 * of_ours / num_images
            milliseconds[OTHER][kind] = 1000 * of_others / num_others
    finally:
        torch.set_num_threads(threads)
    sums = {name: sum(of_kind.values()) for name, of_kind in milliseconds.items()}
    ratio = sums[OTHER] / sums[OURS]
    values: dict[str, Any] = {
        "times_faster": ratio,
        "ayni_milliseconds_per_image": sums[OURS],
        "imagecorruptions_milliseconds_per_image": sums[OTHER],
        "images": num_images,
        "turns": num_turns,
    }
    values |= {f"{kind}_times_faster": milliseconds[OTHER][kind] / milliseconds[OURS][kind] for kind in KINDS}
    return Outcome(values=values, seeds=(0,), met=ratio >= BAR)


def _medians_in_turns(
    first: Callable[[], None], second: Callable[[], None], num_turns: int
) -> tuple[float, float]:
    """Median seconds of each; a first call of both is not counted."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(num_turns + 1):
        for work, taken in zip((first, second), seconds, strict=True):
            started = time.process_time()
            work()
            if turn:
                taken.append(time.process_time() - started)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


BENCHMARK = Benchmark(
    name="corruption_speed",
    topic="data: robustness",
    bar="75 corruptions of 32 x 32 colour images, one thread, against imagecorruptions 1.1.2 (repaired here):"
    f" at least {BAR:g} times faster",
    seconds_quick=40,
    seconds_full=150,
    measure=measure,
)
