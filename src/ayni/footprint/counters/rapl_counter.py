"""The energy counters of Intel and AMD processors, read from Linux' powercap tree (RAPL).

Counted are packages and memory (dram). A package holds its core and uncore zones, so these are not
added; it does not hold dram, so that is. Left out, because it would count something twice:

    mirrored zones    the same zone by register (intel-rapl) and by memory (intel-rapl-mmio)
    mirrored dies     package-0-die-0 and package-0-die-1 of processors (Threadripper, early EPYC) whose
                      dies all show the counter of the socket: told by their equal values
    psys              the platform, which holds packages; read instead of them when asked for, because
                      what it holds differs between makers

The counters wrap. One wrap between two reads is undone exactly; when more time passed than the
processor needs for a whole turn at full power, several may have happened: the reading says so, and
nobody guesses.

Not covered: the rest of the machine, per-core counters. Without a dram zone (AMD, most desktops) memory is
not in the scope, and the scope says so.

Source: Linux kernel, Documentation/power/powercap/powercap.rst. Mirrored dies: CodeCarbon, issue 1274.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ayni.footprint.counters.meters import CounterReading, MeterUnavailableError, Trust
from ayni.footprint.counters.power_model import GENERIC_WATTS_PER_THREAD, IDLE_SHARE

POWERCAP = Path("/sys/class/powercap")
# More than one package of today draws; only used when the zone does not name its own limit.
_HIGHEST_WATTS = 1000.0
# Two reads of one register lie at most some milliseconds apart. Two dies of their own would agree so
# closely once in ten thousand machines.
_MIRRORED_WITHIN_MICROJOULES = 2_000_000
_ZONE_PATTERNS = ("*rapl*:*", "*rapl*/*rapl*:*", "*rapl*/*rapl*:*/*rapl*:*", "*rapl*:*/*rapl*:*")


@dataclass(slots=True)
class _Zone:
    path: Path
    name: str
    parent_name: str
    range_microjoules: int
    limit_watts: float | None
    last_microjoules: int = 0
    is_lost: bool = False

    @property
    def highest_watts(self) -> float:
        """What the zone can draw for as long as a turn takes."""
        return self.limit_watts or _HIGHEST_WATTS


class RaplCounter:
    """Packages and memory of all sockets, as one counter. Fulfils `EnergyCounter`.

    `reads_psys` takes the platform's zone instead. `idle_watts` is what they draw when nothing runs; None
    takes the pooled idle share of the packages' limits.

    Raises:
        MeterUnavailableError: no such zones, or no permission to read them.
    """

    def __init__(
        self,
        *,
        powercap: Path = POWERCAP,
        reads_psys: bool = False,
        idle_watts: float | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._zones = _choose_zones(powercap, reads_psys=reads_psys)
        self._now = now
        self._lock = threading.Lock()
        self._total_microjoules = 0
        self._num_gaps = 0
        for zone in self._zones:
            zone.last_microjoules = _read_counter(zone.path)
        self._last_read = now()
        self.idle_watts = _idle_watts(self._zones) if idle_watts is None else idle_watts
        self.trust = _trust_of(self._zones)

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
            zone.is_lost = True
            return
        full_turn_seconds = zone.range_microjoules / 1e6 / zone.highest_watts
        # After a failed read nobody knows which window the energy belongs to.
        if zone.is_lost or elapsed_seconds >= full_turn_seconds:
            self._num_gaps += 1
        else:
            self._total_microjoules += (raw - zone.last_microjoules) % zone.range_microjoules
        zone.last_microjoules, zone.is_lost = raw, False


def _choose_zones(powercap: Path, *, reads_psys: bool) -> list[_Zone]:
    """The zones to add up, each part of the machine once."""
    zones: dict[str, _Zone] = {}
    for path in _zone_folders(powercap):
        name = (path / "name").read_text().strip()
        parent_name = _name_of_parent(path, powercap)
        # Parents are told by name: the numbers of the two trees need not agree where one has psys.
        key = name if name.startswith("package") else f"{name} of {parent_name}"
        if key not in zones and (name.startswith("package") or name in ("dram", "psys")):
            zones[key] = _read_zone(path, name, parent_name)
    platform = [zone for zone in zones.values() if zone.name == "psys"]
    components = [zone for zone in zones.values() if zone.name != "psys"]
    if reads_psys and platform:
        return platform
    if reads_psys or not any(zone.name.startswith("package") for zone in components):
        wanted = "psys zone" if reads_psys else "package"
        raise MeterUnavailableError(
            f"No RAPL {wanted} under {powercap}: this machine offers no such counters."
        )
    return _without_mirrored_dies(components)


def _zone_folders(powercap: Path) -> list[Path]:
    """Every zone once, however deep the tree is shown; by register before by memory."""
    folders: dict[str, Path] = {}
    for pattern in _ZONE_PATTERNS:
        for path in powercap.glob(pattern):
            if (path / "name").is_file() and (path / "energy_uj").exists():
                folders.setdefault(path.name, path)
    return [folders[name] for name in sorted(folders, key=lambda name: ("mmio" in name, name))]


def _name_of_parent(path: Path, powercap: Path) -> str:
    """The name of the zone that holds this one: package-1 for intel-rapl:1:0; its own folder at the top."""
    parent, _, _ = path.name.rpartition(":")
    for candidate in (powercap / parent, path.parent, path.parent / parent):
        if ":" in parent and candidate.name == parent and (candidate / "name").is_file():
            return (candidate / "name").read_text().strip()
    return path.name


def _without_mirrored_dies(zones: list[_Zone]) -> list[_Zone]:
    """Keep one die of a socket whose dies all show the same counter, and the memory of that die alone."""
    kept: dict[tuple[str, str], list[_Zone]] = {}
    for zone in zones:
        owner = zone.name if zone.name.startswith("package") else zone.parent_name
        socket, is_die, _ = owner.partition("-die-")
        same_kind = kept.setdefault((socket, zone.name.partition("-die-")[0]), [])
        if not (is_die and any(_shows_the_same(zone, other) for other in same_kind)):
            same_kind.append(zone)
    return [zone for group in kept.values() for zone in group]


def _shows_the_same(zone: _Zone, other: _Zone) -> bool:
    difference = (_read_counter(zone.path) - _read_counter(other.path)) % zone.range_microjoules
    distance = min(difference, zone.range_microjoules - difference)
    return distance <= _MIRRORED_WITHIN_MICROJOULES


def _read_zone(path: Path, name: str, parent_name: str) -> _Zone:
    # A limit of zero means "none set". Short bursts may double the long-term limit, but not for a turn.
    limit_watts = next((watts for watts in _limits(path) if 0 < watts < _HIGHEST_WATTS), None)
    return _Zone(
        path=path,
        name=name,
        parent_name=parent_name,
        range_microjoules=int((path / "max_energy_range_uj").read_text()),
        limit_watts=limit_watts,
    )


def _limits(path: Path) -> Iterable[float]:
    """The zone's long-term limit and its design power, as far as it names them."""
    for name in ("constraint_0_power_limit_uw", "constraint_0_max_power_uw"):
        try:
            yield int((path / name).read_text()) / 1e6
        except (OSError, ValueError):
            continue


