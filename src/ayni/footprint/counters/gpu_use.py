"""Whether a measurement has to do with GPUs when nobody said so.

A GPU counter that answers is always read. Without one, the processes are looked at: who computes on a GPU has
its device file open, whatever the framework. Then the energy is unknown, and null on the receipt; a GPU that
nobody metered must not look like one that drew nothing.

Not covered: GPUs reached without a device file of one's own (Apple, remote GPUs, Windows), and a process that
opens and closes one between two looks.
"""

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

from ayni.footprint.counters.amd_counter import AmdCounter
from ayni.footprint.counters.meters import MeterUnavailableError
from ayni.footprint.counters.nvml_counter import NvmlCounter

DEVICES = Path("/dev")
# nvidia0 (CUDA), kfd (ROCm), accel/accel0 (NPUs). Not dri/: any desktop opens that.
_DEVICE_FILE = re.compile(r"nvidia\d+|kfd|accel/accel\d+")


def gpus_answer() -> bool:
    """Whether this machine has a GPU whose energy counter can be read."""
    for make in (NvmlCounter, AmdCounter):
        try:
            make()
        except MeterUnavailableError:
            continue
        return True
    return False


def has_gpu_files(devices: Path = DEVICES) -> bool:
    """Whether there is a GPU that processes could open."""
    return any(
        _is_gpu(path, devices)
        for path in [*devices.glob("nvidia*"), *devices.glob("kfd"), *devices.glob("accel/*")]
    )


def hold_gpu(process_ids: Iterable[int], *, devices: Path = DEVICES, proc: Path = Path("/proc")) -> bool:
    """Whether one of these processes has the device file of a GPU open."""
    return any(_holds_gpu(proc / str(process_id) / "fd", devices) for process_id in process_ids)


def _holds_gpu(descriptors: Path, devices: Path) -> bool:
    try:
        for descriptor in descriptors.iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed in between
                if _is_gpu(descriptor.readlink(), devices):
                    return True
    except OSError:
        pass  # it ended, or belongs to somebody else: then nothing can be seen
    return False


def _is_gpu(path: Path, devices: Path) -> bool:
    return path.is_relative_to(devices) and bool(_DEVICE_FILE.fullmatch(str(path.relative_to(devices))))
