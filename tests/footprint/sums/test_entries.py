import copy
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.footprint.counters.meters import Trust
from ayni.footprint.impacts.embodied import declared_device
from ayni.footprint.impacts.sci import FunctionalUnit
from ayni.footprint.receipts.receipt import (
    DamagedReceiptError,
    ReceiptSubject,
    read_receipt,
    receipt_of_step,
    write_receipt,
)
from ayni.footprint.receipts.site_conditions import SiteConditions
from ayni.footprint.sums.amounts import Amount
from ayni.footprint.sums.entries import EarlierReceiptError, entry_of_receipt, without_nested
from ayni.signing import load_or_create_key

RECEIPT: dict[str, Any] = json.loads((Path(__file__).parent.parent / "golden" / "receipt_2.json").read_text())
PATH = Path("receipts/0002-train.json")


def changed(**values: Any) -> dict[str, Any]:
    return {**copy.deepcopy(RECEIPT), **values}


def test_an_entry_has_the_figures_of_its_receipt_with_their_intervals() -> None:
    entry = entry_of_receipt(RECEIPT, PATH)

    assert (entry.run, entry.step, entry.member, entry.node) == (
        "20260301-120000-000-digits",
        "train",
        "lab-a",
        "node-1",
    )
    assert entry.energy == Amount(value=3_600_000_000_000, low=1_800_000_000_000, high=7_200_000_000_000)
    assert entry.facility_microjoules == 4_320_000_000_000
    assert entry.carbon == Amount(value=480.0, low=240.0, high=960.0)
    assert entry.embodied == Amount(value=45.0, low=22.5, high=90.0)
    assert entry.on_site_litres == Amount(value=1.8, low=0.9, high=3.6)
    assert (entry.electricity_microcredits, entry.machine_microcredits) == (360_000, 40_000)
    assert entry.unit == FunctionalUnit(name="1k images", count=2500.0)
    assert entry.month == "2026-03"


def test_what_is_written_as_a_receipt_can_be_read_as_an_entry(tmp_path: Path) -> None:
    meter = {
        **{"kind": "meter", "meter": 1, "cores": 4, "reserved_cores": 2, "notes": [], "unknown": []},
        "processor": Trust(
            tier="W3", low_factor=0.5, high_factor=2.0, method="model of CPU time", scope="processor"
        ).to_json(),
        "device": None,
    }
    share = {"cpu_seconds": 9.0, "dynamic_microjoules": 5, "idle_microjoules": 2, "device_microjoules": 0}
    window = {
        **{"kind": "window", "window": 1, "meter": 1, "step": "run", "attempt": 1, "seconds": 3600.0},
        **{"started_at": "2026-03-01T12:00:00+00:00", "ended_at": "2026-03-01T13:00:00+00:00"},
        **{"busy_cpu_seconds": 10.0, "node_microjoules": 12, "other_microjoules": 4},
        **{"unreserved_idle_microjoules": 1, "jobs": {"r1": share}},
    }
    body = receipt_of_step(
        [meter, window],
        "run",
        subject=ReceiptSubject(run="r1", job="nightly", member="me", site="own", node="vm"),
        conditions=SiteConditions(zone="DE", machine=declared_device("server", kilograms_co2e=1752.0)),
        functional_unit=FunctionalUnit(name="1k images", count=2500.0),
    )
    path = write_receipt(tmp_path, body, load_or_create_key(tmp_path / "key.pem"))

    entry = entry_of_receipt(read_receipt(path), path)

    assert entry.energy == Amount(value=7, low=4, high=14)
    assert (entry.basis, entry.zone) == ("average, location-based, life-cycle", "DE")
    assert entry.embodied is not None and entry.embodied.value == pytest.approx(25.0)
    assert entry.unit == FunctionalUnit(name="1k images", count=2500.0)
    assert entry.node_account is not None and sum(entry.node_account.values()) == 24


def test_times_are_in_utc_so_that_a_month_means_the_same_everywhere() -> None:
    entry = entry_of_receipt(changed(started_at="2026-04-01T01:30:00+02:00"), PATH)

    assert entry.started_at == datetime(2026, 3, 31, 23, 30, tzinfo=UTC)
    assert entry.month == "2026-03"


