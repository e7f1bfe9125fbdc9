"""A data set's images, corrupted, as files to look at and to use.

    corruption-sheet.png                    kinds x severities of one image
    KIND/SEVERITY/CLASS/ROW.png             copies, when they are asked for (ROW is the row of the source)
    corruptions.json                        kinds, severities, seed, rows, and the hash of the source

Each folder KIND/SEVERITY is a folder of images with a sub-folder for each class, as `data.source` reads it.
Classes whose names are no names of folders are numbered.

Not covered: copies of splits other than one at a time, and other formats than PNG.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ayni.data.config import DataConfig
from ayni.data.corruptions.kinds import KINDS, SEVERITIES, CorruptionInputError, corrupt
from ayni.data.corruptions.sheet import corruption_sheet
from ayni.data.sources.collection import Collection
from ayni.data.sources.file_trees import content_hash, fetched, open_files
from ayni.data.sources.reading import read_collection, rows_of_splits
from ayni.errors import MissingExtraError
from ayni.files import write_atomically, write_json

_BATCH = 256
_FOLDER_NAME = re.compile(r"^[\w][\w .-]{0,99}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptOptions:
    """What is made.

    kinds, severities: of the copies; the sheet has all.
    split: whose images.
    copies: whether any are written, beside the sheet.
    samples: images at most, drawn by the seed.
    seed: of the draw and of the corruptions.
    """

    kinds: Sequence[str] = KINDS
    severities: Sequence[int] = SEVERITIES
    split: str = "test"
    copies: bool = False
    samples: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeCopies:
    """What was written."""

    sheet: Path
    num_images: int
    num_copies: int
    record: dict[str, Any]


def write_corrupted(
    config: DataConfig,
    options: CorruptOptions,
    *,
    folder: Path,
    advanced: Callable[[float], None] = lambda share: None,
) -> MadeCopies:
    """Write the sheet, and copies when they are asked for.

    Raises:
        NoSuchSourceError, SourceError: there are no data, or they cannot be read.
        CorruptionInputError: they are no images, or the split is empty.
        MissingExtraError: Pillow is not installed.
    """
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(extra="data", package="pillow") from error
    assert config.source is not None
    files = fetched(open_files(config.source))
    collection = read_collection(files, config)
    if collection.kind != "images" or not isinstance(collection.inputs, np.ndarray):
        raise CorruptionInputError(f"{config.source} holds {collection.kind}: only images can be corrupted.")
    rows = _rows(rows_of_splits(collection, config)[options.split], options)
    folder.mkdir(parents=True, exist_ok=True)
    sheet = folder / "corruption-sheet.png"
    write_atomically(sheet, corruption_sheet(_as_bytes(collection.inputs[rows[:1]])[0], seed=options.seed))
    record = {
        "source": config.source,
        "source_sha256": content_hash(files),
        "split": options.split,
        "split_seed": config.seed,
        "seed": options.seed,
        "shown_row": int(rows[0]),
        "rows": rows.tolist(),
        "kinds": list(options.kinds) if options.copies else [],
        "severities": list(options.severities) if options.copies else [],
    }
    num_copies = _write_copies(collection, rows, options, folder, advanced) if options.copies else 0
    write_json(folder / "corruptions.json", record)
    return MadeCopies(sheet=sheet, num_images=len(rows), num_copies=num_copies, record=record)


def _rows(rows: NDArray[np.int64], options: CorruptOptions) -> NDArray[np.int64]:
    if not len(rows):
        raise CorruptionInputError(f"The split {options.split} has no images.")
    if len(rows) <= options.samples:
        return rows
    return np.sort(np.random.default_rng(options.seed).choice(rows, options.samples, replace=False))


def _write_copies(
    collection: Collection,
    rows: NDArray[np.int64],
    options: CorruptOptions,
    folder: Path,
    advanced: Callable[[float], None],
) -> int:
    assert isinstance(collection.inputs, np.ndarray)
    classes = folder_names(collection.classes)
    settings = [(kind, severity) for kind in options.kinds for severity in options.severities]
    for number, (kind, severity) in enumerate(settings):
        place = folder / kind / str(severity)
        for name in set(classes):
            (place / name).mkdir(parents=True, exist_ok=True)
        for first in range(0, len(rows), _BATCH):
            part = rows[first : first + _BATCH]
            images = torch.from_numpy(collection.inputs[part])
            made = corrupt(images, kind=kind, severity=severity, seed=options.seed + first // _BATCH)
            _write_images(made.numpy(), part, collection.labels[part], classes, place)
        advanced((number + 1) / len(settings))
    return len(settings) * len(rows)


def _write_images(
    images: NDArray[np.float32],
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    place: Path,
) -> None:
    from PIL import Image

    for pixels, row, label in zip(_as_bytes(images), rows.tolist(), labels.tolist(), strict=True):
        shown = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        Image.fromarray(shown).save(place / classes[label] / f"{row:06d}.png")


def _as_bytes(images_NCHW: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[N, H, W, C]."""
    levels: NDArray[np.uint8] = (images_NCHW.clip(0, 1) * 255).round().astype(np.uint8)
    return levels.transpose(0, 2, 3, 1)


def folder_names(classes: Sequence[str]) -> list[str]:
    """The classes' names, or their numbers where one of them could not be a folder."""
    if all(_FOLDER_NAME.match(name) for name in classes):
        return list(classes)
    return [f"class-{number:04d}" for number in range(len(classes))]
