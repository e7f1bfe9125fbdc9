"""Run any command and meter all of its processes, dead ones included.

The command has the terminal, the files and the signals to itself (`command_signals`); what is measured is
what it starts, not Ayni. Its CPU time is that of a cgroup made for it where the system allows one
(`job_cgroup`), else that of the tree of processes below this one, in which orphans are adopted.

Not covered: work that the command asks of others (a daemon, a batch system, another machine), and what it
leaves running when it ends: the outcome says how many processes those are. Systems other than Linux.
"""

import contextlib
import errno
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ayni.errors import UserError
from ayni.footprint.measuring.command_signals import (
    adopt_orphans,
    blocked_signals,
    came_too_early,
    reap,
    spawn,
    wait_for,
)
from ayni.footprint.measuring.measured_footprint import Footprint
from ayni.footprint.measuring.recording import Recording, Request
from ayni.footprint.windows.cpu_time import CpuClock, ProcCpuClock
from ayni.footprint.windows.job_cgroup import JobCgroup, make_job_cgroup

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""The exit codes that shells give."""
_INTERRUPTIONS = tuple(128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM))


class CommandNotStartedError(UserError):
    """A command that was to be metered is not there, or is no program."""

    def __init__(self, program: str, reason: str, exit_code: int) -> None:
        self.program = program
        self.shell_exit_code = exit_code
        super().__init__(f"{program}: {reason}. Nothing was measured.")


class OnlyOnLinuxError(UserError):
    """Commands are metered on Linux alone."""

    def __init__(self) -> None:
        super().__init__(
            f"Commands can be metered on Linux, not on {sys.platform}. In Python, use ayni.footprint.measure."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOutcome:
    """What became of a command: its exit code (128 + n when signal n ended it) and what it drew.

    `ended_by_signal` is n, None when it ended by itself.
    `footprint` is None when no receipt could be made; `problems` says why. `num_left_running` processes
    outlived the command and are not measured further.
    """

    exit_code: int
    ended_by_signal: int | None
    folder: Path
    footprint: Footprint | None
    problems: tuple[str, ...]
    num_left_running: int


def run_command(command: Sequence[str], request: Request, *, may_make_cgroup: bool = True) -> CommandOutcome:
    """Run `command` to its end and meter it. To be called from the main thread of a process with no other.

    Raises:
        CommandNotStartedError: it cannot be started; nothing is left behind.
        KeyboardInterrupt, SystemExit: Ctrl-C, or a signal that ends, came before it was started.
        OnlyOnLinuxError: another system.
        UserError: the zone, a grid file or the home cannot be used; the command was not started.
    """
    if sys.platform != "linux":
        raise OnlyOnLinuxError
    program = find_program(command[0])
    adopt_orphans()
    with blocked_signals() as blocked, _own_cgroup(may_make_cgroup) as cgroup:
        clock = ChildrenCpuClock() if cgroup is None else cgroup.clock()
        recording = Recording(replace(request, program=Path(command[0]).name), cpu_clock=clock)
        try:
            _give_up_if_told_to()
            process_id = _start(program, list(command), blocked, cgroup)
        except BaseException:
            recording.discard()
            raise
        code = wait_for(process_id, look=recording.look_for_gpu)
        exit_code = code if code >= 0 else 128 - code
        num_left = len(_alive(cgroup) - {process_id})
        recorded = recording.finish(
            _status_of(exit_code),
            exit_code=exit_code,
            cpu_time="process tree" if cgroup is None else "cgroup",
            num_left_running=num_left,
        )
        reap(process_id)
    return CommandOutcome(
        exit_code=exit_code,
        ended_by_signal=-code if code < 0 else None,
        folder=recording.folder,
        footprint=recorded.footprint,
        problems=recorded.problems,
        num_left_running=num_left,
    )


class ChildrenCpuClock:
    """CPU time of all below this process, without this process itself. Fulfils `CpuClock`.

    Children that were dead before it was made are not counted.
    """

    def __init__(self) -> None:
        self._tree: CpuClock = ProcCpuClock()
        self._highest = 0.0

    def node_busy_seconds(self) -> float:
        """User, nice, system, irq and softirq of all processors."""
        return self._tree.node_busy_seconds()

    def job_busy_seconds(self) -> float:
        """The tree minus our own time, which the kernel tells in ticks as well."""
        own = os.times()
        seconds = self._tree.job_busy_seconds() - (own.user + own.system)
        self._highest = max(self._highest, seconds)
        return self._highest


def find_program(name: str) -> str:
    """The file that a shell would run for this name.

    Raises:
        CommandNotStartedError: there is none, or it may not be run.
    """
    found = shutil.which(name)
    if found is not None:
        return found
    places = [Path(name)] if "/" in name else [Path(folder, name) for folder in os.get_exec_path()]
    if any(place.exists() for place in places):
        raise CommandNotStartedError(name, "is there and may not be run as a program", NOT_EXECUTABLE)
    raise CommandNotStartedError(name, "command not found", NOT_FOUND)


def _give_up_if_told_to() -> None:
    match came_too_early():
        case None:
            return
        case signal.SIGINT:
            raise KeyboardInterrupt
        case number:
            raise SystemExit(128 + number)


@contextlib.contextmanager
def _own_cgroup(may_make: bool) -> Iterator[JobCgroup | None]:
    cgroup = make_job_cgroup() if may_make else None
    try:
        yield cgroup
    finally:
        if cgroup is not None:
            cgroup.remove()


def _start(program: str, command: list[str], blocked: set[int], cgroup: JobCgroup | None) -> int:
    entered = contextlib.nullcontext() if cgroup is None else cgroup.entered()
    try:
        with entered:
            try:
                return spawn(program, command, blocked=blocked)
            except OSError as error:
                if error.errno != errno.ENOEXEC:
                    raise
                # A script without its first line: shells run it, and so do we.
                return spawn("/bin/sh", ["sh", program, *command[1:]], blocked=blocked)
    except OSError as error:
        is_gone = error.errno == errno.ENOENT
        reason = "its interpreter is not there" if is_gone else str(error.strerror or error)
        code = NOT_FOUND if is_gone else NOT_EXECUTABLE
        raise CommandNotStartedError(command[0], reason, code) from error


def _alive(cgroup: JobCgroup | None) -> set[int]:
    """The processes of the command that live, as far as they are known."""
    found = ProcCpuClock().process_ids() if cgroup is None else cgroup.process_ids()
    return {process_id for process_id in found - {os.getpid()} if not _is_dead(process_id)}


def _is_dead(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state == b"Z"


def _status_of(exit_code: int) -> str:
    if exit_code == 0:
        return "finished"
    return "interrupted" if exit_code in _INTERRUPTIONS else "failed"
