from typing import Any

import pytest

from ayni.footprint.grid.basis import BasisMismatchError
from ayni.footprint.impacts.quantities import Quantity
from ayni.footprint.measuring.measured_footprint import footprint_of


def receipt(joules: float | None = 28.0, **changes: Any) -> dict[str, Any]:
    microjoules = None if joules is None else round(joules * 1e6)
    grams = None if joules is None else joules * 1e-4
    return {
        "energy_microjoules": microjoules,
        "energy_low_microjoules": microjoules and microjoules // 2,
        "energy_high_microjoules": microjoules and 2 * microjoules,
        "tier": "W3",
        "meter": "model",
        "scope": "processor",
        "unknown_parts": [] if joules is not None else ["gpu"],
        "carbon": {
            "grams_co2e": grams,
            "low_grams_co2e": grams and grams / 4,
            "high_grams_co2e": grams and grams * 4,
            "basis": "average, location-based, life-cycle",
            "zone": "DE",
            "worst_link": "annual mean",
        },
        "embodied": {"grams_co2e": 0.5, "low_grams_co2e": 0.25, "high_grams_co2e": 1.0},
        "water": {"total_litres": None},
        "wall_seconds": 1.5,
        "cpu_seconds": 1.25,
        **changes,
    }


def test_a_footprint_is_said_in_one_line_with_two_digits_for_a_model() -> None:
    assert str(footprint_of([receipt()])) == (
        "28 J (14 to 56, W3), 0.0028 g CO2e (0.00070 to 0.011, annual mean, DE)"
    )


def test_a_counter_of_the_hardware_is_said_with_three_digits() -> None:
    assert str(footprint_of([receipt(28.04, tier="W1")])).startswith("28.0 J (14.0 to 56.1, W1)")


@pytest.mark.parametrize(
    ("joules", "text"),
    [
        (0.0, "0 mJ (0 to 0"),
        (0.0124, "12 mJ (6.2 to 25"),
        (1234.0, "1.2 kJ (0.62 to 2.5"),
        (3.6e6, "3.6 MJ (1.8"),
    ],
)
def test_the_unit_fits_the_value(joules: float, text: str) -> None:
    assert str(footprint_of([receipt(joules)])).startswith(text)


@pytest.mark.parametrize(
    ("joules", "text"),
    [(5e7, "5.0 kg CO2e"), (10.0, "0.0010 g CO2e"), (9.0, "0.90 mg CO2e"), (1e-4, "0.010 ug CO2e")],
)
def test_carbon_is_said_in_grams_as_far_as_one_can_read_them(joules: float, text: str) -> None:
    assert f"), {text} (" in str(footprint_of([receipt(joules)]))


def test_what_is_unknown_is_said_and_never_0() -> None:
    footprint = footprint_of([receipt(), receipt(None, tier="W5")])

    assert footprint.energy_joules is None
    assert str(footprint) == "unknown J (W5, gpu not metered), unknown g CO2e (annual mean, DE)"


def test_the_ends_of_several_receipts_are_added() -> None:
    footprint = footprint_of([receipt(10.0), receipt(20.0, tier="W4")])

    assert footprint.energy_joules == Quantity(value=30.0, low=15.0, high=60.0)
    assert footprint.embodied_grams_co2e == Quantity(value=1.0, low=0.5, high=2.0)
    assert (footprint.tier, footprint.wall_seconds, footprint.water_litres) == ("W4", 3.0, None)


def test_figures_that_count_different_things_are_not_added() -> None:
    other = receipt()
    other["carbon"] = {**other["carbon"], "basis": "average, location-based, direct"}

    with pytest.raises(BasisMismatchError):
        footprint_of([receipt(), other])


def test_a_zone_that_nobody_declared_is_said() -> None:
    unknown = receipt()
    unknown["carbon"] = {**unknown["carbon"], "zone": "unknown", "worst_link": "world mean"}

    assert str(footprint_of([unknown])).endswith("world mean, no zone)")


def test_a_footprint_is_plain_json() -> None:
    data = footprint_of([receipt()]).to_json()

    assert data["energy_joules"] == {"value": 28.0, "low": 14.0, "high": 56.0}
    assert (data["unknown_parts"], data["water_litres"]) == ([], None)


def test_nothing_has_no_footprint() -> None:
    with pytest.raises(ValueError, match="nothing to add"):
        footprint_of([])
