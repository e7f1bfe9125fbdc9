"""What `ayni data card` and `ayni data augment` do: read a source, count it, make views of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.wiring.extras import require
from ayni.workflows.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from ayni.data.augmentation.policy import AugmentConfig
    from ayni.data.config import DataConfig


def data_card(config: "DataConfig", *, num_shards: int = 0, alpha: float | None = None) -> dict[str, Any]:
    """What a source holds.

    Raises:
        NoSuchSourceError, SourceError: there are no data, or they cannot be read, or not be cut so.
    """
    require(("numpy", "torch"), extra="data")
    from ayni.data.description import describe

    return describe(config, num_shards=num_shards, alpha=alpha).to_json()


def augment_data(
    config: "DataConfig",
    augment: "AugmentConfig",
    *,
    views: int,
    seed: int,
    output: Path,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write views of a source's training rows, and what was done.

    Raises:
        NoSuchSourceError, SourceError: there are no data, or they cannot be read.
        AugmentationInputError: the policy is for another kind of data.
    """
    require(("numpy", "torch"), extra="data")
    progress = progress or SilentProgress()
    progress.started("augment", total=None)
    from ayni.data.augmentation.made import make_views

    made = make_views(config, augment, views=views, seed=seed, folder=output)
    progress.finished("augment", text=f"{made.num_views:,} views of {made.num_records:,} records")
    return {**made.record, "files": [str(path) for path in made.files]}
