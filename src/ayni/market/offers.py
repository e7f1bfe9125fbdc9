"""Offers and limits: what sites offer each other and at what ask, and what a job may cost at most.

An offer is capacity: so many machines of one class at one site in windows of time, at an ask for a machine
and an hour that covers electricity. Offers of a cloud are offers too; they name their source and its date.

Two offers stand for different machines. Those of one site and class that name no machines stand for the
same ones, as do those that name the same, so they must not overlap in time: one machine sold twice is a job
that fails.

Not covered: the owner's own machine when nobody else is asked (`own_machine`), asks by the hour of the day
(give one offer a tariff window), and checking an ask against what its owner pays for power and wear.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any, Self

from ayni.errors import UserError
from ayni.market.machine_classes import MachineClass
from ayni.units import MICROCREDITS_PER_CREDIT

LARGEST_ASK = 10_000 * MICROCREDITS_PER_CREDIT
"""Micro-credits for a machine and an hour above which an ask is taken for a slip. The dearest machine of the
price lists we know (16 H200) is listed at some 200 money units an hour."""
MEMBER_SOURCE = "member"
CLOUD_SOURCE = "cloud:"
_SECONDS_PER_UNIT = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)\s*")

Window = tuple[datetime, datetime]


class InvalidOfferError(UserError, ValueError):
    """An offer that cannot be meant: says which field and why. Also a ValueError, for validators."""

    def __init__(self, *, offer: str, field: str, reason: str) -> None:
        self.offer = offer
        self.field = field
        super().__init__(f"The offer {offer!r} cannot be taken: its {field} {reason}. Nothing was offered.")


class OverlappingOffersError(UserError):
    """One machine is offered twice for the same time."""

    def __init__(self, *, first: str, second: str, site: str, machine_class: str, start: datetime) -> None:
        self.first = first
        self.second = second
        super().__init__(
            f"The offers {first!r} and {second!r} both offer machines of class {machine_class!r} at {site!r} "
            f"from {start.isoformat()} on. Withdraw one, end its window earlier, or name different machines."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """`count` machines of one class at one site in half-open windows of time, at one ask.

    The ask is in micro-credits for one machine and one hour, electricity included. zone is the electricity
    grid (ISO country code or the like), None when unknown. pue is facility energy over the energy of the
    machines. reliability is the share of machine-hours that end as they should. source is "member" or
    "cloud:" with the provider's name; dated is the day of a price list, None for a live ask. machine_ids
    name the machines where a site offers some of a class apart from others.
    """

    id: str
    site: str
    member: str
    machine_class: MachineClass
    count: int
    windows: tuple[Window, ...]
    ask_microcredits_per_machine_hour: int
    zone: str | None = None
    pue: float = 1.0
    reliability: float = 1.0
    source: str = MEMBER_SOURCE
    dated: date | None = None
    machine_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("id", "site", "member"):
            if not getattr(self, name):
                raise InvalidOfferError(offer=self.id, field=name, reason="is empty")
        self._check_count()
        self._check_ask()
        if not (math.isfinite(self.pue) and 1 <= self.pue <= 10):
            self._refuse("pue", f"is {self.pue}; facility over machine energy is at least 1 and below 10")
        if not 0 < self.reliability <= 1:
            self._refuse("reliability", f"is {self.reliability}; a share is above 0 and at most 1")
        if self.source != MEMBER_SOURCE and not self.is_cloud:
            self._refuse("source", f"is {self.source!r}; it must be 'member' or 'cloud:PROVIDER'")
        object.__setattr__(self, "windows", checked_windows(self.windows, offer=self.id))

    @property
    def is_cloud(self) -> bool:
        """Whether a cloud provider offers it, so that it is bought with money outside of the pool."""
        return self.source.startswith(CLOUD_SOURCE) and len(self.source) > len(CLOUD_SOURCE)

    def _check_count(self) -> None:
        if type(self.count) is not int or self.count < 1:
            self._refuse("count", f"is {self.count!r}; it must be a whole number of machines")
        if self.machine_ids and len(set(self.machine_ids)) != self.count:
            self._refuse(
                "machine_ids", f"name {len(set(self.machine_ids))} machines, and {self.count} are offered"
            )

    def _check_ask(self) -> None:
        ask = self.ask_microcredits_per_machine_hour
        if type(ask) is not int:
            self._refuse("ask", f"is {ask!r}; it must be whole micro-credits")
        said = f"is {ask / MICROCREDITS_PER_CREDIT:,.10g} credits for a machine and an hour"
        if ask < 0:
            self._refuse("ask", f"{said}; it must be 0 or more, not negative")
        if ask > LARGEST_ASK:
            most = LARGEST_ASK // MICROCREDITS_PER_CREDIT
            self._refuse("ask", f"{said}, which looks like a slip; the most is {most:,}")

    def _refuse(self, field: str, reason: str) -> None:
        raise InvalidOfferError(offer=self.id, field=field, reason=reason)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; times in UTC."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {
            **values,
            "machine_class": self.machine_class.to_json(),
            "windows": [[start.isoformat(), end.isoformat()] for start, end in self.windows],
            "dated": None if self.dated is None else self.dated.isoformat(),
            "machine_ids": list(self.machine_ids),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The offer that `to_json` wrote."""
        return cls(
            **{
                **data,
                "machine_class": MachineClass.from_json(data["machine_class"]),
                "windows": tuple(
                    (datetime.fromisoformat(start), datetime.fromisoformat(end))
                    for start, end in data["windows"]
                ),
                "dated": None if data["dated"] is None else date.fromisoformat(data["dated"]),
                "machine_ids": tuple(data["machine_ids"]),
            }
        )


