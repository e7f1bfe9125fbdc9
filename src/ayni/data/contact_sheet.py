"""A sheet of pictures to look at: originals in the first column, what was made of them beside.

Small images are enlarged by whole factors without smoothing, so that pixels can be seen.

Not covered: images of more than four channels.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayni.errors import MissingExtraError

_GAP, _MARGIN, _SMALLEST_SIDE = 4, 8, 96
_PAPER = 255


def contact_sheet(originals: NDArray[np.float32], views: NDArray[np.float32]) -> bytes:
    """A PNG.

    Args:
        originals: [R, C, H, W] from 0 to 1.
        views: [R, V, C, H, W] of the same images.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(extra="data", package="pillow") from error
    rows, count, _, height, width = views.shape
    factor = max(1, -(-_SMALLEST_SIDE // max(height, width)))
    step_y, step_x = height * factor + _GAP, width * factor + _GAP
    # The originals stand a little apart.
    apart = 2 * _GAP
    size = (2 * _MARGIN + rows * step_y - _GAP, 2 * _MARGIN + apart + (count + 1) * step_x - _GAP)
    sheet = np.full((*size, 3), _PAPER, dtype=np.uint8)
    for row in range(rows):
        for column, image in enumerate([originals[row], *views[row]]):
            top, left = _MARGIN + row * step_y, _MARGIN + column * step_x + (apart if column else 0)
            picture = _as_rgb(image).repeat(factor, axis=0).repeat(factor, axis=1)
            sheet[top : top + height * factor, left : left + width * factor] = picture
    out = io.BytesIO()
    Image.fromarray(sheet).save(out, "png", optimize=True)
    return out.getvalue()


def _as_rgb(image_CHW: NDArray[np.float32]) -> NDArray[Any]:
    """Bytes [H, W, 3]; of two or four channels the first or the first three are shown."""
    levels: NDArray[Any] = (image_CHW.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)
    return levels[:, :, :3] if levels.shape[2] >= 3 else levels[:, :, :1].repeat(3, axis=2)
