"""The price lists of clouds that come with Ayni, and those that an operator brings, with date and source.

A catalogue says since when its prices hold and where they are from, because a price is only worth its date.
One that is stale - marked so, or older than `MAX_AGE_DAYS` - says it wherever it is shown, and sells nothing
unless it is asked to. One without prices (Alibaba Cloud: machine types alone) sells nothing at all until the
operator brings prices; there is no default, no average and no price of another cloud in their place.

Not covered: asking a cloud for today's prices. Who can do that writes the answer into a price file.

Source: catalogues/NOTICE.md.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ayni.errors import UserError
from ayni.market.cloud_prices import (
    CloudMachine,
    CloudPrice,
    PriceFileError,
    Purchase,
    parse_prices,
    read_price_file,
)

MAX_AGE_DAYS = 400
"""Policy: clouds change their prices about once a year; beyond that a list is history."""


class UnknownCloudError(UserError):
    """There is no catalogue of a cloud of this name."""

    def __init__(self, cloud: str) -> None:
        self.cloud = cloud
        super().__init__(f"No catalogue of {cloud!r} is known. There are: {', '.join(shipped_clouds())}.")


class MissingPriceError(UserError):
    """Machines are wanted of which no price is known."""

    def __init__(self, catalogue: "Catalogue", *, purchase: Purchase) -> None:
        self.cloud = catalogue.cloud
        self.purchase = purchase
        kind = "" if not catalogue.prices else f" for {purchase} capacity"
        super().__init__(
            f"Of {catalogue.title} {len(catalogue.machines)} machine types are known and no prices{kind} "
            f"({catalogue.source}). A price is never invented: take yours from the cloud's console or API, "
            "write a file with the columns region, instance_type and usd_per_hour (and usd_per_hour_spot), "
            "and name it with `--prices FILE --dated YYYY-MM-DD`."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Machine types and prices of one cloud.

    Attributes:
        cloud: short name, such as "gcp"; title is what people call it.
        dated: since when the prices hold; None for a list without prices.
        is_marked_stale: known to be out of date whatever the calendar says.
        pue: facility over machine energy, as the cloud reports it on average.
        watts_per_core: of a busy core, without accelerators.
    """

    cloud: str
    title: str
    dated: date | None
    is_marked_stale: bool
    source: str
    licence: str
    pue: float
    watts_per_core: float
    machines: Mapping[str, CloudMachine]
    prices: tuple[CloudPrice, ...]

    def is_stale(self, *, today: date) -> bool:
        """Whether the prices are too old to buy by."""
        age = 0 if self.dated is None else (today - self.dated).days
        return self.is_marked_stale or age > MAX_AGE_DAYS

    def priced(
        self,
        *,
        purchase: Purchase = "on-demand",
        accelerator: str | None = None,
        region: str | None = None,
        instance_type: str | None = None,
    ) -> tuple[CloudPrice, ...]:
        """The prices that fit; None fits everything, and names are compared without regard to case.

        Raises:
            MissingPriceError: there is none of this purchase at all, whatever else is wanted.
        """
        of_purchase = [price for price in self.prices if price.purchase == purchase]
        if not of_purchase:
            raise MissingPriceError(self, purchase=purchase)
        return tuple(
            price
            for price in of_purchase
            if _is(accelerator, price.machine.accelerator)
            and _is(region, price.region)
            and _is(instance_type, price.machine.instance_type)
        )


def shipped_clouds() -> tuple[str, ...]:
    """The clouds of which a catalogue comes with Ayni."""
    return tuple(_clouds())


@cache
def shipped_catalogue(cloud: str) -> Catalogue:
    """The catalogue of a cloud that comes with Ayni; see `shipped_clouds`.

    Raises:
        UnknownCloudError: there is none of this name.
    """
    facts = _clouds().get(cloud)
    if facts is None:
        raise UnknownCloudError(cloud)
    found = parse_prices(_text(facts["file"]), name=facts["file"])
    return Catalogue(
        cloud=cloud,
        title=facts["title"],
        dated=None if facts["dated"] is None else date.fromisoformat(facts["dated"]),
        is_marked_stale=facts["is_stale"],
        source=facts["source"],
        licence=facts["licence"],
        pue=facts["pue"],
        watts_per_core=facts["watts_per_core"],
        machines=found.machines,
        prices=found.prices,
    )


def operator_catalogue(cloud: str, path: Path, *, dated: date, today: date) -> Catalogue:
    """The catalogue of a cloud with the operator's own prices instead of the shipped ones.

    Raises:
        UnknownCloudError: no machine types of the cloud are known.
        PriceFileError: the file cannot be used, or is dated in the future.
    """
    shipped = shipped_catalogue(cloud)
    if dated > today:
        reason = f"is dated {dated}, which is after today, {today}."
        raise PriceFileError(name=path.name, line=None, reason=reason)
    found = read_price_file(path, known=shipped.machines)
    return replace(
        shipped,
        dated=dated,
        is_marked_stale=False,
        source=f"the operator's file {path.name}",
        licence="the operator's",
        machines=found.machines,
        prices=found.prices,
    )


def zone_of_region(cloud: str, region: str) -> str | None:
    """The grid zone that a region draws from, by our own assumption; None where nothing is assumed."""
    return _zones().get((cloud, region))


def _is(wanted: str | None, found: str | None) -> bool:
    return wanted is None or (found is not None and wanted.casefold() == found.casefold())


def _text(name: str) -> str:
    return files("ayni.market").joinpath("catalogues", name).read_text(encoding="utf-8")


@cache
def _clouds() -> dict[str, dict[str, Any]]:
    clouds: dict[str, dict[str, Any]] = json.loads(_text("clouds.json"))
    return clouds


@cache
def _zones() -> dict[tuple[str, str], str]:
    import csv
    import io

    rows = csv.DictReader(io.StringIO(_text("regions.csv")))
    return {(row["cloud"], row["region"]): row["zone"] for row in rows}
