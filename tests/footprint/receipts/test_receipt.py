from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ayni.footprint.grid.basis import Basis
from ayni.footprint.grid.intensity_series import HOUR, GivenSeries, IntensitySeries
from ayni.footprint.grid.tariffs import Tariff
from ayni.footprint.impacts.embodied import accelerator, declared_device
from ayni.footprint.impacts.emissions import HourlyEnergy, facility_microjoules
from ayni.footprint.impacts.sci import FunctionalUnit
from ayni.footprint.receipts.receipt import (
    DamagedReceiptError,
    ReceiptSubject,
    build_receipt,
    last_hash,
    read_receipt,
    write_receipt,
)
from ayni.footprint.receipts.receipt_terms import terms_of_receipt
from ayni.footprint.receipts.site_conditions import SiteConditions
from ayni.footprint.windows.window_file import EnergyTotal
from ayni.signing import FIRST_OF_CHAIN, load_or_create_key, verify_chain

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KWH = 3_600_000_000_000
METER = {
    "kind": "meter",
    "meter": 1,
    "cores": 4,
    "notes": ["/sys/class/powercap is not there"],
    "processor": {"method": "model of CPU time", "scope": "processor and memory"},
    "device": None,
    "unknown": [],
}
TOTAL = EnergyTotal(
    step="train",
    num_attempts=2,
    started_at="2026-03-01T12:00:00+00:00",
    ended_at="2026-03-01T12:10:00+00:00",
    wall_seconds=600.0,
    core_seconds=1200.0,
    cpu_seconds=900.0,
    job_microjoules=KWH,
    low_microjoules=KWH // 2,
    high_microjoules=2 * KWH,
    node_microjoules=4_000_000_000_000,
    other_jobs_microjoules=0,
    other_microjoules=300_000_000_000,
    unreserved_idle_microjoules=100_000_000_000,
    tier="W3",
    meters=(METER,),
    num_windows=600,
    window_ranges=((5, 604),),
    windows_sha256="ab" * 32,
    unmetered_seconds_at_most=1.5,
)
UNKNOWN = replace(TOTAL, job_microjoules=None, low_microjoules=None, high_microjoules=None, tier="W5")
ENERGY = HourlyEnergy(microjoules={NOON: KWH}, low_factor=0.5, high_factor=2.0)
SUBJECT = ReceiptSubject(run="r1", job="digits", member="me", site="own", node="vm")
SITE = SiteConditions(
    zone="DE",
    pue=1.2,
    machine=declared_device("server", kilograms_co2e=1752.0, lifetime_years=4),
    tariff=Tariff(name="flat", flat_microcredits_per_kwh=300_000),
    ask_microcredits_per_core_hour=10_000,
)


def receipt(
    total: EnergyTotal = TOTAL,
    energy: HourlyEnergy | None = ENERGY,
    *,
    site: SiteConditions = SITE,
    unit: FunctionalUnit | None = None,
    previous_hash: str = FIRST_OF_CHAIN,
) -> dict[str, Any]:
    terms = site.terms_for(() if energy is None else energy.microjoules, functional_unit=unit)
    return build_receipt(total, energy, subject=SUBJECT, terms=terms, previous_hash=previous_hash)


def test_one_kilowatt_hour_behind_a_pue_of_1_2_emits_1_2_times_the_grids_grams() -> None:
    body = receipt()

    assert body["energy_microjoules"] == KWH
    assert body["facility_energy_microjoules"] == 4_320_000_000_000
    assert body["carbon"]["grams_co2e"] == pytest.approx(1.2 * 380.95)
    assert (body["carbon"]["zone"], body["carbon"]["declared_zone"]) == ("DE", "DE")
    assert body["carbon"]["worst_link"] == "annual mean"


def test_the_receipt_says_how_it_knows_and_what_refused_to_be_read() -> None:
    body = receipt()

    assert (body["tier"], body["meter"], body["scope"]) == (
        "W3",
        "model of CPU time",
        "processor and memory",
    )
    assert body["meter_notes"] == ["/sys/class/powercap is not there"]
    assert body["windows"] == {
        "first": 5,
        "last": 604,
        "count": 600,
        "ranges": [[5, 604]],
        "sha256": "ab" * 32,
    }
    assert body["unmetered_seconds_at_most"] == 1.5


