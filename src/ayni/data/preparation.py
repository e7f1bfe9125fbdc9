"""What a job does to its task's data, as a small value that goes wherever the task's reference goes.

The reference that a job, a worker and every step load their task from carries it, so that training,
compression, explanation and audits see one task. Its SHA-256 covers how the data are read, what they are
(their content hash) and the policy: a run whose data changed is not resumed, and a worker that finds other
data stops.

Light on purpose (no numpy, no torch).

Not covered: moving data to workers. A source must be reachable from each of them under the same name.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ayni.data.config import DataConfig
from ayni.data.sources.file_trees import content_hash, open_files
from ayni.errors import UserError

if TYPE_CHECKING:
    from ayni.task import Task


class DataChangedError(UserError):
    """The data are not those that the run began with."""

    def __init__(self, source: str, *, expected_sha256: str, found_sha256: str) -> None:
        self.source = source
        self.expected_sha256 = expected_sha256
        self.found_sha256 = found_sha256
        super().__init__(
            f"The data at {source} have the SHA-256 {found_sha256[:12]}..., this run began with "
            f"{expected_sha256[:12]}.... Put the old data back, or start a new run. On another machine: the "
            "source must be the same files there."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPreparation:
    """Fulfils `ayni.task.Preparation`. Small, and safe to send to a worker.

    config: the job's `data`, with a source that means the same everywhere (an absolute path or a URL).
    content_sha256: of the source's files; None without a source.
    """

    config: DataConfig
    content_sha256: str | None

    @property
    def sha256(self) -> str:
        """Hash of all that decides what the task sees."""
        kept = {**self.config.reading(), "content": self.content_sha256}
        # Where the files are is no part of what they are.
        kept.pop("source")
        if self.config.augment is not None:
            kept["augment"] = self.config.augment.to_json()
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    @property
    def brings_data(self) -> bool:
        """Whether `dataset` is the source's and not the task's."""
        return self.config.source is not None

    def prepare(self, task: Any) -> "Task":
        """The task with these data and this augmentation.

        Raises:
            SourceError, NoSuchSourceError, DataChangedError: the data cannot be had as they were.
            MissingExtraError: a package is needed and absent.
        """
        from ayni.data.prepared_task import PreparedTask

        return PreparedTask(task, self)

    def to_json(self) -> dict[str, Any]:
        """What a run keeps beside its job."""
        return {"source": self.config.source, "content_sha256": self.content_sha256}

    @classmethod
    def from_json(cls, data: dict[str, Any], config: DataConfig) -> Self:
        """The preparation that `to_json` wrote, of the job's frozen config."""
        placed = dataclasses.replace(config, source=data["source"])
        return cls(config=placed, content_sha256=data["content_sha256"])


def prepare_data(config: DataConfig | None, *, folder: Path) -> DataPreparation | None:
    """The preparation of a job whose relative paths begin at `folder`; None when it has nothing to do.

    Reads every file of the source once, for its hash.

    Raises:
        NoSuchSourceError: there is nothing at the source.
        MissingExtraError: the source's file system needs a package.
    """
    if config is None or (config.source is None and config.augment is None):
        return None
    if config.source is None:
        return DataPreparation(config=config, content_sha256=None)
    placed = dataclasses.replace(config, source=_absolute(config.source, folder))
    assert placed.source is not None
    return DataPreparation(config=placed, content_sha256=content_hash(open_files(placed.source)))


def _absolute(source: str, folder: Path) -> str:
    if "://" in source or source.startswith("hub:"):
        return source
    return str((folder / Path(source).expanduser()).absolute())
