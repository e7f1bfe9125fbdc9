"""A published model as what it was again: its own code builds it, its safetensors fill it.

Every file is compared with what was published before anything of it is used. Pickle is never read. The task's
code runs with the caller's rights: load only repositories that you trust.

Not covered: moving the model to another device; `model.to(...)` does that.
"""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from ayni.errors import AyniError, MissingExtraError
from ayni.hub.config import CONFIG_FILE, WEIGHTS_FILE, ModelConfig, UnusableConfigError, read_config
from ayni.hub.snapshots import Snapshot
from ayni.keras_weights import is_keras, load_weights
from ayni.task import Task, TaskFailedError, TaskReference


class WeightsDoNotFitError(AyniError):
    """The published weights are not those of the model that the task builds."""

    def __init__(self, repository: str, revision: str, reason: str) -> None:
        self.repository = repository
        super().__init__(
            f"The weights of {repository} at {revision[:12]} do not fit the model that its task builds: "
            f"{reason}. The task may depend on another version of a library; the card names the versions "
            "used."
        )


def load_model(snapshot: Snapshot) -> Any:
    """The full model of a revision with its weights: a torch module in evaluation mode, or a Keras model.

    Raises:
        DamagedFileError: a file is not what was published.
        UnusableConfigError: `config.json` does not name a task of this repository.
        TaskImportError, TaskFailedError: the repository's task cannot be imported or cannot build its model.
        WeightsDoNotFitError: names or shapes of the weights differ from the model's.
        MissingExtraError: torch or safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_model as fill
    except ImportError as error:
        raise MissingExtraError(extra="train", package=error.name or "safetensors") from error
    snapshot.verify()
    task = load_task(snapshot)
    try:
        model = task.build_model()
    except Exception as error:
        raise TaskFailedError(method="build_model", cause=error) from error
    weights = snapshot.folder / WEIGHTS_FILE
    try:
        if is_keras(model):
            load_weights(model, weights, example=task.example_input())
            return model
        # Strict, and knows tensors that share memory, which the file holds once.
        fill(model, weights, strict=True)
    except (RuntimeError, SafetensorError, FileNotFoundError, ValueError) as error:
        raise WeightsDoNotFitError(snapshot.repository, snapshot.revision, str(error)) from error
    return model.eval()


def load_task(snapshot: Snapshot) -> Task:
    """The task that a revision was trained with. Call `snapshot.verify()` before.

    Raises:
        UnusableConfigError: the task is not a file of this revision.
        TaskImportError: importing it failed.
    """
    config = read_config(snapshot.folder)
    _check_task(snapshot, config)
    path = snapshot.folder / config.task_file
    with _without_bytecode():
        return TaskReference(module_path=path, object_name=config.task_object).load(needs_data=False)


def _check_task(snapshot: Snapshot, config: ModelConfig) -> None:
    entry = snapshot.files.get(config.task_file)
    place = snapshot.folder / CONFIG_FILE
    if entry is None:
        raise UnusableConfigError(place, f"the task's file {config.task_file} is not part of the revision")
    if entry.sha256 != config.task_sha256:
        raise UnusableConfigError(place, f"{config.task_file} is not what the model was trained with")


@contextlib.contextmanager
def _without_bytecode() -> Iterator[None]:
    # Compiled files beside the task are not covered by its hash: neither read nor write them.
    before = sys.dont_write_bytecode, sys.pycache_prefix
    with tempfile.TemporaryDirectory(prefix="ayni-bytecode-") as empty:
        sys.dont_write_bytecode, sys.pycache_prefix = True, empty
        try:
            yield
        finally:
            sys.dont_write_bytecode, sys.pycache_prefix = before