def _idle_watts(zones: list[_Zone]) -> float:
    """The pooled idle share of what the packages may draw; memory idles inside it."""
    packages = [zone for zone in zones if zone.name != "dram"]
    limits = [zone.limit_watts for zone in packages if zone.limit_watts is not None]
    if len(limits) == len(packages):
        return IDLE_SHARE * sum(limits)
    # AMD names no limit, and some boards set one of kilowatts: then all energy would pass for idle.
    return IDLE_SHARE * GENERIC_WATTS_PER_THREAD * (os.cpu_count() or 1)


def _trust_of(zones: list[_Zone]) -> Trust:
    names = {re.sub(r"-.*", "", zone.name) for zone in zones}
    if "psys" in names:
        method, scope = "RAPL energy counter of the platform (psys)", "platform as its maker defines it"
    elif "dram" in names:
        method, scope = "RAPL energy counters of packages and memory", "processor and memory"
    else:
        method, scope = "RAPL energy counters of packages", "processor (no counter of memory)"
    return Trust(tier="W1", low_factor=0.91, high_factor=1.10, method=method, scope=scope)


def _read_counter(path: Path) -> int:
    file = path / "energy_uj"
    try:
        return int(file.read_text())
    except PermissionError as error:
        raise MeterUnavailableError(
            f"{file} is there but not readable for this user. An administrator can allow it until the next "
            f"boot: chmod a+r {file}. For good: a file in /etc/tmpfiles.d with the line "
            f"'z {POWERCAP}/*/energy_uj 0444 root root'"
        ) from error
    except (OSError, ValueError) as error:
        raise MeterUnavailableError(f"{file} cannot be read: {error}") from error
