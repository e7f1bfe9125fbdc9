"""The task protocol: what a user writes, and how it is found. No torch is imported here.

A task is any object with the five methods of `Task`; there is nothing to inherit from. A task is
user code and runs with the user's rights: Ayni imports it only from the job's own folder, or from a
repository that the user asked for by name.

Not covered: sandboxing (whoever runs a job trusts its task), and modules beside the task's: they are
imported under their own names, once in a process, and their content is not part of the task's hash.
"""

import contextlib
import difflib
import hashlib
import importlib.util
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ayni.errors import UserError
from ayni.files import sha256_of_file

if TYPE_CHECKING:
    import torch

SPLITS = ("train", "validation", "test")
# Reentrant, because a task that runs a job while it is imported comes back here in the same thread.
_import_lock = threading.RLock()


@runtime_checkable
class Task(Protocol):
    """What is learned: model, data, loss, metric."""

    def build_model(self) -> "torch.nn.Module":
        """A new, untrained model."""
        ...

    def dataset(self, split: str) -> Sequence[Any]:
        """Examples of "train", "validation" or "test"; indexable, so that each counts exactly once."""
        ...

    def loss(self, model: Any, batch: Any) -> "torch.Tensor":
        """Scalar mean over the batch. `batch` is what torch's default_collate makes of examples."""
        ...

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        """Metrics over all batches; the first is the one to keep. `model` may be any callable on inputs."""
        ...

    def example_input(self) -> "torch.Tensor":
        """One input with a batch dimension of 1, for export and latency."""
        ...


# Names of the modules that tasks are imported as begin so; tracebacks are searched for it.
_MODULE_PREFIX = "ayni_task_"
# What tasks import and a light install lacks.
_EXTRA_OF_PACKAGE = {"torch": "train", "keras": "keras", "tensorflow": "keras", "transformers": "adapters"}
REQUIRED_METHODS = ("build_model", "dataset", "loss", "evaluate", "example_input")


class TaskImportError(UserError):
    """The task named in the job cannot be had."""


class TaskFailedError(UserError):
    """A method of the task raised; the cause is the user's own exception."""

    def __init__(self, *, method: str, cause: BaseException) -> None:
        self.method = method
        super().__init__(
            f"The task's {method} raised {type(cause).__name__}: {cause}{_place_of(cause)}. "
            "Mend the task; `--debug` shows more."
        )


