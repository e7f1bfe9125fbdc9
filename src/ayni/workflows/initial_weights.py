"""Weights that a job begins with: those that `train.init_from` names, or the trained model of `model`.

They are looked for with the plan, before work is spent. When training begins they are written down with
their hash: a resumed run starts from the same weights, even when the model of the local hub has moved on.
"""

from pathlib import Path
from typing import Any

from ayni.errors import UserError
from ayni.files import read_json, sha256_of_file, write_json
from ayni.hub.publishing import Hub
from ayni.jobs.loading import Job
from ayni.jobs.runs import Run
from ayni.jobs.spec import AS_BUILT
from ayni.train.training import MODEL_FILE

_RECORD = "init_from.json"


class InitialWeightsNotFoundError(UserError):
    """The job names weights that are not there."""

    def __init__(self, named: str, tried: Path, *, key: str = "train.init_from") -> None:
        super().__init__(
            f"{key} is {named!r}, and {tried} does not exist. Name a safetensors file "
            "(relative to the job file), or a model of the local hub as owner/name or owner/name@revision."
        )


class NotSafetensorsError(UserError):
    """The job names a file of another kind to start from."""

    def __init__(self, named: str, *, key: str = "train.init_from") -> None:
        super().__init__(
            f"{key} is {named!r}, and only safetensors files are read: those of other kinds "
            "could run code. Convert it with safetensors.torch.save_file, or name a model of the local hub "
            "as owner/name or owner/name@revision."
        )


class ChangedInitialWeightsError(UserError):
    """The weights that a run began with were changed or removed."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"The weights that this run began with, {path}, were changed or removed since. Restore them, or "
            "start a new run."
        )


def find_initial_weights(job: Job, hub: Hub) -> Path | None:
    """The safetensors file that a job starts from; None when it names none.

    Raises:
        InitialWeightsNotFoundError: no such file, or the model's revision has no safetensors file.
        NotSafetensorsError: it is a file, and no safetensors file.
        RepositoryNotFoundError, AmbiguousRepositoryError, RevisionNotFoundError: the local hub does not have
            the model, or several.
    """
    init_from = job.spec.train.init_from
    return None if init_from is None else _find(init_from, job, hub, key="train.init_from")


def find_model(job: Job, hub: Hub) -> Path | None:
    """The safetensors file of the trained model that a job begins with; None when its task builds it.

    Raises:
        UserError: as `find_initial_weights`.
    """
    model = job.spec.model
    return None if model in (None, AS_BUILT) else _find(str(model), job, hub, key="model")


def _find(named: str, job: Job, hub: Hub, *, key: str) -> Path:
    path = job.task.module_path.parent / named
    if not named.endswith(".safetensors"):
        name, _, revision = named.partition("@")
        if path.is_file() or (path.suffix and "/" not in name):
            raise NotSafetensorsError(named, key=key)
        path = hub.find(name, revision or None).folder / MODEL_FILE
    if not path.is_file():
        raise InitialWeightsNotFoundError(named, path, key=key)
    return path


def keep_initial_weights(run: Run, hub: Hub) -> Path | None:
    """The file that a run starts from: found and written down the first time, the same one ever after.

    Raises:
        ChangedInitialWeightsError: the run began with other weights than are there now.
        UserError: they are not there, see `find_initial_weights`.
    """
    record = run.folder / "train" / _RECORD
    if record.exists():
        return _same_as_before(read_json(record))
    path = find_initial_weights(run.job, hub)
    if path is not None:
        init_from = run.job.spec.train.init_from
        write_json(record, {"init_from": init_from, "path": str(path), "sha256": sha256_of_file(path)})
    return path


def _same_as_before(record: dict[str, Any]) -> Path:
    path = Path(record["path"])
    if not path.is_file() or sha256_of_file(path) != record["sha256"]:
        raise ChangedInitialWeightsError(path)
    return path
