"""Which worker may take part: versions that fit together, and connections in both directions.

Pure, apart from reading this process's own versions: the questions are asked by dask_connection.py.

Not covered: whether two installations of one version hold the same code, and whether a worker sees the
task's data.
"""

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass

from ayni.errors import AyniError, UserError

# How many leading numbers of a version must agree, and why: Ayni sends its own objects, torch's kernels
# decide about the last bits, numpy's and Dask's formats change with the first number alone.
_LEADING_NUMBERS = {"ayni": 3, "torch": 2, "numpy": 1, "distributed": 1}
_PYTHON_NUMBERS = 2

# Asked by `eval` in the worker: with other versions there, nothing but Python's own names can be relied on.
VERSIONS_QUESTION = (
    "{'python': __import__('platform').python_version(), **{name: next((found.version for found in "
    "__import__('importlib.metadata').metadata.distributions(name=name)), None) for name in "
    f"{tuple(_LEADING_NUMBERS)!r}}}}}"
)


class PackageMismatchError(UserError):
    """A worker has other versions than this process."""

    def __init__(self, *, worker: str, differences: Mapping[str, tuple[str, str]]) -> None:
        self.worker = worker
        listed = ", ".join(
            f"{name} {there} there and {here} here" for name, (there, here) in differences.items()
        )
        super().__init__(
            f"The worker {worker} has other versions: {listed}. Install the same versions on both machines "
            "(pip install 'ayni[train]' with equal pins), and start the worker again."
        )


class UnreachableWorkerError(AyniError):
    """A worker registered at the scheduler, and cannot be called back."""

    def __init__(self, *, worker: str, caller: str, seconds: float, reason: str) -> None:
        self.worker = worker
        super().__init__(
            f"The worker {worker} registered at the scheduler, but the {caller} could not call it back "
            f"within {seconds:g} s ({reason}). Start it with an address that others can reach: dask worker "
            "--listen-address tcp://0.0.0.0:PORT --contact-address tcp://HOST:PORT, and open that port; see "
            "docs/clusters.md."
        )


class NoWorkersError(UserError):
    """The cluster is there, but too few workers are."""

    def __init__(self, *, address: str, num_workers: int, num_needed: int, seconds: float) -> None:
        self.num_workers, self.num_needed = num_workers, num_needed
        super().__init__(
            f"The cluster at {address} had {num_workers} of the {num_needed} workers that this training "
            f"needs after {seconds:g} s. Start more, each with: dask worker {address} --nthreads 1 "
            "--memory-limit 0; or lower train.quorum or train.learners."
        )


class SchedulerUnreachableError(UserError):
    """No Dask scheduler answers at the address of the job."""

    def __init__(self, *, address: str, reason: str) -> None:
        self.address = address
        super().__init__(
            f"No Dask scheduler answers at {address} ({reason}). Start one there with `dask scheduler`, or "
            "correct train.engine; `engine: local` needs none."
        )


class SchedulerRefusedError(UserError):
    """Something answers at a tls:// address, and the two sides do not trust each other."""

    def __init__(self, *, address: str, reason: str) -> None:
        self.address = address
        super().__init__(
            f"The scheduler at {address} and the certificates of train.tls do not fit together ({reason}). "
            "All members of a cluster need certificates signed by the same authority; see docs/clusters.md."
        )


class CertificateFileError(UserError):
    """A file that train.tls names is not there or not what it should be."""

    def __init__(self, *, name: str, path: str, reason: str) -> None:
        super().__init__(f"train.tls.{name}: {path} cannot be used ({reason}). It must be a PEM file.")


class SchedulerLostError(AyniError):
    """The scheduler went away in mid-training and did not come back."""

    def __init__(self, *, address: str, seconds: float) -> None:
        self.address = address
        super().__init__(
            f"The scheduler at {address} went away and did not come back within {seconds:g} s. The last "
            "checkpoint is kept: start the scheduler and its workers again, then `ayni resume RUN`."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """One worker process, as it describes itself.

    `is_direct` tells whether this process can reach it; if not, what travels passes through the scheduler.
    """

    address: str
    name: str
    host: str
    process_id: int
    num_threads: int
    has_nanny: bool
    is_direct: bool = True


def own_versions() -> dict[str, str | None]:
    """Versions of this process, by the same names as VERSIONS_QUESTION asks for."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in _LEADING_NUMBERS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def check_versions(worker: str, *, there: Mapping[str, str | None], here: Mapping[str, str | None]) -> None:
    """Refuse a worker whose versions differ in the numbers that matter.

    Raises:
        PackageMismatchError: names each package with both versions.
    """
    differences = {
        name: (there.get(name) or "none", here.get(name) or "none")
        for name, count in {"python": _PYTHON_NUMBERS, **_LEADING_NUMBERS}.items()
        if _leading(there.get(name), count) != _leading(here.get(name), count)
    }
    if differences:
        raise PackageMismatchError(worker=worker, differences=differences)


def _leading(version: str | None, count: int) -> tuple[str, ...]:
    """The first numbers of a version; "2.13.0+cpu" and "2.13.0" are the same release."""
    return () if version is None else tuple(version.split("+")[0].split(".")[:count])