class Preparation(Protocol):
    """What a job does to its task's data. Small, and safe to send to a worker."""

    @property
    def sha256(self) -> str:
        """Hash of all that decides what the task sees: data and augmentation."""
        ...

    @property
    def brings_data(self) -> bool:
        """Whether the task need not have data of its own."""
        ...

    def prepare(self, task: Any) -> Task:
        """The task with the job's data."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReference:
    """Where a task is found: `object_name` in `module_path`. Small, and safe to send to a worker.

    With a `preparation` the task that is loaded is wrapped: its data are those of the job.
    """

    module_path: Path
    object_name: str
    preparation: Preparation | None = None

    def __str__(self) -> str:
        """The form used in job.yaml: `module:object`."""
        return f"{self.module_path.stem}:{self.object_name}"

    @property
    def sha256(self) -> str:
        """Hash of the task's file and of what is done to its data, so that a resumed run can tell a change.

        Raises:
            TaskImportError: no such file, or it cannot be read.
        """
        if self.preparation is None:
            return self.module_sha256
        return hashlib.sha256(f"{self.module_sha256}{self.preparation.sha256}".encode()).hexdigest()

    @property
    def module_sha256(self) -> str:
        """Hash of the task's file alone.

        Raises:
            TaskImportError: no such file, or it cannot be read.
        """
        return _hash_of(self.module_path)

    def load(self, *, needs_data: bool = True) -> Task:
        """Import the module, build the object and check that it is a task.

        A class or function is called without arguments; anything else is taken as it is. The job's
        folder is on `sys.path` while the module is imported, so that a task may have neighbours.

        Args:
            needs_data: whether it must have `dataset`; one whose job brings the data need not.

        Raises:
            TaskImportError: no such file or object, the import raised, or a method is missing.
            UserError: the preparation cannot be done, by what it says.
        """
        task: Task = self._built(self._named_object())
        needs_data = needs_data and not (self.preparation and self.preparation.brings_data)
        required = [name for name in REQUIRED_METHODS if needs_data or name != "dataset"]
        missing = [name for name in required if not callable(getattr(task, name, None))]
        if missing:
            raise TaskImportError(
                f"{self} is not a task: it has no {', no '.join(missing)}. "
                f"A task has {', '.join(REQUIRED_METHODS)}."
            )
        return task if self.preparation is None else self.preparation.prepare(task)

    @property
    def is_built(self) -> bool:
        """Whether the name stands for a finished object, and no class or function that makes one.

        Raises:
            TaskImportError: no such file or object, or the import raised.
        """
        return not _is_maker(self._named_object())

    def _named_object(self) -> Any:
        module = _import_file(self.module_path)
        if not hasattr(module, self.object_name):
            raise TaskImportError(_no_such_object(module, self.module_path, self.object_name))
        return getattr(module, self.object_name)

    def _built(self, found: Any) -> Any:
        if not _is_maker(found):
            return found
        try:
            return found()
        # SystemExit too: user code that leaves would end the command without a word.
        except (Exception, SystemExit) as error:
            raise TaskImportError(
                f"{self} could not be built: {type(error).__name__}: {error}. "
                "A task is built without arguments."
            ) from error


def _is_maker(found: Any) -> bool:
    return isinstance(found, type) or (callable(found) and not isinstance(found, Task))


def _no_such_object(module: ModuleType, path: Path, wanted: str) -> str:
    names = sorted(name for name in vars(module) if not name.startswith("_"))
    nearest = difflib.get_close_matches(wanted, names, n=1)
    hint = f"Did you mean {nearest[0]!r}?" if nearest else f"It has: {', '.join(names) or 'nothing'}."
    return f"{path} has no {wanted!r}. {hint}"


def _hash_of(path: Path) -> str:
    if not path.is_file():
        raise TaskImportError(f"The task's file {path} does not exist. `task:` in the job is module:object.")
    try:
        return sha256_of_file(path)
    except OSError as error:
        raise TaskImportError(f"The task's file {path} cannot be read: {error.strerror}.") from error


def _import_file(path: Path) -> ModuleType:
    path = path.resolve()
    # The name carries the content's hash, so that two versions of a file can live in one process.
    name = f"{_MODULE_PREFIX}{path.stem}_{_hash_of(path)[:12]}"
    with _import_lock:
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise TaskImportError(f"{path} is not a Python file.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        sys.path.insert(0, str(path.parent))
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[name]  # also after Ctrl-C: half a module must not pass for a whole one
            if isinstance(error, Exception | SystemExit):
                raise TaskImportError(
                    f"Importing {path} raised {type(error).__name__}: {error}.{_remedy(error)}"
                ) from error
            raise
        finally:
            with contextlib.suppress(ValueError):  # the task may have tidied up sys.path itself
                sys.path.remove(str(path.parent))
    return module


def _remedy(error: BaseException) -> str:
    """The extra of Ayni that has what is missing; empty where none has."""
    package = str(getattr(error, "name", None) or "").partition(".")[0]
    extra = _EXTRA_OF_PACKAGE.get(package)
    return f" Run: pip install 'ayni[{extra}]'" if extra and isinstance(error, ImportError) else ""


def _place_of(cause: BaseException) -> str:
    """File and line in the task's own code where an exception began; empty where it never was there."""
    place = ""
    for frame, line in traceback.walk_tb(cause.__traceback__):
        if str(frame.f_globals.get("__name__", "")).startswith(_MODULE_PREFIX):
            place = f" ({Path(frame.f_code.co_filename).name}, line {line})"
    return place
