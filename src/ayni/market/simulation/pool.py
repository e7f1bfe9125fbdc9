"""A pool to be simulated: sites with their machines, and the hourly carbon and prices of their grids.

    cost of one machine-hour    = wear + watts * PUE * price of the hour
    carbon of one machine-hour  = watts * PUE * carbon intensity of the hour

Both hours are those of the grid, counted from the pool's start. Sums over time are differences of cumulative
sums, so that a job of any length costs one look-up.

Shapes: S sites, H hours from the start, T times.

Not covered: what machines draw while nobody uses them. They are the same machines in every policy; benchmarks
print what a share of idle draw would do to a saving.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ayni.errors import UserError

Floats = NDArray[np.float64]
SECONDS_PER_HOUR = 3600.0


class HoursExhaustedError(UserError):
    """The hourly figures of the grids end before the replay does."""

    def __init__(self, *, num_hours: int, needed_hours: int) -> None:
        self.num_hours = num_hours
        self.needed_hours = needed_hours
        super().__init__(
            f"The hourly carbon and prices cover {num_hours} hours from the pool's start, and the replay "
            f"needs {needed_hours}. Start the pool earlier in the file, give a longer file, or replay fewer "
            "weeks."
        )


class GangTooLargeError(UserError):
    """A job wants more machines at once than any one site has."""

    def __init__(self, *, job: int, member: str, gang: int, largest_site: str, num_machines: int) -> None:
        self.job = job
        self.gang = gang
        self.largest_site = largest_site
        super().__init__(
            f"Job {job} of {member} needs {gang} machines at one site; the largest site it may use, "
            f"{largest_site}, has {num_machines}. Give a site of the pool {gang} machines, or leave the job "
            "out of the trace."
        )


class HourlySums:
    """Integrals of hourly values over any time, for each site.

    Args:
        values_SH: value of each hour, per hour of time.
    """

    def __init__(self, values_SH: Floats) -> None:
        self.values_SH = values_SH
        self._sums_SH = np.concatenate(
            [np.zeros((len(values_SH), 1)), np.cumsum(values_SH, axis=1, dtype=np.float64)], axis=1
        )

    @property
    def num_hours(self) -> int:
        """How many hours are known."""
        return int(self.values_SH.shape[1])

    def between(self, site_T: ArrayLike, start_seconds_T: ArrayLike, end_seconds_T: ArrayLike) -> Floats:
        """Integral over [start, end) in value times hours, for each of T intervals.

        Raises:
            HoursExhaustedError: an interval ends after the last hour.
        """
        site = np.asarray(site_T, dtype=np.int64)
        integral: Floats = self._until(site, end_seconds_T) - self._until(site, start_seconds_T)
        return integral

    def _until(self, site_T: NDArray[np.int64], seconds_T: ArrayLike) -> Floats:
        hours = np.asarray(seconds_T, dtype=np.float64) / SECONDS_PER_HOUR
        latest = float(hours.max(initial=0.0))
        if latest > self.num_hours:
            raise HoursExhaustedError(num_hours=self.num_hours, needed_hours=int(np.ceil(latest)))
        whole = np.minimum(hours.astype(np.int64), self.num_hours - 1)
        until: Floats = self._sums_SH[site_T, whole] + (hours - whole) * self.values_SH[site_T, whole]
        return until


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSite:
    """Machines of one class at one place.

    watts is what a machine draws at work; throughput is its speed over the reference machine's;
    wear_microcredits_per_hour is what a machine-hour costs beside its electricity.
    ask_microcredits_per_hour is what the site asks for a machine-hour, electricity included.
    """

    name: str
    member: str
    zone: str
    machine_class: str
    num_machines: int
    watts: float
    throughput: float
    pue: float
    wear_microcredits_per_hour: int
    ask_microcredits_per_hour: int
    reliability: float = 1.0

    def __post_init__(self) -> None:
        if self.num_machines < 1:
            raise ValueError(f"{self.name} has {self.num_machines} machines; a site has at least one")
        if not (0 < self.throughput < 1e6 and 0 <= self.watts < 1e7):
            raise ValueError(f"{self.name}: machines of {self.watts} W and {self.throughput} times the speed")
        if not (1 <= self.pue < 10 and 0 < self.reliability <= 1):
            raise ValueError(f"{self.name}: a PUE of {self.pue} and a reliability of {self.reliability}")
        if min(self.wear_microcredits_per_hour, self.ask_microcredits_per_hour) < 0:
            raise ValueError(f"{self.name} has a negative price; machines cannot cost less than nothing")

    @property
    def kilowatts(self) -> float:
        """Draw of the facility for one machine at work."""
        return self.watts * self.pue / 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Sites, their grids hour by hour from `start`, and what moving and restarting a job takes.

    grams_per_kwh_SH is location-based and of one basis for all sites. A member's data lie at its first site;
    a job that starts elsewhere moves them there first, while its machines wait.
    """

    start: datetime
    members: tuple[str, ...]
    sites: tuple[PoolSite, ...]
    grams_per_kwh_SH: Floats
    microcredits_per_kwh_SH: Floats
    transfer_microcredits_per_gigabyte: int = 0
    gigabytes_per_second: float = 0.125
    restart_seconds: float = 120.0
    grams: HourlySums = field(init=False)
    """Grams per machine, by site."""
    microcredits: HourlySums = field(init=False)
    """Micro-credits per machine, by site: wear and electricity."""
    home_site_M: NDArray[np.int64] = field(init=False)
    """Where each member's data lie: its first site, -1 for a member without any."""

    def __post_init__(self) -> None:
        shape = (len(self.sites), self.grams_per_kwh_SH.shape[-1])
        if (
            not self.sites
            or self.grams_per_kwh_SH.shape != shape
            or self.microcredits_per_kwh_SH.shape != shape
        ):
            raise ValueError(
                f"{len(self.sites)} sites with carbon of shape {self.grams_per_kwh_SH.shape} and prices of "
                f"{self.microcredits_per_kwh_SH.shape}: both need one row a site"
            )
        _check_names(self.members, self.sites)
        if not (np.isfinite(self.grams_per_kwh_SH).all() and np.isfinite(self.microcredits_per_kwh_SH).all()):
            raise ValueError("an hour has no carbon intensity or no price")
        kilowatts_S1 = np.array([[site.kilowatts] for site in self.sites])
        wear_S1 = np.array([[site.wear_microcredits_per_hour] for site in self.sites], dtype=np.float64)
        object.__setattr__(self, "grams", HourlySums(kilowatts_S1 * self.grams_per_kwh_SH))
        object.__setattr__(
            self, "microcredits", HourlySums(wear_S1 + kilowatts_S1 * self.microcredits_per_kwh_SH)
        )
        homes = [next(iter(self.sites_of(member)), -1) for member in range(len(self.members))]
        object.__setattr__(self, "home_site_M", np.array(homes, dtype=np.int64))

    @property
    def num_machines(self) -> int:
        """Machines of all sites together."""
        return sum(site.num_machines for site in self.sites)

    def sites_of(self, member: int) -> list[int]:
        """Numbers of a member's own sites."""
        return [index for index, site in enumerate(self.sites) if site.member == self.members[member]]


def _check_names(members: Sequence[str], sites: Sequence[PoolSite]) -> None:
    names = [site.name for site in sites]
    if len(set(names)) < len(names) or len(set(members)) < len(members):
        raise ValueError(f"a name stands twice among the members {members} or the sites {names}")
    strangers = sorted({site.member for site in sites} - set(members))
    if strangers:
        raise ValueError(f"sites of {strangers}, who are no members of the pool")
