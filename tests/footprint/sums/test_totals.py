import json
from dataclasses import replace
from pathlib import Path

import pytest

from ayni.footprint.sums.amounts import Amount
from ayni.footprint.sums.entries import THIRD_PARTY, FootprintEntry, entry_of_receipt
from ayni.footprint.sums.totals import total_of

GOLDEN = Path(__file__).parent.parent / "golden" / "receipt_2.json"
ENTRY = entry_of_receipt(json.loads(GOLDEN.read_text()), GOLDEN)
DIRECT = "average, location-based, direct"


def unknown(entry: FootprintEntry) -> FootprintEntry:
    return replace(
        entry, energy=None, facility_microjoules=None, carbon=None, tier="W5", electricity_microcredits=None
    )


def test_two_steps_on_one_meter_add_up_with_their_ends() -> None:
    total = total_of([ENTRY, replace(ENTRY, step="compress")])

    assert total.energy.amount == Amount(
        value=7_200_000_000_000, low=3_600_000_000_000, high=14_400_000_000_000
    )
    assert total.facility.amount == Amount(value=8_640_000_000_000)
    assert total.total_microcredits == 800_000
    assert total.microjoules_by_tier == {"W3": 7_200_000_000_000}


def test_two_machines_err_apart_where_they_are_of_different_hardware_and_one_grid_joins_their_carbon() -> (
    None
):
    other = replace(ENTRY, node="node-2", meter="model of CPU time: 65 W design power")

    total = total_of([ENTRY, other])

    assert total.energy.known.high == round(7.2e12 + 2**0.5 * 3.6e12)
    assert total.carbon[ENTRY.basis or ""].known.high == pytest.approx(1920.0)


def test_carbon_of_different_bases_has_separate_sums() -> None:
    total = total_of([ENTRY, replace(ENTRY, basis=DIRECT, carbon=Amount(value=300.0, low=200.0, high=400.0))])

    assert {basis: sums.known.value for basis, sums in total.carbon.items()} == {
        "average, location-based, life-cycle": 480.0,
        DIRECT: 300.0,
    }


def test_one_unknown_step_makes_every_sum_it_enters_unknown_and_the_tier_the_worst() -> None:
    total = total_of([ENTRY, unknown(ENTRY)])

    assert (total.energy.amount, total.facility.amount, total.total_microcredits) == (None, None, None)
    assert total.carbon[ENTRY.basis or ""].num_unknown == 1
    assert total.energy.known.value == 3_600_000_000_000
    assert total.tier == "W5"
    assert total.embodied.amount == Amount(value=90.0, low=45.0, high=180.0)


def test_what_another_tool_wrote_is_never_added_to_receipts() -> None:
    imported = replace(ENTRY, origin=THIRD_PARTY, tier="third-party")

    with pytest.raises(ValueError, match="never added up"):
        total_of([ENTRY, imported])
    assert total_of([imported]).tier == "third-party"


def test_electricity_may_have_been_paid_for() -> None:
    total = total_of([replace(ENTRY, electricity_microcredits=-500_000)])

    assert total.total_microcredits == -460_000
    assert total.to_json()["cost"]["electricity_microcredits"] == -500_000
