"""Machines of clouds come with date and source, and what cannot be sold is named."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from ayni.database import Database
from ayni.market.cloud_catalogues import MissingPriceError
from ayni.market.cloud_offers import CloudTerms
from ayni.market.offers import OverlappingOffersError
from ayni.market.pool_store import PoolStore
from ayni.workflows.offer_cloud import CloudRequest, cloud_terms, offer_cloud
from ayni.workflows.offer_machines import PoolOptionError

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CLOUD = CloudRequest(
    cloud="gcp",
    terms=CloudTerms(credits_per_dollar=0.9),
    seconds=86_400,
    accelerator="A100",
    region="europe-west4",
)


@pytest.fixture
def store(tmp_path: Path) -> PoolStore:
    return PoolStore(Database(tmp_path / "state.db"))


def test_a_trial_shows_a_clouds_machines_and_adds_nothing(store: PoolStore) -> None:
    found = offer_cloud(store, CLOUD, now=NOW, is_trial=True)

    assert len(found.offers) > 3
    assert store.offers() == []
    entry = found.to_json(now=NOW)["added"][0]
    assert entry["offer"]["dated"] == "2026-07-01"
    assert entry["offer"]["source"] == "cloud:gcp"


def test_a_clouds_machines_are_added_and_by_spot_they_are_others(store: PoolStore) -> None:
    offer_cloud(store, CLOUD, now=NOW, is_trial=False)
    offer_cloud(store, replace(CLOUD, purchase="spot"), now=NOW, is_trial=False)

    assert len(store.offers()) > 6
    with pytest.raises(OverlappingOffersError):
        offer_cloud(store, CLOUD, now=NOW, is_trial=False)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        (
            {"accelerator": "H900"},
            PoolOptionError,
            "no machine of Google Cloud fits. It has the accelerators A100",
        ),
        ({"region": "mars-1"}, PoolOptionError, "the regions africa-south1"),
        (
            {"cloud": "azure", "accelerator": "V100", "region": None},
            PoolOptionError,
            "too old to buy by.*--stale",
        ),
        ({"cloud": "alibaba", "accelerator": None, "region": None}, MissingPriceError, "never invented"),
        ({"cloud": "aws", "region": None, "purchase": "spot"}, MissingPriceError, "for spot capacity"),
        ({"dated": date(2026, 11, 1)}, PoolOptionError, "--dated: it is the date of your own prices"),
        ({"prices": Path("mine.csv")}, PoolOptionError, "--dated: say since when"),
        ({"accelerator": None, "instance_type": "e2-standard-4"}, PoolOptionError, "--throughput any=RATIO"),
    ],
)
def test_what_a_cloud_cannot_sell_is_refused_with_what_to_do(
    store: PoolStore, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        offer_cloud(store, replace(CLOUD, **changes), now=NOW, is_trial=False)

    assert store.offers() == []


def test_the_operators_own_prices_are_sold(store: PoolStore, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("region,instance_type,usd_per_hour\ncn-beijing,ecs.gn6v-c8g1.2xlarge,2.5\n")
    request = replace(
        CLOUD, cloud="alibaba", accelerator=None, region=None, prices=path, dated=date(2026, 11, 1)
    )

    (stored,) = offer_cloud(store, request, now=NOW, is_trial=False).offers

    assert stored.offer.zone == "CN"
    assert stored.offer.dated == date(2026, 11, 1)
    assert stored.offer.machine_class.accelerator == "V100"


def test_a_reliability_that_is_said_holds_for_both_purchases() -> None:
    said: dict[str, Any] = {
        "credits_per_dollar": 0.9,
        "setup_seconds": 60.0,
        "lease_seconds": 3600.0,
        "throughput": {},
        "sells_stale": False,
    }

    assumed, known = cloud_terms(**said, reliability=None), cloud_terms(**said, reliability=0.95)

    assert (assumed.reliability, assumed.spot_reliability) == (0.999, 0.9)
    assert (known.reliability, known.spot_reliability) == (0.95, 0.95)
    with pytest.raises(PoolOptionError, match="no exchange rate"):
        cloud_terms(**{**said, "credits_per_dollar": -1.0}, reliability=None)
