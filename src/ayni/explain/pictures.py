"""Small PNGs of inputs and of attributions. Matplotlib's colours, no figures: a picture takes 2 ms.

Attributions are drawn on one symmetric scale: white is 0, red speaks for the answer, blue against it
(RdBu, told apart by colour-blind readers too).

Not covered: anything but images; text and rows of a table are shown as text, where they are shown.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ayni.files import explain_os_errors

Pixels = NDArray[np.float64]

PICTURE_SIDE = 168


def as_image(values: Pixels) -> Pixels | None:
    """An array [H, W], [1, H, W] or [3, H, W] as [H, W] or [H, W, 3]; None when it is none of these."""
    if values.ndim == 3 and values.shape[0] == 3:
        return np.moveaxis(values, 0, 2)
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    return values if values.ndim == 2 and min(values.shape) > 1 else None


def draw_input(image: Pixels, path: Path) -> None:
    """Draw an image [H, W] or [H, W, 3] in its own range."""
    low, high = float(image.min()), float(image.max())
    scaled = (image - low) / (high - low) if high > low else np.zeros_like(image)
    colours = scaled if image.ndim == 3 else np.repeat(scaled[..., None], 3, axis=2)
    _save(_enlarged(colours), path)


def draw_attribution(image: Pixels, path: Path) -> None:
    """Draw signed values [H, W] or [H, W, 3], summed over channels."""
    flat = image.sum(axis=2) if image.ndim == 3 else image
    _save(_enlarged(_signed_colours(flat)), path)


def _signed_colours(values: Pixels) -> Pixels:
    from matplotlib import colormaps

    bound = float(np.abs(values).max()) or 1.0
    # Red is the high end of the reversed map; half the range on each side of white.
    colours: Pixels = colormaps["RdBu_r"](0.5 + values / (2 * bound))[..., :3]
    return colours


def _enlarged(colours: Pixels) -> Pixels:
    """Repeat pixels so that the longer side has about PICTURE_SIDE of them."""
    factor = max(1, PICTURE_SIDE // max(colours.shape[:2]))
    return colours.repeat(factor, axis=0).repeat(factor, axis=1)


def _save(colours: Pixels, path: Path) -> None:
    from matplotlib.image import imsave

    with explain_os_errors(path):
        imsave(path, np.clip(colours, 0, 1))
