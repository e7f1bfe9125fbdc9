"""What `ayni explain` looks into: the model of a run, or a published one, with its task.

    RUN                        a run's id, the beginning of it, `latest`, or a run's folder
    owner/name[@revision]      a repository of the local hub
    a folder                   a repository that was downloaded: config.json, model.safetensors, the task
    a file .safetensors        weights, with a task of the caller's

A task of the caller's takes the place of the published one anywhere but in a run, which has its own.

Not covered: choosing another variant than the one that the run or the repository chose.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ayni.compress.artefacts import load_full_model
from ayni.compress.variants import CompressResult
from ayni.errors import UserError
from ayni.files import sha256_of_file
from ayni.hub.config import CONFIG_FILE, FULL, WEIGHTS_FILE, UnusableConfigError, read_config
from ayni.hub.loading import load_model, load_task
from ayni.hub.publishing import Hub
from ayni.hub.repositories import RepositoryNotFoundError
from ayni.hub.snapshots import Snapshot
from ayni.jobs.runs import DamagedRunError, Run, RunNotFoundError, Runs
from ayni.task import Task, TaskReference
from ayni.train.result import TrainResult
from ayni.workflows.audit_data import NotTrainedError
from ayni.workflows.load_variant import load_variant
from ayni.workflows.open_models import open_run_model
from ayni.workflows.trained_model import load_trained

OWN_TASK = "--task path/to/task.py:Object"
Better = Literal["higher", "lower"]


class NothingToExplainError(UserError):
    """What was named is no run, no repository and no file of weights."""

    def __init__(self, what: str, reason: str) -> None:
        self.what = what
        super().__init__(
            f"{what} cannot be explained: {reason}. Name a run (its id, or latest), a repository "
            "(owner/name), the folder of a downloaded one, or a safetensors file with its task."
        )


class ExplainTaskError(UserError):
    """The task that was named, or was not, cannot be used."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason} A task of your own is given as {OWN_TASK}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainSource:
    """A model, and what belongs to it.

    Attributes:
        name: what people call it: the run's id, or the repository with its revision.
        variant: the compressed form that it is compared with; None without one.
        better: which way the task's first metric is better.
        seed: of the run; 0 where there is none.
    """

    name: str
    task: Task
    model: Any
    variant: Callable[[Any], Any] | None = None
    variant_name: str | None = None
    better: Better = "higher"
    seed: int = 0


def find_explain_source(what: str, *, task: str | None, hub: Hub, runs: Runs) -> ExplainSource:
    """Load the model that `what` names, and its task.

    Args:
        what: see the top of this file.
        task: a task of the caller's, as `path/to/task.py:Object`.
        hub: looked into for what is neither path nor run.
        runs: the runs of this home.

    Raises:
        NothingToExplainError, ExplainTaskError: see there.
        NotTrainedError: the run has no model yet.
        RunNotFoundError: no run has this name, and no repository either.
        AmbiguousRepositoryError, RevisionNotFoundError, DamagedFileError, UnusableConfigError: of a hub.
        TaskChangedError: the run's task is not what it was trained with.
        TaskImportError, TaskFailedError, ModelFileError, WeightsDoNotFitError: task and weights do not fit.
    """
    path = Path(what).expanduser()
    if (path / "job.json").is_file():
        return _of_run(Run(path.resolve()), task)
    if path.is_dir():
        return _of_folder(path, task)
    if path.is_file():
        return _of_file(path, task)
    if "/" in what:
        return _of_repository(what, task, hub, runs)
    try:
        found = runs.open(what)
    except RunNotFoundError as error:
        try:
            return _of_repository(what, task, hub, runs)
        except NothingToExplainError:
            raise error from None
    return _of_run(found, task)


def _of_run(run: Run, task: str | None) -> ExplainSource:
    if task is not None:
        raise ExplainTaskError(f"The run {run.id} has its task, and --task names another.")
    if (result := run.result("train")) is None:
        raise NotTrainedError(run.id)
    run.check_task_unchanged()
    own = run.job.task.load()
    trained, compressed = TrainResult.from_json(result), _compressed(run)
    chosen = compressed.variant(compressed.chosen) if compressed and compressed.chosen else None
    return ExplainSource(
        name=f"run {run.id}",
        task=own,
        model=load_trained(run, own, trained),
        variant=None if chosen is None else open_run_model(run, own, trained, chosen),
        variant_name=None if chosen is None else chosen.name,
        better=run.job.spec.metric.better,
        seed=run.job.spec.seed,
    )


