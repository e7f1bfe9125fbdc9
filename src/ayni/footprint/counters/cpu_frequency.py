"""How fast the processor's clock runs, as a share of the fastest it was seen at.

    share = mean over CPUs of the present frequency / highest such mean seen

At one load a processor draws half or twice as much by its frequency, so a model of CPU time that knows it
errs less (benchmark footprint_estimator). Linux tells it in the cpufreq folders; virtual machines have none.

The highest mean seen, not the maximum that the system names: that one is reached by single cores for
moments, and some drivers name the base frequency. Until a machine was busy once, its share is too high.

Not covered: /proc/cpuinfo, which shows a constant in most virtual machines; macOS.
"""

from pathlib import Path
from typing import Protocol

CPU_FOLDER = Path("/sys/devices/system/cpu")
# One read is about ten microseconds; 32 of 256 CPUs each second, in turns, tell the mean well enough.
_CPUS_PER_READ = 32


class Frequency(Protocol):
    """The present clock of the processor."""

    def megahertz(self) -> float | None:
        """Mean over CPUs; None when it cannot be read now."""
        ...

    def share(self) -> float:
        """The same over the highest seen, 0 to 1; 1 when it cannot be read now."""
        ...


class ScriptedFrequency:
    """A frequency in memory, for tests and simulation. Fulfils `Frequency`."""

    def __init__(self, *, highest_megahertz: float = 3000.0) -> None:
        self.present_megahertz: float | None = highest_megahertz
        self._highest = highest_megahertz

    def megahertz(self) -> float | None:
        """What was set."""
        return self.present_megahertz

    def share(self) -> float:
        """What was set over the highest."""
        return 1.0 if self.present_megahertz is None else min(1.0, self.present_megahertz / self._highest)


class CpufreqFrequency:
    """The frequency from Linux' cpufreq folders. Fulfils `Frequency`.

    `highest_megahertz` is what an earlier run saw, such as a calibration.
    """

    def __init__(self, *, highest_megahertz: float | None = None, folder: Path = CPU_FOLDER) -> None:
        self._files = sorted(folder.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
        self._num_turns = max(1, len(self._files) // _CPUS_PER_READ)
        self._turn = 0
        self._highest = highest_megahertz or 0.0

    @property
    def is_available(self) -> bool:
        """Whether this machine tells its frequency."""
        return self.megahertz() is not None

    def megahertz(self) -> float | None:
        """Mean over the CPUs whose turn it is."""
        self._turn = (self._turn + 1) % self._num_turns
        kilohertz = [value for file in self._files[self._turn :: self._num_turns] if (value := _read(file))]
        return sum(kilohertz) / len(kilohertz) / 1000 if kilohertz else None

    def share(self) -> float:
        """The present mean over the highest seen so far."""
        present = self.megahertz()
        if present is None:
            return 1.0
        self._highest = max(self._highest, present)
        return present / self._highest


def find_frequency(
    *, highest_megahertz: float | None = None, folder: Path = CPU_FOLDER
) -> CpufreqFrequency | None:
    """This machine's frequency; None where it does not tell."""
    frequency = CpufreqFrequency(highest_megahertz=highest_megahertz, folder=folder)
    return frequency if frequency.is_available else None


def _read(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None  # a CPU that was switched off; the others answer for it
