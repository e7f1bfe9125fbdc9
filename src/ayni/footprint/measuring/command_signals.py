"""Waiting for a command as if nobody stood between it and who started it.

    Ctrl-C, a lost terminal     reach the command from the terminal itself, as a member of its group
    kill PID                    the signal is handed on to the command
    Ctrl-Z, fg                  stop and continue both

While a command runs, signals are blocked in this process and taken one by one: so who sent them is known,
and none ends the measurement. What the command leaves behind is adopted (subreaper), so that no CPU time is
lost with the process that started it, and waited for in the end.

Not covered: SIGKILL, which takes this process and leaves the command. A signal that somebody sends to the
whole group of processes by `kill -PGID` reaches the command twice.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

from ayni.settings import environment_of_children

_HANDED_ON = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2),
)
# What Python ignores and programs expect to die of.
_RESET_IN_CHILD = [
    number
    for number in (getattr(signal, name, None) for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ"))
    if number is not None
]
# si_code of a signal that the kernel sent, such as for Ctrl-C; linux/include/uapi/asm-generic/siginfo.h.
_FROM_KERNEL = 0x80
_PR_SET_CHILD_SUBREAPER = 36
_SECONDS_BETWEEN_LOOKS = 2.0


@contextlib.contextmanager
def blocked_signals() -> Iterator[set[int]]:
    """Hold back what would end this process, until the block ends. To be entered before any thread starts.

    Gives the signals that were blocked before, as they are to be in the command.
    """
    watched = {*_HANDED_ON, signal.SIGCHLD}
    child_before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    try:
        yield {int(number) for number in before}
    finally:
        # What came too late for the command is not for us either: its end is what counts.
        while signal.sigpending() & watched:
            signal.sigwait(watched)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGCHLD, child_before)


def came_too_early() -> int | None:
    """A signal that was meant for the command and came before it was there; None if there was none."""
    early = [number for number in _HANDED_ON if number in signal.sigpending()]
    return next((int(number) for number in early if signal.getsignal(number) != signal.SIG_IGN), None)


def adopt_orphans() -> None:
    """Become the parent of what the command's processes leave behind (Linux)."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def spawn(program: str, arguments: list[str], *, blocked: set[int]) -> int:
    """Start a program with this process's files and terminal; its process id.

    Raises:
        OSError: it cannot be started.
    """
    return os.posix_spawn(
        program,
        arguments,
        environment_of_children(),
        setsigmask=blocked,
        setsigdef=_RESET_IN_CHILD,
    )


def wait_for(process_id: int, *, look: Callable[[], None] = lambda: None) -> int:
    """Wait until a command has ended: its exit code, or minus the number of the signal that ended it.

    It is not reaped yet, so that its CPU time can still be read. `look` is called every two seconds.
    """
    watched = {*_HANDED_ON, signal.SIGCHLD}
    dead: set[int] = set()
    has_orphans = False
    next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS
    while (ended := os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOWAIT | os.WNOHANG)) is None:
        info = signal.sigtimedwait(watched, max(0.0, next_look - time.monotonic()))
        if info is not None and info.si_signo == signal.SIGCHLD:
            has_orphans = True
        elif info is not None and info.si_code != _FROM_KERNEL:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, info.si_signo)
        if time.monotonic() >= next_look:
            next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS
            look()
            dead = _reap(dead, process_id) if has_orphans else dead
            has_orphans = bool(dead)
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def die_as_interrupted() -> None:
    """End this process by SIGINT, as the command ended: so that a loop of the shell ends, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


def reap(process_id: int) -> None:
    """Let a command that has ended go."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process_id, 0)


def _reap(seen_before: set[int], command: int) -> set[int]:
    """Reap adopted children that were dead at the last look already; those that are dead now.

    Not at once: the sampler must have read their CPU time, and children of our own, such as the command of
    a wall meter, are waited for by who started them, within moments.
    """
    dead = {process_id for process_id in _dead_children() if process_id != command}
    for process_id in dead & seen_before:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process_id, os.WNOHANG)
    return dead - seen_before


def _dead_children() -> set[int]:
    own, dead = os.getpid(), set()
    for name in os.listdir("/proc") if sys.platform == "linux" else []:  # noqa: PTH208 - names only
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - one for each process
                    fields = file.read().rpartition(b")")[2].split()
                if fields[0] == b"Z" and int(fields[1]) == own:
                    dead.add(int(name))
    return dead
