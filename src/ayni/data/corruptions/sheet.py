"""The 75 settings of one image as one picture: a row for each kind, clean on the left, severity 5 right.

Not covered: captions in other alphabets than Pillow's own font has.
"""

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ayni.data.corruptions.kinds import KINDS, SEVERITIES, corrupt

_SMALLEST_TILE = 96
_LARGEST_TILE = 224
_GAP = 4
_CAPTION_WIDTH = 130
_CAPTION_HEIGHT = 18


def corruption_sheet(image: NDArray[np.uint8], *, seed: int = 0) -> bytes:
    """A PNG of all corruptions of an image [H, W] or [H, W, C], C = 1 or 3, uint8.

    Small images are magnified pixel by pixel, after they were corrupted; large ones are made smaller before.

    Raises:
        CorruptionInputError: it is no such image.
    """
    pixels = np.asarray(_shrunk(image))
    batch = torch.from_numpy(pixels.copy())
    batch = batch.permute(2, 0, 1)[None] if batch.ndim == 3 else batch[None]
    height, width = pixels.shape[:2]
    factor = max(1, -(-_SMALLEST_TILE // max(height, width)))
    tile = (width * factor, height * factor)
    columns, rows = len(SEVERITIES) + 1, len(KINDS)
    page = Image.new(
        "RGB",
        (_CAPTION_WIDTH + columns * (tile[0] + _GAP), _CAPTION_HEIGHT + rows * (tile[1] + _GAP)),
        "white",
    )
    draw = ImageDraw.Draw(page)
    for column, caption in enumerate(["clean", *(f"severity {severity}" for severity in SEVERITIES)]):
        draw.text((_CAPTION_WIDTH + column * (tile[0] + _GAP), 3), caption, fill="black")
    for row, kind in enumerate(KINDS):
        top = _CAPTION_HEIGHT + row * (tile[1] + _GAP)
        draw.text((4, top + tile[1] // 2 - 6), kind.replace("_", " "), fill="black")
        shown = [batch, *(corrupt(batch, kind=kind, severity=each, seed=seed) for each in SEVERITIES)]
        for column, one in enumerate(shown):
            place = (_CAPTION_WIDTH + column * (tile[0] + _GAP), top)
            page.paste(_picture(one).resize(tile, Image.Resampling.NEAREST), place)
    file = io.BytesIO()
    page.save(file, "PNG")
    return file.getvalue()


def _shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    longest = max(image.shape[:2])
    if image.ndim > 3 or longest <= _LARGEST_TILE:
        return image
    height, width = (max(1, round(side * _LARGEST_TILE / longest)) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def _picture(batch: torch.Tensor) -> Image.Image:
    pixels = batch[0].permute(1, 2, 0) if batch.ndim == 4 else batch[0]
    return Image.fromarray(pixels.numpy()).convert("RGB")
