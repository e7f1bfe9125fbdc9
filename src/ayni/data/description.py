"""What a source holds, for a card: examples, classes, splits, shape, and the hash of its content.

Not covered: statistics of values, which may tell of single examples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ayni.data.card import DataCard
from ayni.data.config import DataConfig
from ayni.data.prepared_task import stated_card
from ayni.data.shards import dirichlet_shards, stratified_shards
from ayni.data.sources.collection import Collection, SourceError
from ayni.data.sources.file_trees import content_hash, fetched, open_files
from ayni.data.sources.reading import read_collection, rows_of_splits


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A source in numbers.

    kind: images, table, text or arrays.
    shape: of one input; None for texts.
    class_counts: examples of each class.
    split_counts: examples of train, validation and test, as a job would use them.
    num_dropped: rows left out because something was missing.
    shards: examples of each class in each shard; empty when none were asked for.
    """

    card: DataCard
    kind: str
    shape: tuple[int, ...] | None
    class_counts: Mapping[str, int]
    split_counts: Mapping[str, int]
    num_dropped: int
    shards: tuple[Mapping[str, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values; the card's own keys first."""
        return {
            **self.card.to_json(),
            "kind": self.kind,
            "shape": None if self.shape is None else list(self.shape),
            "class_counts": dict(self.class_counts),
            "split_counts": dict(self.split_counts),
            "num_dropped": self.num_dropped,
            "shards": [dict(shard) for shard in self.shards],
        }


def describe(config: DataConfig, *, num_shards: int = 0, alpha: float | None = None) -> Description:
    """Read a source and count.

    Args:
        config: with a source.
        num_shards: cut the training rows into so many shards and count those, too; 0 cuts none.
        alpha: of Dirichlet label skew between the shards; None = the same mix in each.

    Raises:
        NoSuchSourceError, SourceError: there are no data, or they cannot be read.
            Or the training rows cannot be cut so.
    """
    assert config.source is not None, "there is nothing to describe without a source"
    files = fetched(open_files(config.source))
    sha256 = content_hash(files)
    collection = read_collection(files, config)
    splits = rows_of_splits(collection, config)
    shards = _shards(collection.labels[splits["train"]], num_shards, alpha, config) if num_shards else []
    return Description(
        card=DataCard(**stated_card(config, collection, sha256)),
        kind=collection.kind,
        shape=collection.inputs.shape[1:] if isinstance(collection.inputs, np.ndarray) else None,
        class_counts=collection.class_counts(),
        split_counts={name: len(rows) for name, rows in splits.items()},
        num_dropped=collection.num_dropped,
        shards=tuple(_counted(labels_of_shard, collection) for labels_of_shard in shards),
    )


def _shards(labels: Any, num_shards: int, alpha: float | None, config: DataConfig) -> list[Any]:
    """The labels of each shard."""
    try:
        if alpha is None:
            rows = stratified_shards(labels, num_shards, seed=config.seed)
        else:
            rows = dirichlet_shards(labels, num_shards, alpha=alpha, seed=config.seed)
    except ValueError as error:
        raise SourceError(str(config.source), f"{error}.") from error
    return [labels[shard] for shard in rows]


def _counted(labels: Any, collection: Collection) -> dict[str, int]:
    counts = np.bincount(labels, minlength=len(collection.classes)).tolist()
    return dict(zip(collection.classes, counts, strict=True))
