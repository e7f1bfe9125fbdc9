"""A derived set D' of a source: views of its training rows as files, and a sheet to look at.

    views.npz            inputs [M, ...], labels [M] (or shares [M, K]) and rows [M]: the record of each
    views.txt            the same of texts: label, tab, text
    contact-sheet.png    of images: originals in the first column, their views beside them
    augmentation.json    policy, seed, |D'| / |D|, and the hash of the source

Views are of training rows alone: who judges a model on views of what it was trained on
measures memory. `rows` lets others group by record.

Not covered: views that no file could hold; a job makes its views while it trains.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ayni.data.augmentation.backends import find_backend
from ayni.data.augmentation.images import AugmentationInputError, augment_labelled_images
from ayni.data.augmentation.policy import AugmentConfig
from ayni.data.augmentation.tables import augment_rows
from ayni.data.augmentation.text import augment_texts
from ayni.data.config import DataConfig
from ayni.data.contact_sheet import contact_sheet
from ayni.data.sources.collection import Collection
from ayni.data.sources.file_trees import content_hash, fetched, open_files
from ayni.data.sources.reading import read_collection, rows_of_splits
from ayni.files import write_atomically, write_json

_BATCH = 256
_SHEET_ROWS, _SHEET_VIEWS = 8, 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was written. rho is |D'| / |D| without views that are like their record."""

    num_records: int
    num_views: int
    rho: float
    files: tuple[Path, ...]
    record: dict[str, Any]


def make_views(config: DataConfig, augment: AugmentConfig, *, views: int, seed: int, folder: Path) -> Made:
    """Write `views` views of each training row of a source.

    Args:
        config: with a source.
        augment: its share is not looked at: every row gets its views.
        views: of each row, 1 or more.
        seed: of every draw.
        folder: made when it is not there.

    Raises:
        NoSuchSourceError, SourceError: there are no data, or they cannot be read.
        AugmentationInputError: the policy is for another kind of data.
    """
    assert config.source is not None and views >= 1
    files = fetched(open_files(config.source))
    sha256, collection = content_hash(files), read_collection(files, config)
    rows = np.repeat(rows_of_splits(collection, config)["train"], views)
    policy = augment.made_policy()
    num_records = len(rows) // views
    folder.mkdir(parents=True, exist_ok=True)
    maker = _Maker(collection, augment, seed)
    written = _write(maker, rows, folder)
    if policy.kind == "images":
        sheet = folder / "contact-sheet.png"
        shown = rows[:: views * max(1, num_records // _SHEET_ROWS)][:_SHEET_ROWS]
        # With a seed of its own, so that looking does not depend on how many views were asked for.
        seen, _ = _Maker(collection, augment, seed).views(np.repeat(shown, _SHEET_VIEWS))
        assert isinstance(collection.inputs, np.ndarray) and isinstance(seen, np.ndarray)
        pictures = seen.reshape(len(shown), _SHEET_VIEWS, *seen.shape[1:])
        write_atomically(sheet, contact_sheet(collection.inputs[shown], pictures))
        written.append(sheet)
    rho = views * policy.probability_of_change
    kept = {key: value for key, value in augment.to_json().items() if key != "share"}
    record = {**kept, "seed": seed, "num_records": num_records, "num_views": len(rows), "rho": rho}
    record |= {"source": config.source, "source_sha256": sha256, "split": "train", "split_seed": config.seed}
    write_json(folder / "augmentation.json", record)
    written.append(folder / "augmentation.json")
    return Made(num_records=num_records, num_views=len(rows), rho=rho, files=tuple(written), record=record)


class _Maker:
    """Makes views of rows, batch by batch, from one generator."""

    def __init__(self, collection: Collection, augment: AugmentConfig, seed: int) -> None:
        self.collection = collection
        self._policy, self._backend = augment.made_policy(), find_backend(augment.backend)
        self._generator, self._rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
        if collection.kind != self._policy.kind:
            raise AugmentationInputError(
                f"The policy {self._policy.name} is for {self._policy.kind}, "
                f"the source holds {collection.kind}."
            )

    def views(self, rows: NDArray[np.int64]) -> tuple[NDArray[Any] | list[str], NDArray[Any]]:
        """A view of each row, and its label or shares."""
        labels = self.collection.labels[rows]
        if not isinstance(self.collection.inputs, np.ndarray):
            texts = [self.collection.inputs[row] for row in rows.tolist()]
            return augment_texts(texts, self._policy, rng=self._rng), labels
        made, found = [], []
        for first in range(0, len(rows), _BATCH):
            part = rows[first : first + _BATCH]
            view, label = self._batch(
                torch.from_numpy(self.collection.inputs[part]), torch.from_numpy(self.collection.labels[part])
            )
            made.append(view.numpy())
            found.append(label.numpy())
        return np.concatenate(made), np.concatenate(found)

    def _batch(self, inputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._policy.kind == "table":
            return augment_rows(inputs, labels, self._policy, generator=self._generator), labels
        return augment_labelled_images(
            inputs,
            labels,
            self._policy,
            num_classes=len(self.collection.classes),
            generator=self._generator,
            backend=self._backend,
        )


def _write(maker: _Maker, rows: NDArray[np.int64], folder: Path) -> list[Path]:
    made, labels = maker.views(rows)
    if isinstance(made, list):
        names = maker.collection.classes
        lines = (f"{names[label]}\t{text}" for label, text in zip(labels.tolist(), made, strict=True))
        write_atomically(folder / "views.txt", ("\n".join(lines) + "\n").encode())
        return [folder / "views.txt"]
    content = io.BytesIO()
    np.savez_compressed(content, inputs=made, labels=labels, rows=rows)
    write_atomically(folder / "views.npz", content.getvalue())
    return [folder / "views.npz"]
