"""From the path of a job file to a checked job, or to a list of everything that is wrong with it.

Not covered: importing the task. A job can be loaded and planned where its libraries are missing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ayni.data.preparation import DataPreparation, prepare_data
from ayni.errors import UserError
from ayni.jobs.document import Document, JobFileError, KeyPath, describe, dotted, parse_value, read_document
from ayni.jobs.problems import BadJobError, Problem, problems_of
from ayni.jobs.spec import JobSpec
from ayni.task import TaskReference


class OverrideError(UserError):
    """A `--set` cannot be applied to the job."""

    def __init__(self, *, override: str, reason: str) -> None:
        self.override = override
        super().__init__(
            f"--set {override}: {reason} Write it as key=value, for example --set train.rounds=5."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A checked job, where it came from, and the task it names with the hash of the task's file."""

    spec: JobSpec
    path: Path
    task: TaskReference
    task_sha256: str

    def to_json(self) -> dict[str, Any]:
        """The frozen form kept in a run's job.json."""
        preparation = self.task.preparation
        assert isinstance(preparation, DataPreparation | None), "jobs make no other"
        return {
            "spec": self.spec.model_dump(mode="json"),
            "path": str(self.path),
            "task": self.spec.task,
            "task_path": str(self.task.module_path),
            "task_sha256": self.task_sha256,
            "data": None if preparation is None else preparation.to_json(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Job":
        """The job that `to_json` froze.

        Raises:
            KeyError, TypeError, ValueError: it is not what `to_json` wrote.
        """
        spec = JobSpec.model_validate_json(json.dumps(data["spec"]), strict=True)
        object_name = spec.task.partition(":")[2]
        preparation = None
        if (frozen := data.get("data")) is not None and spec.data is not None:
            preparation = DataPreparation.from_json(frozen, spec.data)
        return cls(
            spec=spec,
            path=Path(data["path"]),
            task=TaskReference(
                module_path=Path(data["task_path"]), object_name=object_name, preparation=preparation
            ),
            task_sha256=data["task_sha256"],
        )


def load_job(path: Path | str, overrides: Sequence[str] = ()) -> Job:
    """Read, override and check a job.

    Args:
        path: The job file; its folder is where the task's module is looked for.
        overrides: Each `key.key=value`, the value in YAML, applied in order after the file.

    Raises:
        JobFileError: the file cannot be read as YAML.
        OverrideError: an override has no `=`, or its key leads through something that is no mapping.
        BadJobError: keys or values are wrong, or the task's file is not there; every problem is listed.
        NoSuchSourceError, MissingExtraError: `data.source` cannot be had.
    """
    path = Path(path)
    document = read_document(path)
    for override in overrides:
        document = _overridden(document, override)
    spec = check_spec(document)
    task = _task_reference(spec.task, path.absolute().parent)
    if not task.module_path.is_file():
        place = document.place(("task",))
        text = f"`task` is {spec.task}, but there is no file {task.module_path}."
        raise BadJobError(name=document.name, problems=[Problem(place=place, text=text)])
    task = replace(task, preparation=prepare_data(spec.data, folder=path.absolute().parent))
    return Job(spec=spec, path=path.absolute(), task=task, task_sha256=task.sha256)


def override_job(job: Job, overrides: Sequence[str]) -> Job:
    """A job that was frozen, with some values replaced; see `load_job`."""
    document = Document(name=job.path.name, values=job.spec.model_dump(mode="json"))
    for override in overrides:
        document = _overridden(document, override)
    return replace(job, spec=check_spec(document))


def check_spec(document: Document) -> JobSpec:
    """The values of a document as a job.

    Raises:
        BadJobError: keys or values are wrong.
    """
    try:
        # Through JSON, because pydantic's strict mode takes mappings for dataclasses only from there.
        return JobSpec.model_validate_json(json.dumps(document.values), strict=True)
    except ValidationError as error:
        problems = problems_of(error, document, JobSpec)
        raise BadJobError(name=document.name, problems=problems) from error


def _task_reference(name: str, folder: Path) -> TaskReference:
    module, _, object_name = name.partition(":")
    return TaskReference(
        module_path=folder.joinpath(*module.split(".")).with_suffix(".py"), object_name=object_name
    )


def _overridden(document: Document, override: str) -> Document:
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals:
        raise OverrideError(override=override, reason="there is no `=` in it.")
    if not all(parts):
        raise OverrideError(override=override, reason=f"{key!r} is not a key.")
    place = f"--set {override}"
    try:
        value = parse_value(text, name=place)
    except JobFileError as error:
        raise OverrideError(override=override, reason=error.reason) from error
    path, values = _replaced(document.values, (), parts, value, override)
    # What was said in the file about this key and below it is no longer there.
    places = {known: line for known, line in document.places.items() if known[: len(path)] != path}
    return Document(name=document.name, values=values, places={**places, path: place})


def _replaced(
    container: Any, path: KeyPath, parts: list[str], value: Any, override: str
) -> tuple[KeyPath, Any]:
    """The container with one value replaced below it, and the full path of that value."""
    if not parts:
        return path, value
    head, *rest = parts
    if isinstance(container, list):
        if not head.isdecimal() or int(head) >= len(container):
            reason = (
                f"`{dotted(path)}` is {describe(container)}, {head!r} is no position in it (the first is 0)."
            )
            raise OverrideError(override=override, reason=reason)
        index = int(head)
        full, inner = _replaced(container[index], (*path, index), rest, value, override)
        return full, [*container[:index], inner, *container[index + 1 :]]
    # A section that the file leaves out (or empty) is made.
    if container is not None and not isinstance(container, dict):
        reason = f"`{dotted(path)}` is {describe(container)}, which has no keys."
        raise OverrideError(override=override, reason=reason)
    mapping = container or {}
    full, inner = _replaced(mapping.get(head), (*path, head), rest, value, override)
    return full, {**mapping, head: inner}
