"""Runs: the durable folder of each job that was started, and the lock that lets one process work on it.

A run is a folder under `<home>/runs/` that says everything about itself in small files which are
replaced whole, so that a process may die at any moment and another goes on from the last finished
step. Nothing here is kept in a database: a run can be copied, listed and verified from files alone.

    job.json            the frozen job          status.json     what became of it
    steps/<step>.json   result of each step     attempts.jsonl  each time a step was begun
    lock                held (flock) by the process that works on the run; holds its process id

Not covered: runs on network file systems without flock, and two machines that share one home.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ayni.errors import AyniError, UserError
from ayni.files import (
    append_json_line,
    explain_os_errors,
    flush_folder,
    make_folder,
    read_json,
    read_json_lines,
    write_json,
)
from ayni.jobs.loading import Job

STEP_ORDER = ("plan", "train", "compress", "audit", "explain", "publish", "settle", "report")
STATUSES = ("running", "finished", "failed", "interrupted")
LATEST = "latest"
_LOCK_TRIES, _LOCK_PAUSE_SECONDS = 10, 0.01


class RunNotFoundError(UserError):
    """No run has this id, or several begin with it."""

    def __init__(self, *, reference: str, candidates: list[str]) -> None:
        self.reference = reference
        self.candidates = candidates
        shown = ", ".join(candidates[:5]) + (", ..." if len(candidates) > 5 else "")
        if not candidates:
            text = "There are no runs yet. Start one with `ayni run job.yaml`."
        elif reference and sum(name.startswith(reference) for name in candidates) > 1:
            text = f"{len(candidates)} runs begin with {reference!r}: {shown}. Give more of the id."
        else:
            text = f"No run is called {reference!r}. The newest are: {shown}. List all with `ayni runs list`."
        super().__init__(text)


class RunIsBusyError(UserError):
    """Another process works on this run."""

    def __init__(self, *, run: str, pid: int | None) -> None:
        self.run = run
        self.pid = pid
        who = "Another process" if pid is None else f"The process {pid}"
        super().__init__(
            f"{who} works on the run {run} right now. Wait until it has finished, or stop it with Ctrl-C "
            f"in its terminal{'' if pid is None else f' (or `kill {pid}`)'}; nothing finished is lost."
        )


class DamagedRunError(AyniError):
    """A file of a run is missing or is not what was written."""

    def __init__(self, *, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(
            f"{path} {reason}. Restore it from a backup, or delete the run with `ayni runs remove` "
            "and start the job again."
        )


class TaskChangedError(UserError):
    """The task's file is not the one that the run began with."""

    def __init__(self, *, run: str, path: Path, expected_sha256: str, found_sha256: str | None) -> None:
        self.expected_sha256 = expected_sha256
        self.found_sha256 = found_sha256
        what = "is gone" if found_sha256 is None else f"was changed (SHA-256 {found_sha256[:12]}...)"
        super().__init__(
            f"{path} {what} since the run {run} began with {expected_sha256[:12]}..., so going on would mix "
            "two tasks. Put the old file back, or start anew with `ayni run`."
        )


def utc_now() -> datetime:
    """The present, with its time zone."""
    return datetime.now(UTC)


