"""What a cloud sells, at which ask, and what it does not sell."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.cloud_catalogues import Catalogue, shipped_catalogue
from ayni.market.cloud_offers import CloudOffers, CloudTerms, cloud_offers, named_accelerator
from ayni.market.cloud_prices import CloudMachine, CloudPrice, Purchase
from ayni.market.offers import check_offers

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TERMS = CloudTerms(credits_per_dollar=0.9)


def sold(
    cloud: str, *, terms: CloudTerms = TERMS, purchase: Purchase = "on-demand", instance: str | None = None
) -> CloudOffers:
    catalogue: Catalogue = shipped_catalogue(cloud)
    prices = catalogue.priced(purchase=purchase, instance_type=instance)
    return cloud_offers(catalogue, prices, terms=terms, now=NOW, until=NOW + timedelta(days=7))


def test_an_offer_of_a_cloud_says_price_date_source_zone_and_power() -> None:
    offers = sold("gcp", instance="a2-highgpu-8g").offers
    (offer,) = (each for each in offers if each.site == "gcp-europe-west4")

    assert (offer.source, offer.dated, offer.is_cloud) == ("cloud:gcp", shipped_catalogue("gcp").dated, True)
    assert (offer.zone, offer.pue, offer.member) == ("NL", 1.1, "gcp")
    assert offer.machine_class.accelerator == "8x A100"
    # Eight boards of 400 W and 96 busy cores; eight times 1555 over 900 GB/s.
    assert offer.machine_class.watts == pytest.approx(8 * 400 + 96 * 4.26)
    assert offer.machine_class.throughput("vision") == pytest.approx(8 * 1555 / 900, rel=1e-3)
    assert offer.windows == ((NOW, NOW + timedelta(days=7)),)


def test_the_ask_is_the_price_with_its_set_up_at_the_rate_of_exchange() -> None:
    machine = CloudMachine(
        instance_type="m",
        num_cores=8,
        memory_bytes=2**30,
        accelerator=None,
        num_accelerators=0,
        accelerator_memory_bytes=None,
    )
    price = CloudPrice(region="r", machine=machine, purchase="spot", microdollars_per_hour=3_000_000)

    without = CloudTerms(credits_per_dollar=0.9, setup_seconds=0)
    half_an_hour_of_two = CloudTerms(credits_per_dollar=0.9, setup_seconds=1800, lease_seconds=7200)

    assert without.ask_microcredits(price) == 2_700_000
    assert half_an_hour_of_two.ask_microcredits(price) == 3_375_000


@given(st.integers(1, 10**9), st.sampled_from([0.7, 0.9, 1.0, 1.1, 7.25]), st.integers(0, 7200))
def test_an_ask_never_lies_below_what_the_cloud_bills(microdollars: int, rate: float, setup: int) -> None:
    machine = shipped_catalogue("aws").prices[0].machine
    price = CloudPrice(region="r", machine=machine, purchase="on-demand", microdollars_per_hour=microdollars)
    terms = CloudTerms(credits_per_dollar=rate, setup_seconds=setup)

    ask = terms.ask_microcredits(price)

    assert microdollars * rate * (1 - 1e-12) <= ask
    assert ask <= math.ceil(microdollars * rate * (1 + setup / terms.lease_seconds) * (1 + 1e-12)) + 1


def test_stale_prices_sell_only_where_they_are_asked_for() -> None:
    catalogue = shipped_catalogue("azure")
    asked = CloudTerms(credits_per_dollar=1.0, sells_stale=True)

    refused = sold("azure")
    allowed = sold("azure", terms=asked)

    assert refused.offers == ()
    assert len(refused.refused) == len({(p.region, p.machine.instance_type) for p in catalogue.prices})
    assert "too old to buy by" in next(iter(refused.refused.values()))
    assert allowed.offers
    assert {offer.dated for offer in allowed.offers} == {catalogue.dated}


def test_machines_of_unknown_throughput_are_named_with_the_reason() -> None:
    refused = sold("gcp").refused

    assert "no accelerator" in refused["e2-standard-4 in us-central1"]
    assert "how many" not in refused["e2-standard-4 in us-central1"]
    assert any(
        "MI25" in reason
        for reason in sold(
            "azure", terms=CloudTerms(credits_per_dollar=1.0, sells_stale=True)
        ).refused.values()
    )


def test_the_operator_may_say_what_a_machine_without_accelerator_does() -> None:
    terms = CloudTerms(credits_per_dollar=1.0, throughput={"tables": 0.2})
    (offer, *_) = sold("gcp", terms=terms, instance="e2-standard-4").offers

    assert offer.machine_class.throughput("tables") == 0.2
    assert offer.machine_class.throughput("vision") is None


def test_spot_machines_are_a_class_of_their_own_and_less_reliable() -> None:
    (offer, *_) = sold("gcp", purchase="spot", instance="g2-standard-4").offers

    assert offer.machine_class.name == "g2-standard-4-spot"
    assert offer.reliability == TERMS.spot_reliability < TERMS.reliability


def test_all_offers_of_all_clouds_can_stand_beside_each_other() -> None:
    terms = CloudTerms(credits_per_dollar=1.0, sells_stale=True)
    offers = [
        offer
        for cloud, purchases in {"gcp": ("on-demand", "spot"), "aws": ("on-demand",)}.items()
        for purchase in purchases
        for offer in sold(cloud, terms=terms, purchase=purchase).offers
    ]

    check_offers(offers)

    assert len(offers) > 500


@pytest.mark.parametrize(
    "values",
    [
        {"credits_per_dollar": 0},
        {"credits_per_dollar": math.nan},
        {"credits_per_dollar": 1, "setup_seconds": -1},
        {"credits_per_dollar": 1, "lease_seconds": 0},
        {"credits_per_dollar": 1, "num_machines": 0},
    ],
)
def test_impossible_terms_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"exchange rate|a lease takes time"):
        CloudTerms(**values)  # type: ignore[arg-type]


def test_accelerators_are_written_as_people_do() -> None:
    assert [named_accelerator("H100", count) for count in (1, 8)] == ["H100", "8x H100"]
    assert named_accelerator(None, 0) is None
