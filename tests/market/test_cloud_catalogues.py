"""The shipped catalogues say date, source and licence, and those without prices sell nothing."""

import csv
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path

import pytest

from ayni.market.cloud_catalogues import (
    MAX_AGE_DAYS,
    MissingPriceError,
    UnknownCloudError,
    operator_catalogue,
    shipped_catalogue,
    shipped_clouds,
    zone_of_region,
)
from ayni.market.cloud_prices import PriceFileError

TODAY = date(2026, 11, 22)
SHARED = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "prices"


def test_the_shipped_catalogues_are_dated_and_name_source_and_licence() -> None:
    found = {cloud: shipped_catalogue(cloud) for cloud in shipped_clouds()}

    assert {cloud: len(each.prices) for cloud, each in found.items()} == {
        "gcp": 1154,
        "aws": 214,
        "azure": 781,
        "alibaba": 0,
    }
    assert {cloud for cloud, each in found.items() if each.is_stale(today=TODAY)} == {"azure"}
    notice = files("ayni.market").joinpath("catalogues", "NOTICE.md").read_text(encoding="utf-8")
    for each in found.values():
        assert each.source and each.licence
        assert (each.dated is None) == (not each.prices)
    for name in (entry.name for entry in files("ayni.market").joinpath("catalogues").iterdir()):
        assert name == "NOTICE.md" or f"`{name}`" in notice


def test_prices_of_an_age_are_stale() -> None:
    catalogue = shipped_catalogue("aws")
    assert catalogue.dated is not None

    assert not catalogue.is_stale(today=catalogue.dated + timedelta(days=MAX_AGE_DAYS))
    assert catalogue.is_stale(today=catalogue.dated + timedelta(days=MAX_AGE_DAYS + 1))


def test_a_known_price_is_the_one_of_the_source() -> None:
    (price,) = shipped_catalogue("gcp").priced(instance_type="a3-highgpu-8g", region="us-central1")

    assert price.microdollars_per_hour == pytest.approx(88.49e6, rel=1e-3)
    assert (price.machine.accelerator, price.machine.num_accelerators) == ("H100", 8)


def test_machines_are_chosen_by_accelerator_without_regard_to_case() -> None:
    prices = shipped_catalogue("gcp").priced(accelerator="l4", region="europe-west4", purchase="spot")

    assert {price.machine.accelerator for price in prices} == {"L4"}
    assert {price.purchase for price in prices} == {"spot"}


@pytest.mark.parametrize(
    ("cloud", "purchase"), [("alibaba", "on-demand"), ("alibaba", "spot"), ("aws", "spot")]
)
def test_a_missing_price_is_refused_and_never_invented(cloud: str, purchase: str) -> None:
    with pytest.raises(MissingPriceError, match="never invented") as caught:
        shipped_catalogue(cloud).priced(purchase=purchase)  # type: ignore[arg-type]

    assert caught.value.exit_code == 2
    assert "--prices FILE" in str(caught.value)


def test_the_operators_prices_make_alibabas_machine_types_a_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("region,instance_type,usd_per_hour\ncn-beijing,ecs.gn5-c4g1.xlarge,1.23\n")

    catalogue = operator_catalogue("alibaba", path, dated=date(2026, 11, 1), today=TODAY)

    (price,) = catalogue.priced()
    assert (price.microdollars_per_hour, price.machine.num_cores) == (1_230_000, 4)
    assert catalogue.dated == date(2026, 11, 1)
    assert "mine.csv" in catalogue.source
    assert not catalogue.is_stale(today=TODAY)


def test_prices_from_the_future_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("region,instance_type,usd_per_hour\nus-east-1,p3.2xlarge,3.06\n")

    with pytest.raises(PriceFileError, match="after today"):
        operator_catalogue("aws", path, dated=TODAY + timedelta(days=1), today=TODAY)


def test_an_unknown_cloud_is_named_with_those_that_are_known() -> None:
    with pytest.raises(UnknownCloudError, match="gcp, aws, azure, alibaba"):
        shipped_catalogue("nimbus")


def test_every_region_with_a_price_has_a_grid_zone() -> None:
    regions = {
        (cloud, price.region) for cloud in shipped_clouds() for price in shipped_catalogue(cloud).prices
    }

    assert [region for region in regions if zone_of_region(*region) is None] == []
    assert zone_of_region("gcp", "moon-base1") is None


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not here")
@pytest.mark.parametrize(
    ("shipped", "original"),
    [
        ("gcp_prices_2026-07.csv", "gcp_prices_2026-07.csv"),
        ("aws_gpu_prices_2026-01.csv", "aws_gpu_prices_2026-01.csv"),
        ("azure_prices_about_2020.csv", "azure_prices_libcloud.csv"),
        ("alibaba_gpu_specs.csv", "alibaba_gpu_specs_noprice.csv"),
    ],
)
def test_the_shipped_lists_are_those_of_the_sources(shipped: str, original: str) -> None:
    ours = files("ayni.market").joinpath("catalogues", shipped).read_text(encoding="utf-8")

    assert list(csv.reader(ours.splitlines())) == list(
        csv.reader((SHARED / original).read_text(encoding="utf-8").splitlines())
    )