def test_what_a_receipt_does_not_know_is_none_and_never_zero() -> None:
    carbon = {**RECEIPT["carbon"], "grams_co2e": None, "low_grams_co2e": None, "high_grams_co2e": None}
    water = {**RECEIPT["water"], "on_site_litres": None, "off_site_litres": None, "total_litres": None}

    entry = entry_of_receipt(
        changed(
            energy_microjoules=None,
            energy_low_microjoules=None,
            energy_high_microjoules=None,
            facility_energy_microjoules=None,
            tier="W5",
            carbon=carbon,
            water=water,
            cost={**RECEIPT["cost"], "electricity_microcredits": None},
            functional_unit=None,
            node_account={**RECEIPT["node_account"], "node_microjoules": None},
        ),
        PATH,
    )

    unknown = (entry.energy, entry.facility_microjoules, entry.carbon, entry.on_site_litres)
    assert unknown == (None, None, None, None)
    assert (entry.electricity_microcredits, entry.unit, entry.node_account) == (None, None, None)


def test_a_receipt_of_an_earlier_version_is_refused_by_name() -> None:
    with pytest.raises(EarlierReceiptError, match=r"0002-train.json has the schema 'ayni/receipt/1'"):
        entry_of_receipt(changed(schema="ayni/receipt/1"), PATH)


NOT_IN_ENTRIES = {"schema", "attempts", "windows", "previous_hash", "meter_notes", "signature"}


@pytest.mark.parametrize("key", sorted(set(RECEIPT) - NOT_IN_ENTRIES))
def test_a_receipt_whose_fields_lost_their_form_is_an_error_and_no_crash(key: str) -> None:
    damaged = changed()
    del damaged[key]

    with pytest.raises(DamagedReceiptError):
        entry_of_receipt(damaged, PATH)


@pytest.mark.parametrize(
    "wrong",
    [
        {"energy_microjoules": 3.6e12},
        {"energy_microjoules": True},
        {"energy_low_microjoules": 7_300_000_000_000},
        {"started_at": "2026-03-01T12:00:00"},
        {"started_at": "yesterday"},
        {"within": "r1"},
        {"functional_unit": {"name": "bananas", "count": 3}},
        {"carbon": []},
    ],
)
def test_values_that_no_receipt_has_are_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(DamagedReceiptError):
        entry_of_receipt(changed(**wrong), PATH)


def test_a_measurement_inside_another_is_left_out_only_while_the_outer_one_is_there() -> None:
    outer = replace(entry_of_receipt(RECEIPT, PATH), run="outer")
    inner = replace(outer, run="inner", within=("outer",))

    assert without_nested([outer, inner]) == ([outer], [inner])
    assert without_nested([inner]) == ([inner], [])


def test_what_of_a_measurement_no_outer_meter_saw_is_added_up() -> None:
    outer = replace(entry_of_receipt(RECEIPT, PATH), run="outer")
    inner = replace(outer, run="inner", within=("gone", "outer"), within_microjoules=2_700_000_000_000)

    (_, rest), nested = without_nested([outer, inner])

    assert nested == []
    assert rest.energy == Amount(value=900_000_000_000, low=450_000_000_000, high=1_800_000_000_000)
    assert (rest.facility_microjoules, rest.machine_microcredits) == (1_080_000_000_000, 10_000)
    assert rest.carbon == Amount(value=120.0, low=60.0, high=240.0)


@given(st.integers(1, 10**16), st.integers(0, 10**16), st.integers(0, 10**16), st.data())
def test_the_rest_of_any_energy_is_exact_and_stays_inside_its_interval(
    energy: int, below: int, above: int, data: st.DataObject
) -> None:
    whole = Amount(value=energy, low=max(0, energy - below), high=energy + above)
    shared = data.draw(st.integers(0, energy))
    outer = replace(entry_of_receipt(RECEIPT, PATH), run="outer")
    inner = replace(outer, run="inner", within=("outer",), within_microjoules=shared, energy=whole)

    counted, nested = without_nested([outer, inner])

    rest = sum(entry.energy.value for entry in counted[1:] if entry.energy is not None)
    assert rest == energy - shared
    assert len(nested) == (shared == energy)


def test_of_unknown_energy_within_another_run_nothing_is_added_up() -> None:
    outer = replace(entry_of_receipt(RECEIPT, PATH), run="outer")
    inner = replace(outer, run="inner", within=("outer",), energy=None)

    assert without_nested([outer, inner]) == ([outer], [inner])


def test_all_runs_around_a_receipt_are_read() -> None:
    within = {"run": "inner", "runs": ["inner", "outer"], "energy_microjoules": 5}

    entry = entry_of_receipt(changed(within=within), PATH)

    assert (entry.within, entry.within_microjoules) == (("inner", "outer"), 5)
    assert entry_of_receipt(changed(within={"run": "outer"}), PATH).within == ("outer",)