class Run:
    """One run: its folder, what it has finished, and the lock to work on it."""

    def __init__(self, folder: Path, *, now: Callable[[], datetime] = utc_now) -> None:
        self.id = folder.name
        self.folder = folder
        self._now = now

    @property
    def job(self) -> Job:
        """The job as it is frozen: as when the run began, but for what `replace_job` changed since.

        Raises:
            DamagedRunError: job.json is missing or was altered beyond reading.
        """
        path = self.folder / "job.json"
        data = self._read(path)
        try:
            return Job.from_json(data)
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedRunError(
                path=path, reason=f"does not hold a job ({type(error).__name__})"
            ) from error

    def replace_job(self, job: Job) -> None:
        """Freeze another form of the job; a crash leaves the old one or the new one."""
        write_json(self.folder / "job.json", job.to_json())

    @property
    def status(self) -> str:
        """One of `STATUSES`; a run that says "running" while no process holds its lock is interrupted."""
        status = str(self._status_record().get("status"))
        return "interrupted" if status == "running" and not self.is_busy else status

    @property
    def is_busy(self) -> bool:
        """Whether a process holds the lock."""
        path = self.folder / "lock"
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def set_status(self, status: str, *, error: str | None = None) -> None:
        """Record what became of the run; `error` is the message a person was shown."""
        if status not in STATUSES:
            raise ValueError(f"a run is {', '.join(STATUSES)}, not {status!r}")
        record = self._status_record()
        record |= {"status": status, "updated_at": self._now().isoformat(), "error": error}
        write_json(self.folder / "status.json", record)

    def summary(self) -> dict[str, Any]:
        """What a list of runs shows: id, name, status, times, error, finished steps and folder.

        A run whose files cannot be read has the status "damaged", so that it hides no other.
        """
        try:
            record = {**self._status_record(), "status": self.status}
        except DamagedRunError as error:
            record = {"name": None, "status": "damaged", "created_at": None, "updated_at": None}
            record["error"] = str(error)
        return {
            **record,
            "run": self.id,
            "finished_steps": [step for step in STEP_ORDER if self._step_path(step).exists()],
            "folder": str(self.folder),
        }

    def result(self, step: str) -> dict[str, Any] | None:
        """The result of a finished step; None while it is not finished."""
        path = self._step_path(step)
        return self._read(path) if path.exists() else None

    def save_result(self, step: str, result: dict[str, Any]) -> None:
        """Keep the result of a step. From here on, a resumed run skips the step."""
        write_json(self._step_path(step), result)

    def begin_attempt(self, step: str) -> int:
        """Record durably that a step begins; the number of this attempt, from 1."""
        attempt = self.num_attempts(step) + 1
        row = {"step": step, "attempt": attempt, "started_at": self._now().isoformat(), "pid": os.getpid()}
        append_json_line(self.folder / "attempts.jsonl", row)
        return attempt

    def num_attempts(self, step: str) -> int:
        """How often a step was begun, over all processes that worked on the run."""
        rows = read_json_lines(self.folder / "attempts.jsonl")
        return sum(1 for row in rows if isinstance(row, dict) and row.get("step") == step)

    def check_task_unchanged(self) -> None:
        """Refuse to go on with another task than the run began with.

        Raises:
            TaskChangedError: the task's file is gone, or its SHA-256 differs.
        """
        job = self.job
        path = job.task.module_path
        found = job.task.sha256 if path.is_file() else None
        if found != job.task_sha256:
            raise TaskChangedError(
                run=self.id, path=path, expected_sha256=job.task_sha256, found_sha256=found
            )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Work on the run alone. The operating system frees the lock when the process dies, however it dies.

        Raises:
            RunIsBusyError: another process (or another place in this one) holds it.
        """
        path = self.folder / "lock"
        if not self.folder.is_dir():
            raise RunNotFoundError(reference=self.id, candidates=_run_ids(self.folder.parent))
        with explain_os_errors(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._take(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def _take(self, descriptor: int) -> None:
        # A look at the status holds the lock shared for an instant; that must not pass for a worker.
        for attempt in range(_LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if attempt + 1 < _LOCK_TRIES:
                    time.sleep(_LOCK_PAUSE_SECONDS)
        raise RunIsBusyError(run=self.id, pid=_pid_in(descriptor))

    def _status_record(self) -> dict[str, Any]:
        return self._read(self.folder / "status.json")

    def _step_path(self, step: str) -> Path:
        return self.folder / "steps" / f"{step}.json"

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            value = read_json(path)
        except FileNotFoundError as error:
            raise DamagedRunError(path=path, reason="is missing") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DamagedRunError(path=path, reason=f"is not JSON any more ({error})") from error
        if not isinstance(value, dict):
            raise DamagedRunError(path=path, reason="does not hold an object")
        return value


class Runs:
    """All runs under one folder, named so that their ids sort by time."""

    def __init__(self, folder: Path, *, now: Callable[[], datetime] = utc_now) -> None:
        self._folder = folder
        self._now = now

    def create(self, job: Job) -> Run:
        """A new run of the job; it appears whole or not at all.

        Raises:
            NotWritableError: the folder cannot be written.
        """
        now = self._now()
        draft = self._folder / f".new-{secrets.token_hex(8)}"
        with explain_os_errors(draft):
            make_folder(draft)
            write_json(draft / "job.json", job.to_json())
            for moment in (now + timedelta(milliseconds=late) for late in range(1000)):
                # Two runs of one job that begin in the same millisecond: the second moves on by one.
                run_id = _run_id(moment, job.spec.name)
                status = {"run": run_id, "name": job.spec.name, "status": "running"}
                status |= {"created_at": now.isoformat(), "updated_at": now.isoformat()}
                write_json(draft / "status.json", {**status, "error": None})
                if _rename_to_new(draft, self._folder / run_id):
                    break
            flush_folder(self._folder)
        return self._run(run_id)

    def open(self, reference: str) -> Run:
        """The run with this id, the only one whose id begins with it, or the newest for "latest".

        Raises:
            RunNotFoundError: none, or more than one.
        """
        ids = _run_ids(self._folder)
        if reference in ids:
            return self._run(reference)
        if reference == LATEST and ids:
            return self._run(ids[0])
        matches = [run_id for run_id in ids if reference and run_id.startswith(reference)]
        if len(matches) != 1:
            raise RunNotFoundError(reference=reference, candidates=matches or ids)
        return self._run(matches[0])

    def list(self) -> list[Run]:
        """All runs, newest first."""
        return [self._run(run_id) for run_id in _run_ids(self._folder)]

    def remove(self, reference: str) -> None:
        """Delete a run and everything in its folder; what it published and settled stays.

        Raises:
            RunNotFoundError: none, or more than one.
            RunIsBusyError: a process works on it.
        """
        run = self.open(reference)
        with run.lock(), explain_os_errors(run.folder):
            # First out of sight in one step, so that a crash in between leaves no half run behind.
            grave = run.folder.with_name(f".removed-{run.id}")
            run.folder.rename(grave)
            shutil.rmtree(grave)

    def _run(self, run_id: str) -> Run:
        return Run(self._folder / run_id, now=self._now)


def _run_ids(folder: Path) -> list[str]:
    """The ids of the runs in a folder, newest first; drafts and removed ones begin with a dot."""
    if not folder.is_dir():
        return []
    names = (entry.name for entry in folder.iterdir() if entry.is_dir())
    return sorted((name for name in names if not name.startswith(".")), reverse=True)


def _rename_to_new(source: Path, target: Path) -> bool:
    """Rename a folder unless the target is taken: POSIX refuses a folder that is not empty."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _run_id(moment: datetime, name: str) -> str:
    """Sorts by time to the millisecond: 20251122-093000-125-digits."""
    milliseconds = moment.microsecond // 1000
    return f"{moment.astimezone(UTC):%Y%m%d-%H%M%S}-{milliseconds:03d}-{_slug(name)}"


def _slug(name: str) -> str:
    """A name as part of a folder's: small letters, digits and single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "job"


def _pid_in(descriptor: int) -> int | None:
    text = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
    return int(text) if text.isdigit() else None
