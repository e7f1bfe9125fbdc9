"""`ayni compress`: a job that begins with a trained model and compresses it, in a folder of its own.

    options -> source (model, task) -> job.yaml and the task's file -> an ordinary run

The job can be read, changed and run again with `ayni run`: nothing of it is known to the command alone.
A folder is never written over; the same command finds its own job there and runs it once more.

Not covered: limits, site and explanations, which the job file takes.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ayni.compress.config import Preference, SearchConfig, StepEntry, preferred_score
from ayni.errors import UserError
from ayni.files import explain_os_errors, make_folder, write_atomically
from ayni.hub.names import check_repository_name
from ayni.hub.publishing import Hub
from ayni.jobs.document import Document, parse_value
from ayni.jobs.loading import check_spec
from ayni.jobs.runs import Runs
from ayni.market.offers import parse_duration
from ayni.workflows.compress_source import Better, Source, find_source

JOB_FILE = "job.yaml"
EXAMPLE_OF_STEPS = "prune: {channels: 0.5}; quantize: {}"
_MAX_NAME_LENGTH = 64


class CompressOptionError(UserError):
    """An option of `ayni compress` is not possible, or not together with another."""

    def __init__(self, option: str, reason: str) -> None:
        self.option = option
        super().__init__(f"{option}: {reason}")


class JobInTheWayError(UserError):
    """Another job is where this one would be written."""

    def __init__(self, folder: Path, file: str) -> None:
        self.folder = folder
        super().__init__(
            f"{folder / file} is there already and is not what would be written. Choose another folder with "
            f"--output, or another name with --name; or run what is there: ayni run {folder / JOB_FILE}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressRequest:
    """What the command was asked for.

    model: a safetensors file, a model of the local hub, a folder of Transformers, or `task`.
    task: path/to/task.py:Object or a built-in one; None takes that of a published model.
    text: of a built-in task.
    max_drop: how much worse a variant may be, in units of the first metric.
    better: which way the first metric is better; None lets the source say it.
    prefer: what the chosen variant should be best in; None is that of a search, energy.
    inferences: how often the model will be used.
    steps: the pipeline as text, entries apart by `;`; None searches for it.
    budget: working time of a search as text, joules its energy, trials its number; None is the default.
    trains: whether a search may train.
    output: the job's folder; None is NAME-compress here.
    name: of the job; None is the model's.
    publish, licence: where the result goes, as in the job.
    """

    model: str
    task: str | None = None
    text: Path | None = None
    max_drop: float = 0.01
    better: Better | None = None
    prefer: Preference | None = None
    inferences: int = 1_000_000
    steps: str | None = None
    budget: str | None = None
    budget_joules: float | None = None
    trials: int | None = None
    trains: bool = True
    output: Path | None = None
    name: str | None = None
    publish: str | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenJob:
    """Where the job is. `new_files` are those that were not there before, newest last."""

    path: Path
    new_files: tuple[Path, ...]

    def remove(self) -> None:
        """Take back what was written, and the folder if nothing else is in it."""
        for file in reversed(self.new_files):
            file.unlink(missing_ok=True)
        if self.new_files and not any(self.path.parent.iterdir()):
            self.path.parent.rmdir()


def write_compress_job(request: CompressRequest, *, hub: Hub, runs: Runs) -> WrittenJob:
    """Write the folder of the job that does what was asked for.

    Raises:
        CompressOptionError: an option is not possible, or not together with another.
        UserError: model or task cannot be had, see `find_source`.
        InvalidDurationError, RepositoryNameError: the budget is no time, the repository no name of one.
        BadJobError: values that only the job's own checks refuse.
        JobInTheWayError: the folder has another job.
    """
    check_options(request)
    source = find_source(request.model, task=request.task, text=request.text, hub=hub, runs=runs)
    values = job_values(request, source)
    check_spec(Document(name="The job that `ayni compress` would write", values=values))
    folder = (request.output or Path(f"{values['name']}-compress")).expanduser()
    return _written(folder, {**source.files, JOB_FILE: _as_yaml(values, request)})


def check_options(request: CompressRequest) -> None:
    """Refuse options that make no sense whatever the model is.

    Raises:
        CompressOptionError, InvalidDurationError, RepositoryNameError: see there.
    """
    if not (math.isfinite(request.max_drop) and request.max_drop >= 0):
        raise CompressOptionError(
            "--max-drop",
            f"{request.max_drop} cannot be a budget. It is how much worse the first metric may become, in "
            "its own units: 0 or more, for example 0.01 for one point of accuracy.",
        )
    if request.licence is not None and request.publish is None:
        raise CompressOptionError("--licence", "there is nothing to license without --publish owner/name.")
    if request.publish is not None:
        check_repository_name(request.publish)
    if request.budget is not None:
        parse_duration(request.budget)
    of_a_search = {
        "--budget": request.budget is not None,
        "--budget-joules": request.budget_joules is not None,
        "--trials": request.trials is not None,
        "--no-training": not request.trains,
    }
    given = [option for option, is_given in of_a_search.items() if is_given]
    if request.steps is not None and given:
        raise CompressOptionError(
            given[0],
            "this is of a search, and --steps names what is done, so that nothing is searched. "
            "Leave one of the two out.",
        )


def job_values(request: CompressRequest, source: Source) -> dict[str, Any]:
    """The job as job.yaml holds it."""
    compress: dict[str, Any] = {
        "max_accuracy_drop": request.max_drop,
        "inferences": request.inferences,
    }
    if request.steps is None:
        compress["search"] = dataclasses.asdict(_search_of(request))
    else:
        compress["steps"] = parse_steps(request.steps)
        if request.prefer is not None:
            compress["score"] = preferred_score(request.prefer)
    values: dict[str, Any] = {
        "name": request.name or _job_name(source.name),
        "task": source.task,
        "model": source.model,
        "metric": {"better": request.better or source.better},
        # Nothing is trained in rounds, so that one core is reserved and a small training split will do.
        "train": {"learners": 1, "batch_size": 1},
        "compress": compress,
    }
    if request.publish is not None:
        licence = {} if request.licence is None else {"licence": request.licence}
        values["publish"] = {"repository": request.publish, **licence}
    return values


def parse_steps(text: str) -> list[dict[str, Any]]:
    """Entries of compress.steps from `prune: {channels: 0.5}; quantize`; a bare name takes all defaults.

    Raises:
        CompressOptionError: an entry is no step, or its settings are not possible.
    """
    entries = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        value = parse_value(part, name=f"--steps {part!r}")
        entry = {value: {}} if isinstance(value, str) else value
        if not isinstance(entry, dict) or not all(isinstance(of, dict | None) for of in entry.values()):
            raise CompressOptionError("--steps", f"{part!r} is no step. For example: {EXAMPLE_OF_STEPS!r}")
        try:
            StepEntry.from_mapping(entry)
        except (TypeError, ValueError) as error:
            raise CompressOptionError(
                "--steps", f"{part!r}: {error}. For example: {EXAMPLE_OF_STEPS!r}"
            ) from error
        entries.append({name: settings or {} for name, settings in entry.items()})
    if not entries:
        raise CompressOptionError("--steps", f"it names no step. For example: {EXAMPLE_OF_STEPS!r}")
    return entries


def _search_of(request: CompressRequest) -> SearchConfig:
    given = {
        "prefer": request.prefer,
        "seconds": None if request.budget is None else parse_duration(request.budget),
        "joules": request.budget_joules,
        "trials": request.trials,
    }
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        return SearchConfig(**chosen, trains=request.trains)
    except ValueError as error:
        raise CompressOptionError("--budget, --budget-joules, --trials", f"{error}.") from error


def _job_name(name: str) -> str:
    """A model's name as a job's: letters, digits, and . _ - after the first."""
    kept = "".join(character if _is_allowed(character) else "-" for character in name)
    return kept.lstrip("._-")[:_MAX_NAME_LENGTH].rstrip("-") or "model"


def _is_allowed(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character in "._-")


def _as_yaml(values: Mapping[str, Any], request: CompressRequest) -> str:
    head = f"# Made by `ayni compress {request.model}`; run it again with `ayni run`. Keys: docs/job.md\n"
    text: str = yaml.dump(dict(values), Dumper=_JobDumper, sort_keys=False, allow_unicode=True, width=100)
    return head + text


class _JobDumper(yaml.SafeDumper):
    """Writes YAML as job files are read: texts that would be read as something else get quotes."""


def _text(dumper: _JobDumper, text: str) -> yaml.ScalarNode:
    # PyYAML knows YAML 1.1, where 1e3 is a text and needs no quotes; job files are YAML 1.2.
    try:
        is_plain = parse_value(text, name="") == text
    except UserError:
        is_plain = False
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_plain else '"')


_JobDumper.add_representer(str, _text)


def _written(folder: Path, files: Mapping[str, str | Path]) -> WrittenJob:
    for name, content in files.items():
        if _is_there(folder / name) and not _is_same(folder / name, content):
            raise JobInTheWayError(folder, name)
    new = tuple(folder / name for name in files if not _is_there(folder / name))
    make_folder(folder)
    for path in new:
        content = files[path.name]
        if isinstance(content, Path):
            with explain_os_errors(path):
                path.symlink_to(content)
        else:
            write_atomically(path, content.encode())
    return WrittenJob(path=folder / JOB_FILE, new_files=new)


def _is_there(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _is_same(path: Path, content: str | Path) -> bool:
    if isinstance(content, Path):
        return path.is_symlink() and path.readlink() == content
    return path.is_file() and not path.is_symlink() and path.read_bytes() == content.encode()