def _compressed(run: Run) -> CompressResult | None:
    result = run.result("compress")
    return None if result is None or "skipped" in result else CompressResult.from_json(result)


def _of_repository(what: str, task: str | None, hub: Hub, runs: Runs) -> ExplainSource:
    name, _, revision = what.partition("@")
    try:
        snapshot = hub.find(name, revision or None)
    except RepositoryNotFoundError as error:
        raise NothingToExplainError(what, f"there is no such path, and {_beginning(error)}") from error
    snapshot.verify()
    config = read_config(snapshot.folder)
    own = _with_data(load_task(snapshot), config.task) if task is None else _named_task(task)
    run = _run_of(config.run, runs)
    # Keras' own file format holds weights only, which the loader of the hub knows how to fill in.
    is_torch = config.library == "pytorch"
    model = load_full_model(own, snapshot.folder / WEIGHTS_FILE) if is_torch else load_model(snapshot)
    return ExplainSource(
        name=f"{snapshot.repository}@{snapshot.revision[:12]}",
        task=own,
        model=model,
        variant=_chosen_variant(snapshot, config.chosen),
        variant_name=config.chosen,
        better="higher" if run is None else run.job.spec.metric.better,
        seed=0 if run is None else run.job.spec.seed,
    )


def _chosen_variant(snapshot: Snapshot, chosen: str | None) -> Callable[[Any], Any] | None:
    if chosen is None or chosen == FULL:
        return None
    found: Callable[[Any], Any] = load_variant(snapshot, chosen)
    return found


def _of_folder(folder: Path, task: str | None) -> ExplainSource:
    if not (folder / CONFIG_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
        raise NothingToExplainError(
            str(folder), f"the folder has no {CONFIG_FILE} beside a {WEIGHTS_FILE}, as a published model has"
        )
    if read_config(folder).library != "pytorch":
        raise NothingToExplainError(
            str(folder), "it is a model of Keras, and explanations look into models of torch"
        )
    own = _task_beside(folder) if task is None else _named_task(task)
    return ExplainSource(
        name=folder.resolve().name, task=own, model=load_full_model(own, folder / WEIGHTS_FILE)
    )


def _of_file(path: Path, task: str | None) -> ExplainSource:
    if path.suffix.lower() != ".safetensors":
        raise NothingToExplainError(
            str(path), "files of this kind are not read, because some could run code; weights are safetensors"
        )
    if task is None:
        raise ExplainTaskError("A safetensors file holds weights, and no code that uses them.")
    own = _named_task(task)
    return ExplainSource(name=path.name, task=own, model=load_full_model(own, path))


def _task_beside(folder: Path) -> Task:
    """The task that lies beside the weights, if it is what they were trained with."""
    config = read_config(folder)
    path = folder / config.task_file
    if not path.is_file() or sha256_of_file(path) != config.task_sha256:
        reason = f"{config.task_file} is missing, or is not what the model was trained with"
        raise UnusableConfigError(folder / CONFIG_FILE, reason)
    reference = TaskReference(module_path=path.resolve(), object_name=config.task_object)
    return _with_data(reference.load(needs_data=False), config.task)


def _with_data(found: Task, name: str) -> Task:
    if not hasattr(found, "dataset"):
        raise ExplainTaskError(
            f"The task {name} has no `dataset`: its job brought the data. Explain the run, or name a task "
            "that reads test data."
        )
    return found


def _named_task(task: str) -> Task:
    file, _, name = task.rpartition(":")
    path = Path(file).expanduser()
    if path.suffix != ".py" or not path.is_file() or not name.isidentifier():
        raise ExplainTaskError(f"--task is {task}, which is no Python file with the name of an object in it.")
    return TaskReference(module_path=path.resolve(), object_name=name).load()


def _run_of(id: str | None, runs: Runs) -> Run | None:
    """The run that published a model; None when it is gone, damaged, or of another machine."""
    if id is None:
        return None
    try:
        found = runs.open(id)
        found.job  # noqa: B018 - reads the file
    except (RunNotFoundError, DamagedRunError):
        return None
    return found


def _beginning(error: Exception) -> str:
    """Of a message its first sentence, to stand inside another."""
    first = str(error).partition(". ")[0]
    return first[:1].lower() + first[1:]
