"""What meters of one node tell each other: how much of it each one's job reserves, and from when to when.

Each meter gives its job the idle power of the cores that the job reserves. Eight ranks of a job that each
reserve the whole machine would make eight machines of it. So every meter enters its reservation where the
others see it, and looks at theirs whenever it closes a window; `reservation_shares` says who has what.

Not covered: meters of other users and of other machines.
"""

import threading
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ayni.errors import AyniError


class ReservationsUnavailableError(AyniError):
    """Meters of this node cannot tell each other what their jobs reserve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What one meter's job keeps of its node, used or not, in [entered_seconds, left_seconds).

    `holder` names the meter, once on a node. `lineage` are the processes that the job descends from, its
    own first, each named once since the machine was started. Seconds are those of the monotonic clock,
    which all processes of a machine share; `left_seconds` is None as long as the meter runs.
    """

    holder: str
    job: str
    cores: int
    has_devices: bool = False
    lineage: tuple[str, ...]
    entered_seconds: float
    left_seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "lineage": list(self.lineage)}

    @classmethod
    def from_json(cls, data: Any) -> "Reservation":
        """The value that `to_json` wrote.

        Raises:
            ValueError: it is none.
        """
        try:
            found = cls(**{**data, "lineage": tuple(map(str, data["lineage"]))})
            is_sound = found.lineage and found.cores >= 0 and found.entered_seconds >= 0
            is_over = found.left_seconds is not None and found.left_seconds < found.entered_seconds
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a reservation: {error}") from error
        if not is_sound or is_over:
            raise ValueError(f"not a reservation: {data}")
        return found


class Reservations(Protocol):
    """Where the meters of one node tell each other what their jobs reserve."""

    def enter(self, *, job: str, cores: int, has_devices: bool, now_seconds: float) -> Reservation:
        """Make a reservation known, before the first window.

        Raises:
            ReservationsUnavailableError: nobody could see it.
        """
        ...

    def look(
        self, own: Reservation, *, since_seconds: float, until_seconds: float
    ) -> tuple[Reservation, ...]:
        """All other reservations that there were at any time in [since, until)."""
        ...

    def leave(self, own: Reservation, *, now_seconds: float) -> None:
        """Give the reservation up. Further calls do nothing."""
        ...


class ReservationsInMemory:
    """The reservations of a pretended node. Fulfils `Reservations`, for tests and simulation.

    `lineage` is that of the next meter that enters.
    """

    def __init__(self) -> None:
        self.lineage: tuple[str, ...] = ("process",)
        self._all: dict[str, Reservation] = {}
        self._lock = threading.Lock()

    def enter(self, *, job: str, cores: int, has_devices: bool, now_seconds: float) -> Reservation:
        """Keep it."""
        with self._lock:
            made = Reservation(
                holder=f"{len(self._all):06d}",
                job=job,
                cores=cores,
                has_devices=has_devices,
                lineage=self.lineage,
                entered_seconds=now_seconds,
            )
            self._all[made.holder] = made
            return made

    def look(
        self, own: Reservation, *, since_seconds: float, until_seconds: float
    ) -> tuple[Reservation, ...]:
        """Those that overlap."""
        with self._lock:
            return tuple(
                each
                for each in self._all.values()
                if each.holder != own.holder and was_there(each, since_seconds, until_seconds)
            )

    def leave(self, own: Reservation, *, now_seconds: float) -> None:
        """Note when."""
        with self._lock:
            if self._all[own.holder].left_seconds is None:
                self._all[own.holder] = replace(own, left_seconds=now_seconds)


def was_there(reservation: Reservation, since_seconds: float, until_seconds: float) -> bool:
    """Whether a reservation overlaps [since, until)."""
    left = reservation.left_seconds
    return reservation.entered_seconds < until_seconds and (left is None or left > since_seconds)


class Presence:
    """One meter among those of its node: enters, looks and leaves, and says when it could not.

    `reservations` is None for a meter that has the node to itself. `note` is why others cannot be seen.
    """

    def __init__(self, reservations: Reservations | None, *, job: str, cores: int) -> None:
        self._reservations = reservations
        self._job = job
        self._cores = cores
        self.own: Reservation | None = None
        self.note: str | None = None

    def enter(self, *, has_devices: bool, now_seconds: float) -> None:
        """Enter, again if need be: a meter that takes up or gives up the GPUs is another reservation."""
        if self._reservations is None or (self.own is not None and self.own.has_devices == has_devices):
            return
        self.leave(now_seconds=now_seconds)
        try:
            self.own = self._reservations.enter(
                job=self._job, cores=self._cores, has_devices=has_devices, now_seconds=now_seconds
            )
        except ReservationsUnavailableError as error:
            self.note = str(error)

    def others(self, *, since_seconds: float, until_seconds: float) -> tuple[Reservation, ...]:
        """Who else was there in [since, until)."""
        if self._reservations is None or self.own is None:
            return ()
        return self._reservations.look(self.own, since_seconds=since_seconds, until_seconds=until_seconds)

    def leave(self, *, now_seconds: float) -> None:
        """Leave; further calls do nothing."""
        if self._reservations is not None and self.own is not None:
            self._reservations.leave(self.own, now_seconds=now_seconds)
        self.own = None
