"""A folder of images, a sub-folder for each class: cats/001.png, dogs/001.png; or train/cats/..., test/...

Images come out as float32 [N, C, H, W] from 0 to 1: one channel when every image is grey, else three (an
alpha channel is laid on white). They must be of one size, unless `size` says what they are brought to.

Not covered: boxes and masks, frames of animations beyond the first, more than 8 bits a channel.
"""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ayni.data.config import DataConfig
from ayni.data.sources.collection import Collection, SourceError, number_classes
from ayni.data.sources.file_trees import FileTree
from ayni.errors import MissingExtraError

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


class ImageFolderSource:
    """Fulfils `ayni.data.sources.collection.DataSource`."""

    def read(self, files: FileTree, config: DataConfig) -> Collection:
        """All images, in order of their paths."""
        paths = [path for path in files.paths() if path.lower().endswith(IMAGE_ENDINGS)]
        if not paths:
            raise SourceError(files.name, f"there is no image in it ({', '.join(IMAGE_ENDINGS)}).")
        has_splits = {path.split("/")[0].lower() for path in paths} <= set(SPLIT_FOLDERS)
        depth = 1 if has_splits else 0
        for path in paths:
            if path.count("/") <= depth:
                raise SourceError(
                    f"{files.name}, {path}",
                    "the image is in no sub-folder that says its class: expected CLASS/FILE.",
                )
        images = [decode(files.read(path), place=f"{files.name}, {path}") for path in paths]
        labels, classes = number_classes([path.split("/")[depth] for path in paths])
        splits: dict[str, NDArray[np.int64]] = {}
        if has_splits:
            of_path = [SPLIT_FOLDERS[path.split("/")[0].lower()] for path in paths]
            splits = {
                split: np.flatnonzero(np.array(of_path) == split).astype(np.int64)
                for split in dict.fromkeys(of_path)
            }
        places = [f"{files.name}, {path}" for path in paths]
        return Collection(
            kind="images",
            inputs=stacked(images, places, config),
            labels=labels,
            classes=classes,
            splits=splits,
        )


def decode(content: bytes, *, place: str) -> "Image":
    """An image as Pillow holds it, in mode L or RGB.

    Raises:
        SourceError: it is damaged, cut off, or of a kind that Pillow does not know.
        MissingExtraError: Pillow is not installed.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingExtraError(extra="data", package="pillow") from error
    try:
        opened = Image.open(io.BytesIO(content))
        opened.load()
    except UnidentifiedImageError as error:
        # Its own text names an object in memory.
        raise SourceError(
            place,
            "the image cannot be read (it is damaged or of a kind that is not known). Replace or remove it.",
        ) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SourceError(place, f"the image cannot be read ({error}). Replace or remove it.") from error
    image: Image.Image = opened
    if image.mode in ("1", "L", "I;16", "I", "F"):
        return image.convert("L")
    if image.mode in ("LA", "PA", "RGBA", "P"):
        with_alpha = image.convert("RGBA")
        white = Image.new("RGBA", with_alpha.size, "white")
        image = Image.alpha_composite(white, with_alpha)
    return image.convert("RGB")


def stacked(images: "list[Image]", places: list[str], config: DataConfig) -> NDArray[np.float32]:
    """Images [N, C, H, W], float32 from 0 to 1.

    Raises:
        SourceError: sizes differ and the job names none.
    """
    if config.size:
        height, width = config.size
        images = [
            image if image.size == (width, height) else image.resize((width, height)) for image in images
        ]
    for image, place in zip(images, places, strict=True):
        if image.size != images[0].size:
            raise SourceError(
                place,
                f"the image has {image.size[0]}x{image.size[1]} pixels, {places[0]} has {images[0].size[0]}x"
                f"{images[0].size[1]}. Say what they shall be brought to: `size: [height, width]`.",
            )
    mode = "RGB" if any(image.mode == "RGB" for image in images) else "L"
    levels: NDArray[Any] = np.stack([np.asarray(image.convert(mode)) for image in images])
    channels_first = levels[:, None] if mode == "L" else levels.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(channels_first, dtype=np.float32) / np.float32(255)
