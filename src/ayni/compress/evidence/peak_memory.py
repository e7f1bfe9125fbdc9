"""How much memory a variant needs, measured in a process of its own.

Memory that an earlier model used and freed is not given back to the system, and the high-water mark of a
process never falls: two models in one process cannot be told apart.

Not covered: memory of accelerators; memory that several processes share (it counts for each).
"""

import contextlib
import gc
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ayni.compress.evidence.inference_cost import Call, MeasurementFailedError, call

CHILD_SECONDS = 600.0
"""Far beyond what loading and a few calls take; a process that hangs must not stop a search for ever."""
_WHAT = "Measuring peak memory"
_CODE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from ayni.compress.evidence import peak_memory
peak_memory._measure_here(sys.argv[2])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakMemory:
    """Resident memory of a process that does nothing but load one variant and run it.

    baseline_bytes: Python with torch, before loading. loaded_bytes: after loading. peak_bytes: the most
    at any time, mapped files that were read included.
    """

    baseline_bytes: int
    loaded_bytes: int
    peak_bytes: int

    @property
    def added_bytes(self) -> int:
        """What the variant needed on top of the baseline; libraries that it loads are part of it."""
        return max(0, self.peak_bytes - self.baseline_bytes)


def peak_memory(
    load: Callable[[], Call],
    inputs: Sequence[Any],
    *,
    num_threads: int = 1,
    timeout_seconds: float = CHILD_SECONDS,
) -> PeakMemory:
    """Memory of loading a variant and running it once on each of the inputs, in a process of its own.

    Linux gives the high-water mark of the process itself (VmHWM). The system's ru_maxrss, used elsewhere,
    would on Linux also hold the memory of the process that started it.

    Cost: a second or two for Python and torch, then what loading takes.

    Args:
        load: opens the variant; it is sent to the other process, so it has to be importable there: a
            function of a module or a functools.partial of one, such as partial(OnnxRuntime, file).
        inputs: what the runtime is called with, or ModelInputs.
        num_threads: of torch; a runtime with threads of its own is opened for them by `load`.
        timeout_seconds: after which the process is killed.

    Raises:
        MeasurementFailedError: `load` cannot be sent, it or a call raised, the process died or hung.
    """
    with tempfile.TemporaryDirectory(prefix="ayni-memory-") as name:
        folder = Path(name)
        try:
            (folder / "request").write_bytes(pickle.dumps((load, list(inputs), num_threads)))
        except Exception as error:  # pickle raises whatever the object's own methods raise.
            raise MeasurementFailedError(what=_WHAT, reason=f"cannot be sent: {error}") from error
        _run_child(folder, timeout_seconds)
        return PeakMemory(**json.loads((folder / "answer").read_text(encoding="utf-8")))


def _run_child(folder: Path, timeout_seconds: float) -> None:
    # The path of modules is handed over, for the caller may have changed it.
    paths = json.dumps([str(path) for path in sys.path])
    command = [sys.executable, "-c", _CODE, paths, str(folder)]
    try:
        # What the variant's libraries print is nobody's answer; their last error is the reason.
        child = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MeasurementFailedError(what=_WHAT, reason=f"no end after {timeout_seconds:g} s") from error
    if child.returncode != 0:
        raise MeasurementFailedError(what=_WHAT, reason=_death(child.returncode, child.stderr))


def _measure_here(folder: str) -> None:
    """The other process's part of `peak_memory`."""
    load, inputs, num_threads = pickle.loads((Path(folder) / "request").read_bytes())
    torch.set_num_threads(num_threads)
    gc.collect()
    # Importing may have needed more for a moment than it kept; where this is refused, that stays counted.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    baseline = _resident_bytes()
    runtime = load()
    loaded = _resident_bytes()
    for batch in inputs:
        call(runtime, batch)
    peak = max(_peak_bytes(), loaded, _resident_bytes())
    answer = {"baseline_bytes": baseline, "loaded_bytes": loaded, "peak_bytes": peak}
    (Path(folder) / "answer").write_text(json.dumps(answer), encoding="utf-8")


def _resident_bytes() -> int:
    import psutil

    num_bytes: int = psutil.Process().memory_info().rss
    return num_bytes


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _death(code: int, stderr: bytes) -> str:
    if code < 0:
        return f"the process was killed by signal {-code} (9 often means that memory ran out)"
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"the process ended with code {code}"