def checked_windows(windows: Sequence[Window], *, offer: str) -> tuple[Window, ...]:
    """The windows in UTC and in order.

    Clocks that are set forward or back exist in local times only: a time with its zone becomes UTC, one
    without a zone is refused because it may mean two moments, or none.

    Raises:
        InvalidOfferError: there is no window, one has no zone, ends before it begins, or overlaps another.
    """
    if not windows:
        raise InvalidOfferError(offer=offer, field="windows", reason="are empty")
    for start, end in windows:
        if start.tzinfo is None or end.tzinfo is None:
            reason = f"{start} to {end} have no time zone; write them like 2026-03-01T12:00:00+00:00"
            raise InvalidOfferError(offer=offer, field="windows", reason=reason)
        if end <= start:
            raise InvalidOfferError(offer=offer, field="windows", reason=f"end at {end} and begin at {start}")
    in_order = tuple(sorted((start.astimezone(UTC), end.astimezone(UTC)) for start, end in windows))
    for (_, end), (start, _) in pairwise(in_order):
        if start < end:
            raise InvalidOfferError(offer=offer, field="windows", reason=f"overlap at {start}")
    return in_order


def check_offers(offers: Sequence[Offer]) -> None:
    """Refuse offers that sell one machine twice.

    Raises:
        InvalidOfferError: two offers have one id.
        OverlappingOffersError: two offers of one site and class may mean the same machine at the same time.
    """
    of_machine: dict[tuple[str, str, str], list[tuple[datetime, datetime, str]]] = {}
    seen: set[str] = set()
    for offer in offers:
        if offer.id in seen:
            raise InvalidOfferError(offer=offer.id, field="id", reason="is used by another offer")
        seen.add(offer.id)
        for machine in offer.machine_ids or ("",):
            key = (offer.site, offer.machine_class.name, machine)
            of_machine.setdefault(key, []).extend((start, end, offer.id) for start, end in offer.windows)
    for (site, machine_class, _), spans in of_machine.items():
        for (_, end, first), (start, _, second) in pairwise(sorted(spans)):
            if start < end:
                raise OverlappingOffersError(
                    first=first, second=second, site=site, machine_class=machine_class, start=start
                )


class InvalidDurationError(UserError, ValueError):
    """A text that should be a duration is none. Also a ValueError, for validators."""

    def __init__(self, text: object) -> None:
        self.text = text
        super().__init__(
            f"{text!r} is not a duration. Write a number of seconds above 0 or numbers with the units "
            "s, m, h, d, like 90s, 15m, 2h or 1h30m."
        )


def parse_duration(text: str | float) -> float:
    """Seconds of a duration like `90s`, `15m`, `1h30m`, `1.5h`, `2d`; a bare number is seconds.

    Raises:
        InvalidDurationError: anything else, and durations that are not above zero and finite.
    """
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise InvalidDurationError(text)
    seconds = _seconds_of_text(text) if isinstance(text, str) else float(text)
    if not (math.isfinite(seconds) and seconds > 0):
        raise InvalidDurationError(text)
    return seconds


def _seconds_of_text(text: str) -> float:
    written = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", written):
        return float(written)
    if not re.fullmatch(f"(?:{_PART.pattern})+", written):
        raise InvalidDurationError(text)
    return sum(float(number) * _SECONDS_PER_UNIT[unit] for number, unit in _PART.findall(written))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that a job may cost; None = no limit.

    Energy is that of the machines alone, as receipts state it first; carbon and credits include the
    facility's overhead (PUE). Time is from the first step's start to the last step's end.
    """

    credits: float | None = None
    energy_kwh: float | None = None
    carbon_grams: float | None = None
    deadline_seconds: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"limits.{name} is {value}; it must be a number that is not negative")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The limits that `to_json` wrote."""
        return cls(**data)
