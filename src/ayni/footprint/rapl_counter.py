"""The energy counters of Intel and AMD processors, read from Linux' powercap tree (RAPL).

Counted are packages and memory (dram). A package holds its core and uncore zones, so these are not
added; it does not hold dram, so that is. The same zone can appear twice, by register (intel-rapl) and
by memory (intel-rapl-mmio): one of them is read.

The counters wrap. One wrap between two reads is undone exactly; when more time passed than the
processor needs for a whole turn at full power, several may have happened: the reading says so, and
nobody guesses.

Not covered: the rest of the machine, psys zones (no agreed meaning), per-core counters.

Source: Linux kernel, Documentation/power/powercap/powercap.rst.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ayni.footprint.meters import CounterReading, MeterUnavailableError, Trust
from ayni.footprint.power_model import IDLE_SHARE

POWERCAP = Path("/sys/class/powercap")
# More than one package of today draws; only used when the zone does not name its own limit.
_HIGHEST_WATTS = 1000.0
_TRUST = Trust(
    tier="W1",
    low_factor=0.91,
    high_factor=1.10,
    method="RAPL energy counters of packages and memory",
    scope="processor and memory",
)


@dataclass(slots=True)
class _Zone:
    path: Path
    name: str
    range_microjoules: int
    highest_watts: float
    last_microjoules: int = 0


class RaplCounter:
    """Packages and memory of all sockets, as one counter. Fulfils `EnergyCounter`.

    Raises:
        MeterUnavailableError: no such zones, or no permission to read them.
    """

    def __init__(self, *, powercap: Path = POWERCAP, now: Callable[[], float] = time.monotonic) -> None:
        self._zones = _find_zones(powercap)
        self._now = now
        self._lock = threading.Lock()
        self._total_microjoules = 0
        self._num_gaps = 0
        for zone in self._zones:
            zone.last_microjoules = _read_counter(zone.path)
        self._last_read = now()

    @property
    def trust(self) -> Trust:
        """W1: counted by the hardware."""
        return _TRUST

    @property
    def idle_watts(self) -> float:
        """The pooled idle share of the packages' long-term power limits; memory idles inside it."""
        return IDLE_SHARE * sum(zone.highest_watts for zone in self._zones if zone.name != "dram")

    def read(self) -> CounterReading:
        """The energy since this counter was made."""
        # Two readers (sampler and measurement) share the last raw values.
        with self._lock:
            now = self._now()
            elapsed, self._last_read = now - self._last_read, now
            for zone in self._zones:
                self._advance(zone, elapsed)
            return CounterReading(microjoules=self._total_microjoules, num_gaps=self._num_gaps)

    def _advance(self, zone: _Zone, elapsed_seconds: float) -> None:
        try:
            raw = _read_counter(zone.path)
        except MeterUnavailableError:
            self._num_gaps += 1
            return
        full_turn_seconds = zone.range_microjoules / 1e6 / zone.highest_watts
        if elapsed_seconds >= full_turn_seconds:
            self._num_gaps += 1
        else:
            self._total_microjoules += (raw - zone.last_microjoules) % zone.range_microjoules
        zone.last_microjoules = raw


def _find_zones(powercap: Path) -> list[_Zone]:
    zones: dict[str, _Zone] = {}
    # Sorted, so that intel-rapl:0 comes before its twin intel-rapl-mmio:0.
    for path in sorted(powercap.glob("*rapl*"), key=lambda path: ("mmio" in path.name, path.name)):
        name_file = path / "name"
        if not name_file.is_file() or not (path / "energy_uj").exists():
            continue
        name = name_file.read_text().strip()
        # amd_energy and Intel both name packages package-N; dram zones belong to the package above them.
        key = name if name.startswith("package") else f"{name} of {_socket_of(path)}"
        if (name.startswith("package") or name == "dram") and key not in zones:
            zones[key] = _read_zone(path, name)
    if not any(name.startswith("package") for name in zones):
        raise MeterUnavailableError(
            f"No RAPL package under {powercap}: this machine offers no such counters."
        )
    return list(zones.values())


def _socket_of(path: Path) -> str:
    """The package's number in a zone's name: 1 in intel-rapl:1:0."""
    parts = path.name.split(":")
    return parts[1] if len(parts) > 1 else parts[0]


def _read_zone(path: Path, name: str) -> _Zone:
    range_microjoules = int((path / "max_energy_range_uj").read_text())
    limit = path / "constraint_0_power_limit_uw"
    try:
        highest_watts = int(limit.read_text()) / 1e6
    except (OSError, ValueError):
        highest_watts = 0.0
    # A limit of zero means "none set". Short bursts may double the long-term limit, but not for a turn.
    return _Zone(
        path=path,
        name=name,
        range_microjoules=range_microjoules,
        highest_watts=highest_watts if highest_watts > 0 else _HIGHEST_WATTS,
    )


def _read_counter(path: Path) -> int:
    file = path / "energy_uj"
    try:
        return int(file.read_text())
    except PermissionError as error:
        raise MeterUnavailableError(
            f"{file} is there but not readable for this user. An administrator can allow it until the next "
            f"boot: chmod a+r {file}"
        ) from error
    except (OSError, ValueError) as error:
        raise MeterUnavailableError(f"{file} cannot be read: {error}") from error
