import json
from dataclasses import replace
from pathlib import Path

import pytest

from ayni.footprint.exports.options import ExportOptions, NothingToExportError, UnitError, parse_unit
from ayni.footprint.exports.sci_report import sci_report
from ayni.footprint.grid.basis import BasisMismatchError
from ayni.footprint.impacts.sci import FunctionalUnit
from ayni.footprint.sums.amounts import Amount
from ayni.footprint.sums.entries import THIRD_PARTY, entry_of_receipt

GOLDEN = Path(__file__).parent.parent / "golden" / "receipt_2.json"
ENTRY = entry_of_receipt(json.loads(GOLDEN.read_text()), GOLDEN)


def test_the_score_is_operational_and_embodied_carbon_over_the_units() -> None:
    report = sci_report([ENTRY])

    # (480 + 45) g over 2.5 thousand images.
    assert report["score"]["sci_grams_co2e_per_unit"]["value"] == pytest.approx(210.0)
    assert report["score"]["functional_unit"] == "1k images"
    assert report["terms"]["R"] == {"functional_unit": "1k images", "count": 2500.0, "units": 2.5}
    assert report["reason"] is None


def test_energy_times_intensity_is_the_operational_carbon() -> None:
    terms = sci_report([ENTRY])["terms"]

    assert terms["E"] == {"facility_kwh": pytest.approx(1.2), "it_kwh": pytest.approx(1.0), "pue": [1.2]}
    assert terms["I"]["grams_co2e_per_kwh"] == pytest.approx(400.0)
    assert terms["E"]["facility_kwh"] * terms["I"]["grams_co2e_per_kwh"] == pytest.approx(480.0)


def test_the_example_of_the_standard() -> None:
    # 1000 kg over four years, one hour reserved: 28.5 g.
    hour = replace(
        ENTRY, carbon=Amount(value=0.0, low=0.0, high=0.0), embodied=Amount(value=28.5, low=28.5, high=28.5)
    )

    report = sci_report([hour], ExportOptions(unit=FunctionalUnit(name="run", count=1)))

    assert report["score"]["sci_grams_co2e_per_unit"] == {"value": 28.5, "low": 28.5, "high": 28.5}


def test_the_scores_of_the_components_add_up_to_the_score() -> None:
    report = sci_report([ENTRY, replace(ENTRY, step="compress", unit=None)])

    parts = [component["sci_grams_co2e_per_unit"] for component in report["components"]]
    assert sum(parts) == pytest.approx(report["score"]["sci_grams_co2e_per_unit"]["value"])
    assert [component["quantification"] for component in report["components"]] == ["calculation"] * 2
    assert report["terms"]["M"]["devices"][0]["reserved_hours"] == 4.0


def test_a_counter_is_a_measurement_and_a_model_a_calculation() -> None:
    counted = replace(ENTRY, tier="W1", meter="RAPL")

    assert sci_report([counted])["components"][0]["quantification"] == "measurement"


@pytest.mark.parametrize("field", ["carbon", "embodied"])
def test_an_unknown_part_makes_the_score_unknown_and_is_named(field: str) -> None:
    report = sci_report([ENTRY, replace(ENTRY, step="explain", **{field: None})])

    assert report["score"]["sci_grams_co2e_per_unit"] is None
    assert report["reason"].startswith("Unknown: ")
    assert "1 of 2 steps" in report["reason"]


def test_bases_are_not_mixed_in_a_score() -> None:
    with pytest.raises(BasisMismatchError):
        sci_report([ENTRY, replace(ENTRY, basis="average, location-based, direct")])


def test_without_a_declared_unit_a_run_is_the_unit() -> None:
    first, second = replace(ENTRY, unit=None), replace(ENTRY, run="another", unit=None)

    assert sci_report([first, second])["terms"]["R"] == {
        "functional_unit": "run",
        "count": 2,
        "units": 2.0,
    }


def test_counts_of_one_unit_add_up_and_two_units_are_refused() -> None:
    again = replace(ENTRY, step="epoch-2")
    tokens = replace(ENTRY, unit=FunctionalUnit(name="1k tokens", count=10))

    assert sci_report([ENTRY, again])["terms"]["R"]["count"] == 5000.0
    with pytest.raises(UnitError, match="1k images and by 1k tokens"):
        sci_report([ENTRY, tokens])


def test_a_measurement_inside_another_counts_once() -> None:
    inner = replace(ENTRY, run="inner", within=(ENTRY.run,), unit=None)

    assert len(sci_report([ENTRY, inner])["components"]) == 1


def test_what_another_tool_measured_is_not_scored() -> None:
    with pytest.raises(NothingToExportError):
        sci_report([replace(ENTRY, origin=THIRD_PARTY)])


def test_a_report_is_json() -> None:
    assert json.loads(json.dumps(sci_report([ENTRY]), allow_nan=False))["standard"].startswith(
        "ISO/IEC 21031"
    )


@pytest.mark.parametrize("text", ["1k images", "1k images=", "1k images=0", "images=3", "=3", "epoch=many"])
def test_a_unit_is_a_name_and_a_count(text: str) -> None:
    assert parse_unit("1k requests = 4000") == FunctionalUnit(name="1k requests", count=4000)
    with pytest.raises(UnitError, match="1k images=2500"):
        parse_unit(text)
