"""What `ayni compress` begins with: where the trained model is, and the task that says what it is good for.

    a safetensors file          with a task of the caller's, whose model it fills
    a model of the local hub    with the task that was published beside it, or another
    a folder of Transformers    with a built-in task on a text: perplexity, sentences
    the word `task`             a task of the caller's that builds its model with its weights

A task of the caller's is linked into the job's folder and not copied, so that modules and data beside it are
found where they are. Those of the hub are copied: a snapshot must stay as it was published. A built-in
task is a generated file of a few lines.

Not covered: models of Keras and in ONNX or GGUF, and files that could run code when they are read.
"""

import difflib
import os.path
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ayni.errors import UserError
from ayni.hub.config import read_config
from ayni.hub.publishing import Hub
from ayni.hub.repositories import RepositoryNotFoundError
from ayni.hub.snapshots import Snapshot
from ayni.jobs.runs import DamagedRunError, RunNotFoundError, Runs
from ayni.jobs.spec import AS_BUILT

Better = Literal["higher", "lower"]
OWN_TASK = "--task path/to/task.py:Object"
TASK_FILE = "task.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltIn:
    """A task of `ayni.text_tasks`: its class, what it measures, and which way is better."""

    object_name: str
    measures: str
    better: Better


BUILT_IN_TASKS: Mapping[str, BuiltIn] = {
    "perplexity": BuiltIn(
        object_name="Perplexity", measures="how well a language model foresees a text", better="lower"
    ),
    "sentences": BuiltIn(
        object_name="SentenceFidelity",
        measures="how near the embeddings of sentences stay to those of the model itself",
        better="higher",
    ),
}

_NOT_SAFE = (
    "Files of this kind could run code when they are read. Convert it with safetensors.torch.save_file, or "
    f"give `{AS_BUILT}` as MODEL with a task whose build_model reads it."
)
_KERAS = (
    "It is a model of Keras. Those are compressed in the job that trains them (`compress:` in job.yaml); a "
    "trained model to begin with is one of torch."
)
_ADVICE_OF_SUFFIX = {
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle"), _NOT_SAFE),
    **dict.fromkeys((".keras", ".h5", ".hdf5"), _KERAS),
    ".onnx": "It is exported already. Give the weights that it was made of, as a safetensors file.",
    ".gguf": (
        "It is quantized already. ayni.text_tasks.Perplexity(..., gguf_file=...) reads one: write a task "
        f"that gives it, and give `{AS_BUILT}` as MODEL."
    ),
}


class NoSuchModelError(UserError):
    """MODEL is no file, no folder and no repository of the local hub."""

    def __init__(self, model: str, hint: str) -> None:
        self.model = model
        super().__init__(
            f"There is no model {model!r}: no file, no folder, and no repository of the local hub. {hint} "
            "MODEL is a safetensors file, owner/name, a folder of Transformers with config.json, or the "
            f"word `{AS_BUILT}`."
        )


class UnusableModelError(UserError):
    """MODEL is there, and of a kind that cannot be compressed."""

    def __init__(self, model: Path | str, reason: str) -> None:
        self.model = str(model)
        super().__init__(f"{model} cannot be compressed as it is. {reason}")


class TaskOptionError(UserError):
    """`--task` and what goes with it name no task."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason} --task is path/to/task.py:Object, or a built-in one: {', '.join(BUILT_IN_TASKS)}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a job begins with.

    model: the job's key `model`. task: its key `task`.
    better: which way the task's first metric is better.
    name: what the model is called.
    files: of the job's folder; text is written, a path is linked.
    """

    model: str
    task: str
    better: Better
    name: str
    files: Mapping[str, str | Path]


def find_source(model: str, *, task: str | None, text: Path | None, hub: Hub, runs: Runs) -> Source:
    """Where a model and its task come from.

    Args:
        model: a path, a name of the local hub, or `task`.
        task: as given with `--task`.
        text: the text of a built-in task.
        hub: looked into when there is no such path.
        runs: know which way a published model's metric is better.

    Raises:
        NoSuchModelError, UnusableModelError, TaskOptionError: see there.
        AmbiguousRepositoryError, RevisionNotFoundError: the local hub has several, or not that one.
        UnusableConfigError, DamagedFileError: a repository is not as `ayni run` publishes it.
    """
    path = Path(model).expanduser()
    if text is not None and task not in BUILT_IN_TASKS:
        raise TaskOptionError("--text is for the built-in tasks; a task of your own reads its data itself.")
    if path.is_dir():
        return _of_folder(path, task, text)
    if task in BUILT_IN_TASKS:
        found = "is a file" if path.is_file() else "is no folder here"
        raise TaskOptionError(
            f"The built-in task {task} is for a folder of Transformers (config.json, weights, tokenizer), "
            f"and {model} {found}. For other models name a task of your own."
        )
    if path.is_file():
        return _of_file(path, task)
    if model == AS_BUILT:
        own = _own_task(task, "Its build_model gives the trained model.")
        return Source(model=AS_BUILT, task=own.name, better="higher", name=own.object_name, files=own.files)
    return _of_hub(model, task, hub, runs)


