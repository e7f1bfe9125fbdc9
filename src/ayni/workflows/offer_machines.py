"""Offer a member's machines to the pool.

    what was asked for -> checked and completed from tables, never by guessing -> offers in the pool

What a member leaves out is taken from the table of accelerators (throughput, power); what stands in no table
must be said.

Not covered: proving that the machines exist, and who may offer for whom.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ayni.errors import UserError
from ayni.footprint.counters.power_model import generic_power_model
from ayni.market.accelerators import accelerator
from ayni.market.cloud_offers import named_accelerator
from ayni.market.cloud_prices import BYTES_PER_GIB
from ayni.market.daily_windows import daily_windows, parse_span, time_zone
from ayni.market.machine_classes import ANY_WORK, MachineClass
from ayni.market.offers import Offer, Window
from ayni.market.pool_store import PoolStore, StoredOffer
from ayni.units import credits_to_microcredits
from ayni.workflows.pool_carbon import checked_zone

LONGEST_OFFER_SECONDS = 5 * 366 * 86_400.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")


class PoolOptionError(UserError):
    """An option of `ayni offers` or `ayni jobs` is not possible, or not together with another."""

    def __init__(self, option: str, reason: str) -> None:
        self.option = option
        super().__init__(f"{option}: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinesRequest:
    """Machines of a member, as the command was told of them.

    machine_class, watts, throughput: None takes what the accelerator says. start None = now. daily is a
    span of the day such as 20:00-06:00 in `zone_of_clock`; None offers the whole time. id None makes one.
    """

    site: str
    member: str
    num_machines: int
    num_cores: int
    memory_gib: float
    ask_credits_per_hour: float
    seconds: float
    accelerator: str | None = None
    num_accelerators: int = 1
    machine_class: str | None = None
    watts: float | None = None
    throughput: Mapping[str, float] = field(default_factory=dict)
    zone: str | None = None
    pue: float = 1.0
    reliability: float = 1.0
    start: datetime | None = None
    daily: str | None = None
    zone_of_clock: str = "UTC"
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """Offers that were added, and by name of the machine why others were not."""

    offers: tuple[StoredOffer, ...]
    refused: Mapping[str, str]

    def to_json(self, *, now: datetime) -> dict[str, Any]:
        """Plain JSON."""
        return {"added": [offer_json(each, now=now) for each in self.offers], "refused": dict(self.refused)}


def offer_machines(store: PoolStore, request: MachinesRequest, *, now: datetime) -> Offered:
    """Offer a member's machines.

    Raises:
        PoolOptionError: something must be said that no table knows, or cannot be meant.
        InvalidOfferError, OverlappingOffersError, UsedPoolIdError, UnknownZoneError: see there.
    """
    offer = member_offer(request, taken=[each.offer.id for each in store.offers()], now=now)
    store.add_offers([offer], now=now)
    return Offered(offers=(StoredOffer(offer=offer, offered_at=now, withdrawn_at=None),), refused={})


def offer_json(stored: StoredOffer, *, now: datetime) -> dict[str, Any]:
    """An offer with its state, as plain JSON."""
    return {
        "id": stored.offer.id,
        "state": stored.state(now=now),
        "offered_at": stored.offered_at.isoformat(),
        "withdrawn_at": None if stored.withdrawn_at is None else stored.withdrawn_at.isoformat(),
        "offer": stored.offer.to_json(),
    }


def member_offer(request: MachinesRequest, *, taken: Sequence[str], now: datetime) -> Offer:
    """The offer that a request describes; `taken` are ids that were used before.

    Raises:
        PoolOptionError, InvalidOfferError, InvalidDailyWindowError, UnknownZoneError: see there.
    """
    for option, name in (("SITE", request.site), ("--member", request.member)):
        if not NAME.fullmatch(name):
            raise PoolOptionError(
                option, f"{name!r} is no name; use letters, digits, and . _ - after the first."
            )
    machine_class = _machine_class(request)
    return Offer(
        id=request.id or unused(f"{request.site}-{machine_class.name}", taken),
        site=request.site,
        member=request.member,
        machine_class=machine_class,
        count=request.num_machines,
        windows=_windows(request, now),
        ask_microcredits_per_machine_hour=_ask(request.ask_credits_per_hour),
        zone=checked_zone(request.zone),
        pue=request.pue,
        reliability=request.reliability,
    )


def unused(name: str, taken: Sequence[str]) -> str:
    """The name, or the name with the first number that nobody has."""
    used = set(taken)
    numbered = (f"{name}-{number}" for number in range(2, len(used) + 3))
    return name if name not in used else next(each for each in numbered if each not in used)


def parse_throughput(texts: Sequence[str]) -> dict[str, float]:
    """Ratios by kind of work from texts such as `vision=1.5`; a number alone holds for any kind.

    Raises:
        PoolOptionError: a text is none, or a kind stands twice.
    """
    found: dict[str, float] = {}
    for text in texts:
        kind, _, number = text.rpartition("=")
        kind = kind.strip() or ANY_WORK
        try:
            ratio = float(number)
        except ValueError:
            ratio = math.nan
        if not (math.isfinite(ratio) and ratio > 0) or kind in found:
            raise PoolOptionError(
                "--throughput",
                f"{text!r} is no ratio above 0 of a kind of its own. Write `any=0.5` or `vision=1.5`.",
            )
        found[kind] = ratio
    return found


def _ask(credits_: float) -> int:
    if not math.isfinite(credits_):
        raise PoolOptionError("--ask", f"{credits_} is no price. Write credits for a machine and an hour.")
    return credits_to_microcredits(credits_)


def checked_seconds(seconds: float) -> float:
    """How long an offer is to stand, in seconds.

    Raises:
        PoolOptionError: longer than anybody plans.
    """
    if seconds > LONGEST_OFFER_SECONDS:
        raise PoolOptionError("--for", f"{seconds / 86_400:,.0f} days are more than five years.")
    return seconds


def _windows(request: MachinesRequest, now: datetime) -> tuple[Window, ...]:
    start, seconds = request.start or now, checked_seconds(request.seconds)
    if start.tzinfo is None:
        raise PoolOptionError(
            "--from",
            f"{start} has no time zone, so it may mean two moments, or none. Write it as in "
            "2026-03-01T20:00+01:00.",
        )
    until = start + timedelta(seconds=seconds)
    if until <= now:
        raise PoolOptionError("--from", f"the offer would end at {until.isoformat()}, which is over.")
    if request.daily is None:
        return ((start, until),)
    begin, end = parse_span(request.daily)
    windows = daily_windows(begin, end, zone=time_zone(request.zone_of_clock), start=start, until=until)
    if not windows:
        raise PoolOptionError("--daily", f"{request.daily} does not come between {start} and {until}.")
    return windows


def _machine_class(request: MachinesRequest) -> MachineClass:
    if request.num_cores < 1 or not (math.isfinite(request.memory_gib) and request.memory_gib > 0):
        raise PoolOptionError(
            "--cores", f"{request.num_cores} cores and {request.memory_gib} GiB are no machine."
        )
    known = None if request.accelerator is None else accelerator(request.accelerator)
    count = request.num_accelerators if request.accelerator is not None else 0
    name = named_accelerator(request.accelerator, count)
    throughput = dict(request.throughput)
    if not throughput and known is None:
        raise PoolOptionError(
            "--throughput",
            f"how much of a V100's work a machine {f'with {name}' if name else 'without accelerator'} does "
            "is not known; say it, for example `--throughput any=0.05`.",
        )
    if not throughput and known is not None:
        throughput = {ANY_WORK: round(count * known.throughput, 3)}
    if request.watts is None and name is not None and known is None:
        raise PoolOptionError("--watts", f"what {name} draws is not known; say it in watts for one machine.")
    memory_bytes = round(request.memory_gib * BYTES_PER_GIB)
    return MachineClass(
        name=request.machine_class or _slug(name or f"{request.num_cores}-cores"),
        cores=request.num_cores,
        memory_bytes=memory_bytes,
        accelerator=name,
        watts=request.watts
        if request.watts is not None
        else _host_watts(request.num_cores, memory_bytes) + (count * known.watts if known else 0.0),
        reference_throughput=throughput,
    )


def _host_watts(num_cores: int, memory_bytes: int) -> float:
    """A busy host without accelerators, by the generic power model."""
    model = generic_power_model(num_cpus=num_cores, memory_bytes=memory_bytes)
    return round(model.idle_watts + model.watts_per_busy_cpu * num_cores, 1)


def _slug(text: str) -> str:
    return _NOT_IN_A_NAME.sub("-", text.lower()).strip("-")
