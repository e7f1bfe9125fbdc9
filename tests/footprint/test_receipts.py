import math
from dataclasses import replace
from pathlib import Path

import pytest

from ayni.footprint.carbon import carbon_intensity
from ayni.footprint.receipts import (
    Cost,
    DamagedReceiptError,
    ReceiptSubject,
    build_receipt,
    cost_of,
    facility_microjoules,
    grams_of_energy,
    last_hash,
    read_receipt,
    write_receipt,
)
from ayni.footprint.windows import EnergyTotal
from ayni.signing import FIRST_OF_CHAIN, load_or_create_key, verify_chain

METER = {
    "kind": "meter",
    "meter": 1,
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
    job_microjoules=3_600_000_000_000,
    low_microjoules=1_800_000_000_000,
    high_microjoules=7_200_000_000_000,
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
SUBJECT = ReceiptSubject(run="r1", job="digits", member="me", site="own", node="vm")
PRICES = {"pue": 1.2, "tariff_microcredits_per_kwh": 300_000, "ask_microcredits_per_core_hour": 10_000}
COST = cost_of(TOTAL, **PRICES)


def receipt(total: EnergyTotal = TOTAL, cost: Cost = COST, previous_hash: str = FIRST_OF_CHAIN) -> dict:
    return build_receipt(
        total,
        subject=SUBJECT,
        intensity=carbon_intensity("DE"),
        pue=1.2,
        cost=cost,
        previous_hash=previous_hash,
    )


def test_one_kilowatt_hour_behind_a_pue_of_1_2_emits_1_2_times_the_grids_grams() -> None:
    body = receipt()

    assert body["energy_microjoules"] == 3_600_000_000_000
    assert body["facility_energy_microjoules"] == 4_320_000_000_000
    assert body["carbon"]["grams_co2e"] == pytest.approx(1.2 * 380.95)
    assert body["carbon"]["zone"] == "DE"


def test_intervals_of_energy_and_grid_add_in_quadrature() -> None:
    grams, low, high = grams_of_energy(TOTAL, 1.0, carbon_intensity("DE")) or (0, 0, 0)

    assert high / grams == pytest.approx(math.exp(math.hypot(math.log(2), math.log(2.25))), rel=1e-4)
    assert grams / low == pytest.approx(math.exp(math.hypot(math.log(2), math.log(1 / 0.52))), rel=1e-4)


def test_the_receipt_says_how_it_knows_and_that_water_is_unknown() -> None:
    body = receipt()

    assert (body["tier"], body["meter"], body["scope"]) == (
        "W3",
        "model of CPU time",
        "processor and memory",
    )
    assert body["water"] is None
    assert body["windows"] == {
        "first": 5,
        "last": 604,
        "count": 600,
        "ranges": [[5, 604]],
        "sha256": "ab" * 32,
    }
    assert body["unmetered_seconds_at_most"] == 1.5


def test_one_kilowatt_hour_and_a_third_of_a_core_hour_cost_their_tariff_and_their_ask() -> None:
    assert (COST.electricity_microcredits, COST.machine_microcredits) == (360_000, 3_333)
    assert receipt()["cost"]["total_microcredits"] == 363_333


def test_electricity_that_is_unknown_has_no_price_and_machine_time_has_one() -> None:
    cost = cost_of(UNKNOWN, **PRICES)

    assert (cost.electricity_microcredits, cost.machine_microcredits) == (None, 3_333)
    assert cost.total_microcredits is None


def test_unknown_energy_makes_facility_carbon_and_cost_unknown_and_none_of_them_zero() -> None:
    body = receipt(UNKNOWN, replace(COST, electricity_microcredits=None))

    assert body["energy_microjoules"] is None
    assert body["facility_energy_microjoules"] is None
    assert body["carbon"]["grams_co2e"] is None
    assert body["cost"]["total_microcredits"] is None
    assert body["cost"]["machine_microcredits"] == 3_333


def test_a_measured_zero_emits_zero_grams() -> None:
    zero = replace(TOTAL, job_microjoules=0, low_microjoules=0, high_microjoules=0)

    assert receipt(zero)["carbon"]["grams_co2e"] == 0.0


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