def _of_file(path: Path, task: str | None) -> Source:
    if path.suffix.lower() != ".safetensors":
        advice = _ADVICE_OF_SUFFIX.get(path.suffix.lower(), f"Give a safetensors file. {_NOT_SAFE}")
        raise UnusableModelError(path, advice)
    found = _own_task(task, "A safetensors file holds weights, and no code that uses them.")
    path = path.resolve()
    # What libraries call it says nothing about the model.
    name = path.parent.name if path.stem in ("model", "weights") else path.stem
    return Source(model=str(path), task=found.name, better="higher", name=name, files=found.files)


def _of_folder(path: Path, task: str | None, text: Path | None) -> Source:
    weights, path = path / "model.safetensors", path.resolve()
    built_in = BUILT_IN_TASKS.get(task or "")
    if built_in is None:
        if task is None and (path / "config.json").is_file():
            raise TaskOptionError(f"--task is missing: what is the model in {path} good for?")
        found = _own_task(task, "The model is a folder.")
        raise UnusableModelError(
            path,
            f"With a task of your own ({found.name}) give the file of the weights, such as {weights}, or "
            f"`{AS_BUILT}` where the task's build_model reads the folder itself.",
        )
    if not (path / "config.json").is_file():
        raise UnusableModelError(
            path,
            "It has no config.json, so that it is no model of Transformers; save one with "
            f"save_pretrained(). Weights of another kind: a safetensors file and {OWN_TASK}.",
        )
    if text is None:
        raise TaskOptionError(
            f"--text is missing: {task} measures {built_in.measures}. Give a file of plain text"
            f"{', one sentence a line' if task == 'sentences' else ''}."
        )
    if not text.is_file():
        raise TaskOptionError(f"--text is {text}, and there is no such file.")
    return Source(
        model=AS_BUILT,
        task=f"{Path(TASK_FILE).stem}:task",
        better=built_in.better,
        name=path.name,
        files={TASK_FILE: _generated(built_in, path, text.resolve())},
    )


def _generated(built_in: BuiltIn, folder: Path, text: Path) -> str:
    return (
        f'"""Made by `ayni compress`: {built_in.measures}."""\n\n'
        f"from ayni.text_tasks import {built_in.object_name}\n\n\n"
        f"def task() -> {built_in.object_name}:\n"
        f"    return {built_in.object_name}(\n        {str(folder)!r},\n        {str(text)!r},\n    )\n"
    )


def _of_hub(model: str, task: str | None, hub: Hub, runs: Runs) -> Source:
    name, _, revision = model.partition("@")
    try:
        snapshot = hub.find(name, revision or None)
    except RepositoryNotFoundError as error:
        raise NoSuchModelError(model, str(error).partition(". ")[2]) from error
    snapshot.verify()
    config = read_config(snapshot.folder)
    if config.library == "keras":
        raise UnusableModelError(model, _KERAS)
    # Pinned, so that the job means the same when the repository has moved on.
    pinned = f"{snapshot.repository}@{snapshot.revision}"
    called = snapshot.repository.partition("/")[2]
    better = _better_of_run(config.run, runs)
    if task is not None:
        found = _own_task(task, "")
        return Source(model=pinned, task=found.name, better=better, name=called, files=found.files)
    return Source(model=pinned, task=config.task, better=better, name=called, files=_published_code(snapshot))


def _published_code(snapshot: Snapshot) -> dict[str, str | Path]:
    return {
        name: (snapshot.folder / name).read_text(encoding="utf-8")
        for name in snapshot.files
        if name.endswith(".py") and "/" not in name
    }


def _better_of_run(run: str | None, runs: Runs) -> Better:
    """As the job that published the model said; its run may be gone, or be of another machine."""
    try:
        return "higher" if run is None else runs.open(run).job.spec.metric.better
    except (RunNotFoundError, DamagedRunError):
        return "higher"


@dataclass(frozen=True, slots=True, kw_only=True)
class _OwnTask:
    path: Path
    object_name: str

    @property
    def name(self) -> str:
        return f"{self.path.stem}:{self.object_name}"

    @property
    def files(self) -> dict[str, str | Path]:
        return {self.path.name: self.path}


def _own_task(task: str | None, why: str) -> _OwnTask:
    """The file and the object of a task of the caller's; `why` says what one is needed for."""
    if task is None:
        raise TaskOptionError(f"--task is missing. {why}")
    if task in BUILT_IN_TASKS:
        raise TaskOptionError(f"The built-in task {task} is for a folder of Transformers. {why}")
    file, colon, object_name = task.rpartition(":")
    if not colon:
        raise TaskOptionError(_without_object(task))
    path = Path(file).expanduser()
    if path.suffix != ".py" or not path.is_file():
        is_module = path.suffix != ".py" and Path(f"{file.replace('.', os.path.sep)}.py").is_file()
        hint = f"Write the file: {file.replace('.', os.path.sep)}.py:{object_name}." if is_module else ""
        raise TaskOptionError(f"--task is {task}, and there is no Python file {path}. {hint}".rstrip())
    path = path.resolve()
    if not path.stem.isidentifier() or not object_name.isidentifier():
        raise TaskOptionError(
            f"--task is {task}: the file and the object are names of Python, and "
            f"{object_name if path.stem.isidentifier() else path.stem!r} is none. Rename it."
        )
    return _OwnTask(path=path, object_name=object_name)


def _without_object(task: str) -> str:
    if task.endswith(".py"):
        return f"--task is {task}: which object in it? Write {task}:Object."
    near = difflib.get_close_matches(task, BUILT_IN_TASKS, n=1)
    return f"There is no built-in task {task!r}.{f' Did you mean {near[0]}?' if near else ''}"
