"""Offer machines of a cloud to the pool, by its price list.

Every machine that fits and cannot be sold is named with its reason, so that nobody wonders where it is.

Not covered: renting them; see `ayni.market.provisioner`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

from ayni.market.cloud_catalogues import Catalogue, operator_catalogue, shipped_catalogue
from ayni.market.cloud_offers import CloudTerms, cloud_offers
from ayni.market.cloud_prices import Purchase
from ayni.market.offers import Offer
from ayni.market.pool_store import PoolStore, StoredOffer
from ayni.workflows.offer_machines import Offered, PoolOptionError, checked_seconds, unused

_REMEDY = (
    "`--throughput any=RATIO` says how much of a V100's work such a machine does; `--stale` sells by old "
    "prices; `--prices FILE --dated YYYY-MM-DD` brings your own."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudRequest:
    """Machines of a cloud, as the command was told of them; None among the names takes all."""

    cloud: str
    terms: CloudTerms
    seconds: float
    purchase: Purchase = "on-demand"
    accelerator: str | None = None
    region: str | None = None
    instance_type: str | None = None
    prices: Path | None = None
    dated: date | None = None


def offer_cloud(store: PoolStore, request: CloudRequest, *, now: datetime, is_trial: bool) -> Offered:
    """Offer machines of a cloud; `is_trial` shows what would be offered and adds nothing.

    Raises:
        UnknownCloudError, MissingPriceError, PriceFileError: there is no such price.
        PoolOptionError: nothing fits what was asked for, or no machine that fits can be sold.
        OverlappingOffersError, UsedPoolIdError: some are offered already.
    """
    catalogue = _catalogue(request, now)
    prices = catalogue.priced(
        purchase=request.purchase,
        accelerator=request.accelerator,
        region=request.region,
        instance_type=request.instance_type,
    )
    if not prices:
        raise PoolOptionError("CLOUD", _what_there_is(catalogue, request))
    until = now + timedelta(seconds=checked_seconds(request.seconds))
    made = cloud_offers(catalogue, prices, terms=request.terms, now=now, until=until)
    if not made.offers:
        name, reason = next(iter(made.refused.items()))
        raise PoolOptionError(
            "CLOUD", f"none of {len(prices)} machines can be sold; {name}: {reason}. {_REMEDY}"
        )
    taken = [each.offer.id for each in store.offers()]
    offers = [_renamed(offer, taken) for offer in made.offers]
    if not is_trial:
        store.add_offers(offers, now=now)
    stored = tuple(StoredOffer(offer=offer, offered_at=now, withdrawn_at=None) for offer in offers)
    return Offered(offers=stored, refused=made.refused)


def cloud_terms(
    *,
    credits_per_dollar: float,
    setup_seconds: float,
    lease_seconds: float,
    reliability: float | None,
    throughput: Mapping[str, float],
    sells_stale: bool,
) -> CloudTerms:
    """The operator's terms; without a reliability the assumed ones of on-demand and spot capacity hold.

    Raises:
        PoolOptionError: a number cannot be meant.
    """
    try:
        terms = CloudTerms(
            credits_per_dollar=credits_per_dollar,
            setup_seconds=setup_seconds,
            lease_seconds=lease_seconds,
            throughput=throughput or None,
            sells_stale=sells_stale,
        )
    except ValueError as error:
        raise PoolOptionError("--credits-per-dollar", f"{error}.") from error
    if reliability is None:
        return terms
    return replace(terms, reliability=reliability, spot_reliability=reliability)


def _catalogue(request: CloudRequest, now: datetime) -> Catalogue:
    if request.prices is None:
        if request.dated is not None:
            raise PoolOptionError("--dated", "it is the date of your own prices; name them with --prices.")
        return shipped_catalogue(request.cloud)
    if request.dated is None:
        raise PoolOptionError("--dated", "say since when the prices hold, for example --dated 2026-11-01.")
    return operator_catalogue(request.cloud, request.prices, dated=request.dated, today=now.date())


def _what_there_is(catalogue: Catalogue, request: CloudRequest) -> str:
    prices = catalogue.priced(purchase=request.purchase)
    accelerators = sorted({price.machine.accelerator for price in prices if price.machine.accelerator})
    regions = sorted({price.region for price in prices})
    return (
        f"no machine of {catalogue.title} fits. It has the accelerators {', '.join(accelerators)} and the "
        f"regions {', '.join(regions)}."
    )


def _renamed(offer: Offer, taken: Sequence[str]) -> Offer:
    return replace(offer, id=unused(offer.id, taken))