def test_uneven_power_on_an_uneven_grid_is_weighed_and_priced_hour_by_hour() -> None:
    # Given 0.8 kWh in an hour of 300 g at 0.4, and 0.2 kWh in one of 100 g whose price is below zero
    series = IntensitySeries(
        zone="DE", basis=Basis(), source="a file", first_hour=NOON, grams_co2e_per_kwh=(300.0, 100.0)
    )
    tariff = Tariff(name="day ahead", first_hour=NOON, microcredits_per_kwh=(400_000, -50_000))
    energy = HourlyEnergy(microjoules={NOON: KWH * 8 // 10, NOON + HOUR: KWH * 2 // 10})
    site = replace(SITE, sources=(GivenSeries(series),), tariff=tariff)

    body = receipt(energy=energy, site=site)

    assert body["carbon"]["grams_co2e"] == pytest.approx(312)
    assert body["carbon"]["worst_link"] == "metered hour"
    assert body["cost"]["electricity_microcredits"] == round(1.2 * (0.8 * 400_000 - 0.2 * 50_000))
    assert [price["microcredits_per_kwh"] for price in body["cost"]["prices"]] == [400_000, -50_000]


def test_one_kilowatt_hour_and_a_third_of_a_core_hour_cost_their_tariff_and_their_ask() -> None:
    cost = receipt()["cost"]

    assert (cost["electricity_microcredits"], cost["machine_microcredits"]) == (360_000, 3_333)
    assert cost["total_microcredits"] == 363_333
    assert cost["prices"] == []


def test_half_a_server_for_ten_minutes_embodies_its_share_of_four_years() -> None:
    # Given 50 g an hour for the whole server, of which the job reserved two of four cores
    embodied = receipt()["embodied"]

    assert embodied["grams_co2e"] == pytest.approx(50 / 6 / 2)
    assert (embodied["low_grams_co2e"], embodied["high_grams_co2e"]) == (
        pytest.approx(50 / 12 * 0.7),
        pytest.approx(50 / 12 * 1.4),
    )
    assert embodied["devices"][0]["reserved_share"] == pytest.approx(0.5)


def test_an_accelerator_is_the_jobs_as_a_whole_and_an_unknown_machine_makes_the_sum_unknown() -> None:
    gpu = accelerator("NVIDIA H100", lifetime_years=4)

    both = receipt(site=replace(SITE, accelerators=(gpu,)))["embodied"]
    alone = receipt(site=replace(SITE, machine=None, accelerators=(gpu,)))["embodied"]

    assert both["grams_co2e"] == pytest.approx(50 / 12 + 273_000 / 35_040 / 6)
    assert alone["grams_co2e"] is None


def test_water_on_site_needs_a_declared_wue_and_is_per_kilowatt_hour_of_the_machines() -> None:
    undeclared, declared = receipt()["water"], receipt(site=replace(SITE, wue_litres_per_kwh=1.8))["water"]

    assert undeclared["on_site_litres"] is None
    assert undeclared["total_litres"] is None
    assert declared["on_site_litres"]["value"] == pytest.approx(1.8)
    assert declared["off_site_litres"]["value"] == pytest.approx(1.2 * declared["litres_per_kwh"]["value"])


def test_unknown_energy_makes_facility_carbon_and_cost_unknown_and_none_of_them_zero() -> None:
    body = receipt(UNKNOWN, None)

    assert body["energy_microjoules"] is None
    assert body["facility_energy_microjoules"] is None
    assert body["carbon"]["grams_co2e"] is None
    assert body["carbon"]["declared_zone"] == "DE"
    assert body["water"]["off_site_litres"] is None
    assert body["cost"]["electricity_microcredits"] is None
    assert body["cost"]["total_microcredits"] is None
    assert body["cost"]["machine_microcredits"] == 3_333
    # The machine was made whether or not it could be metered.
    assert body["embodied"]["grams_co2e"] == pytest.approx(50 / 12)


def test_a_measured_zero_emits_zero_grams() -> None:
    zero = replace(TOTAL, job_microjoules=0, low_microjoules=0, high_microjoules=0)

    assert receipt(zero, HourlyEnergy(microjoules={NOON: 0}))["carbon"]["grams_co2e"] == 0.0


def test_a_source_that_does_not_answer_leaves_the_rest_of_the_chain_and_its_reason() -> None:
    class Unplugged:
        def hours(self, zone: str, start: datetime, end: datetime) -> IntensitySeries | None:
            raise OSError("no route to host")

    body = receipt(site=replace(SITE, sources=(Unplugged(),)))

    assert body["carbon"]["grams_co2e"] == pytest.approx(1.2 * 380.95)
    assert body["carbon"]["notes"] == ["no route to host"]


def test_a_receipt_states_its_terms_so_that_it_can_be_computed_again() -> None:
    # Given every term that there is, with a hole in the prices
    prices = Tariff(
        name="day ahead",
        flat_microcredits_per_kwh=250_000,
        first_hour=NOON,
        microcredits_per_kwh=(1, None, -3),
    )
    site = replace(
        SITE,
        pue_factors=(0.9, 1.1),
        wue_litres_per_kwh=0.0,
        tariff=prices,
        accelerators=(accelerator("NVIDIA A100"),),
    )
    energy = HourlyEnergy(
        microjoules={NOON + timedelta(hours=index): KWH // 3 for index in range(3)},
        low_factor=0.5,
        high_factor=2.0,
    )
    body = receipt(energy=energy, site=site, unit=FunctionalUnit(name="1k images", count=2500))

    again = build_receipt(TOTAL, energy, subject=SUBJECT, terms=terms_of_receipt(body))

    assert again == body


def test_a_pue_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 1, not 0\.8"):
        facility_microjoules(1, 0.8)


def test_receipts_are_numbered_signed_and_chained(tmp_path: Path) -> None:
    key = load_or_create_key(tmp_path / "key.pem")
    folder = tmp_path / "receipts"
    paths = [
        write_receipt(folder, receipt(replace(TOTAL, step=step), previous_hash=last_hash(folder)), key)
        for step in ("plan", "train")
    ]

    assert [path.name for path in paths] == ["0001-plan.json", "0002-train.json"]
    verify_chain([read_receipt(path) for path in paths], expected_public_key=key.public_key)


def test_a_receipt_that_does_not_follow_the_last_one_is_refused(tmp_path: Path) -> None:
    key = load_or_create_key(tmp_path / "key.pem")
    write_receipt(tmp_path / "receipts", receipt(), key)

    with pytest.raises(ValueError, match="receipt of train follows"):
        write_receipt(tmp_path / "receipts", receipt(), key)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"hash": 5}'])
def test_a_file_that_is_no_receipt_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "0001-plan.json"
    path.write_text(content)

    with pytest.raises(DamagedReceiptError, match=r"0001-plan\.json") as caught:
        read_receipt(path)

    # A finished run is not worked on again: resuming would not bring the file back.
    assert "backup" in str(caught.value) and "resume" not in str(caught.value)
