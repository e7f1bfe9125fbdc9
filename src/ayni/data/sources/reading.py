"""A source by its name: which files, which format, read and checked, with its splits."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ayni.data.config import DataConfig, Format
from ayni.data.shards import split_rows
from ayni.data.sources.arrays import ArraySource
from ayni.data.sources.collection import Collection, DataSource, SourceError, checked
from ayni.data.sources.dataset_repository import DatasetRepositorySource
from ayni.data.sources.file_trees import FileTree, HubFiles
from ayni.data.sources.images import IMAGE_ENDINGS, ImageFolderSource
from ayni.data.sources.tables import TableSource
from ayni.data.sources.text_lines import TextLinesSource
from ayni.task import SPLITS

_SOURCES: Mapping[str, type[DataSource]] = {
    "arrays": ArraySource,
    "images": ImageFolderSource,
    "csv": TableSource,
    "parquet": TableSource,
    "text": TextLinesSource,
    "dataset": DatasetRepositorySource,
}
_ENDINGS: Mapping[Format, tuple[str, ...]] = {
    "arrays": (".npz", ".npy"),
    "csv": (".csv", ".tsv"),
    "parquet": (".parquet", ".pq"),
    "images": IMAGE_ENDINGS,
    "text": (".txt", ".text"),
}


def read_collection(files: FileTree, config: DataConfig) -> Collection:
    """All examples of a source, with more than one class.

    Raises:
        SourceError: they cannot be read; file and row are named.
        MissingExtraError: a package is needed and absent.
    """
    format_ = guess_format(files) if config.format == "auto" else config.format
    return checked(_SOURCES[format_]().read(files, config), place=files.name)


def guess_format(files: FileTree) -> Format:
    """What a source is: a repository by its README.md or hub, else what most files end in.

    Raises:
        SourceError: no file is of a kind that is known.
    """
    paths = [path.lower() for path in files.paths()]
    if not paths:
        raise SourceError(files.name, "the folder is empty: there are no files in it.")
    has_card = "readme.md" in paths or files.name.startswith(("http://", "https://"))
    if isinstance(files, HubFiles) or has_card or any(path.endswith((".jsonl", ".ndjson")) for path in paths):
        return "dataset"
    counts = {name: sum(path.endswith(ends) for path in paths) for name, ends in _ENDINGS.items()}
    best = max(counts, key=lambda name: counts[name])
    if not counts[best]:
        raise SourceError(
            files.name,
            f"none of its {len(paths)} files is of a kind that is known "
            f"({', '.join(end for ends in _ENDINGS.values() for end in ends)}, .jsonl). Say `format`.",
        )
    return best


def rows_of_splits(collection: Collection, config: DataConfig) -> dict[str, NDArray[np.int64]]:
    """The rows of train, validation and test.

    Splits that the source names stay; what it lacks is cut from its training rows, stratified, by `seed`.

    Raises:
        SourceError: the source names splits and no training split, or a class is too small to be cut.
    """
    given = dict(collection.splits)
    pool = given.pop("train", None) if given else np.arange(len(collection), dtype=np.int64)
    if pool is None:
        raise SourceError("splits", f"the source has {', '.join(given)}, but no training split.")
    shares = {
        split: share
        for split, share in (("validation", config.validation_share), ("test", config.test_share))
        if split not in given
    }
    cut = split_rows(collection.labels[pool], shares, seed=config.seed)
    rows = {split: pool[found] for split, found in cut.items()} | given
    return {split: rows.get(split, np.empty(0, dtype=np.int64)) for split in SPLITS}
