"""The sheet of all settings of an image."""

import io

import numpy as np
import pytest
from PIL import Image

from ayni.data.corruptions.kinds import CorruptionInputError
from ayni.data.corruptions.sheet import corruption_sheet


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(8, 8), (28, 28, 1), (32, 40, 3), (400, 300, 3)])
def test_a_sheet_has_fifteen_rows_of_six_tiles(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    page = Image.open(io.BytesIO(corruption_sheet(pixels)))

    height, width = shape[:2]
    shrunk = max(1, max(height, width) / 224)
    factor = max(1, -(-96 // max(height, width)))
    tile_w, tile_h = round(width / shrunk) * factor, round(height / shrunk) * factor
    assert page.size == (130 + 6 * (tile_w + 4), 18 + 15 * (tile_h + 4))


def test_the_first_column_shows_the_image_itself() -> None:
    pixels = np.zeros((96, 96, 3), dtype=np.uint8)
    pixels[:, :, 0] = 200

    page = np.asarray(Image.open(io.BytesIO(corruption_sheet(pixels))))

    assert (page[18:114, 130:226] == (200, 0, 0)).all()


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(CorruptionInputError, match="1 or 3 channels"):
        corruption_sheet(np.zeros((16, 16, 4), dtype=np.uint8))
