"""What passes between the engine's thread and the thread that talks with Dask: calls there, news back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ayni.errors import AyniError
from ayni.train.cluster_checks import WorkerFacts
from ayni.train.engine import Frame
from ayni.train.task_files import InitialFile


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReady:
    """A worker passed all checks."""

    facts: WorkerFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRefused:
    """A worker may not take part, and why."""

    error: AyniError


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerGone:
    """A worker is not there any more; `is_final` when nobody starts it again."""

    address: str
    reason: str = "its worker process died"
    is_final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLost:
    """The scheduler went away, and all workers with it; a new connection is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFound:
    """The scheduler is there again; its workers are announced one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFailed:
    """The scheduler did not come back."""

    error: AyniError


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a function gave back, or why there is nothing: `value` is then an exception."""

    learner: int
    token: int
    value: object


News: TypeAlias = (
    WorkerReady | WorkerRefused | WorkerGone | ConnectionLost | ConnectionFound | ConnectionFailed | Answered
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One function to run as a task on one worker.

    A machine without the `initial` file gets it before. With `store_at`, the port of the store on that
    worker is added to the arguments. `frames` travel apart, and become the last ones: lists of consecutive
    frames.
    """

    learner: int
    token: int
    worker: WorkerFacts
    function: Any
    arguments: tuple[Any, ...]
    frames: Sequence[Frame] = field(default=(), repr=False)
    store_at: WorkerFacts | None = None
    initial: InitialFile | None = None
