"""Clouds as sellers: a line of a price list becomes an offer like any other, with its date and its source.

    ask        = price * credits a dollar * (1 + set-up time / length of a lease)
    throughput = accelerators * that of one            see `accelerators`
    watts      = accelerators * that of one + cores * that of a core

A cloud has as many machines as anybody will ask for, so its ask is the most that a machine can cost in the
pool: a job goes there only when it is worth that much, and only while no member's machine is cheaper. Set-up
is paid before the work begins (the machine starts, software and data arrive), so it is part of the ask.

What is not known is not sold: a price that is missing or stale, an accelerator without a throughput, part of
one. Each is named with its reason.

Not covered: several accelerators of one machine that wait for each other (they count in full, which is their
best case), discounts for commitment, and taxes. Reliability is what the operator assumes, not a measurement.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from ayni.market.accelerators import Accelerator, accelerator
from ayni.market.cloud_catalogues import Catalogue, zone_of_region
from ayni.market.cloud_prices import CloudMachine, CloudPrice
from ayni.market.machine_classes import ANY_WORK, MachineClass
from ayni.market.offers import CLOUD_SOURCE, Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudTerms:
    """What the operator declares about renting from clouds.

    Attributes:
        credits_per_dollar: an exchange rate is a price too, so there is no default.
        setup_seconds: billed time before the work begins; ten minutes start a machine and install PyTorch.
        lease_seconds: length of a lease over which set-up is shared out.
        num_machines: how many machines of a type can be had; more than anybody asks for.
        reliability, spot_reliability: share of machine-hours that end as they should.
        throughput: reference-hours an hour by kind of work, for machines of which nothing is known.
        sells_stale: whether prices that are out of date may be bought by.
    """

    credits_per_dollar: float
    setup_seconds: float = 600.0
    lease_seconds: float = 4 * 3600.0
    num_machines: int = 10_000
    reliability: float = 0.999
    spot_reliability: float = 0.9
    throughput: Mapping[str, float] | None = None
    sells_stale: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.credits_per_dollar) and self.credits_per_dollar > 0):
            raise ValueError(f"{self.credits_per_dollar} credits for a dollar is no exchange rate")
        if not (self.setup_seconds >= 0 and self.lease_seconds > 0 and self.num_machines >= 1):
            raise ValueError(f"a lease takes time, its set-up not less than none: {self}")

    def ask_microcredits(self, price: CloudPrice) -> int:
        """What a machine costs for an hour, set-up included, rounded up to whole micro-credits."""
        # Exact, because a float's last digit would decide whether a whole number is rounded up.
        microcredits = price.microdollars_per_hour * Fraction(str(self.credits_per_dollar))
        return math.ceil(microcredits * (1 + Fraction(self.setup_seconds) / Fraction(self.lease_seconds)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudOffers:
    """Offers of a cloud, and by name of the machine why others are not among them."""

    offers: tuple[Offer, ...]
    refused: Mapping[str, str]


def cloud_offers(
    catalogue: Catalogue,
    prices: Iterable[CloudPrice],
    *,
    terms: CloudTerms,
    now: datetime,
    until: datetime,
) -> CloudOffers:
    """The prices as offers for [now, until)."""
    offers, refused = [], {}
    for price in prices:
        name = f"{price.machine.instance_type} in {price.region}"
        if reason := _why_not(catalogue, price.machine, terms=terms, now=now):
            refused[name] = reason
        else:
            offers.append(_offer(catalogue, price, terms=terms, now=now, until=until))
    return CloudOffers(offers=tuple(offers), refused=refused)


def _why_not(catalogue: Catalogue, machine: CloudMachine, *, terms: CloudTerms, now: datetime) -> str | None:
    if catalogue.is_stale(today=now.date()) and not terms.sells_stale:
        return f"its price is of {catalogue.dated}, which is too old to buy by"
    if terms.throughput is not None:
        return None
    if machine.accelerator is None:
        return "it has no accelerator, and how much of a V100's work it does is not known"
    if not machine.num_accelerators:
        return f"how many {machine.accelerator} it has is not known"
    if _one(machine) is None:
        return f"how fast a {machine.accelerator} is beside a V100 is not known"
    return None


def _offer(
    catalogue: Catalogue, price: CloudPrice, *, terms: CloudTerms, now: datetime, until: datetime
) -> Offer:
    machine_class = _machine_class(catalogue, price, terms)
    is_spot = price.purchase == "spot"
    return Offer(
        id=f"{catalogue.cloud}-{price.region}-{machine_class.name}",
        site=f"{catalogue.cloud}-{price.region}",
        member=catalogue.cloud,
        machine_class=machine_class,
        count=terms.num_machines,
        windows=((now, until),),
        ask_microcredits_per_machine_hour=terms.ask_microcredits(price),
        zone=zone_of_region(catalogue.cloud, price.region),
        pue=catalogue.pue,
        reliability=terms.spot_reliability if is_spot else terms.reliability,
        source=f"{CLOUD_SOURCE}{catalogue.cloud}",
        dated=catalogue.dated,
    )


def _machine_class(catalogue: Catalogue, price: CloudPrice, terms: CloudTerms) -> MachineClass:
    machine = price.machine
    one, count = _one(machine), machine.num_accelerators or 0
    known = {ANY_WORK: round(count * one.throughput, 3)} if one is not None and count else {}
    # Capacity that may be taken back is not the same class: a job may want to stay away from it.
    spot = "-spot" if price.purchase == "spot" else ""
    return MachineClass(
        name=f"{machine.instance_type}{spot}",
        cores=machine.num_cores,
        memory_bytes=machine.memory_bytes,
        accelerator=named_accelerator(machine.accelerator, count),
        watts=machine.num_cores * catalogue.watts_per_core + (0.0 if one is None else count * one.watts),
        reference_throughput=known if terms.throughput is None else dict(terms.throughput),
    )


def named_accelerator(name: str | None, count: int) -> str | None:
    """Accelerators of a machine as people write them: `V100`, `8x H100`."""
    return f"{count}x {name}" if name is not None and count > 1 else name


def _one(machine: CloudMachine) -> Accelerator | None:
    if machine.accelerator is None:
        return None
    return accelerator(machine.accelerator, memory_bytes=machine.accelerator_memory_bytes)
