import runpy
from pathlib import Path

import pytest

from ayni.footprint.impacts.quantities import Quantity
from ayni.footprint.impacts.water import WaterIntensity, water_intensity, water_of

ROOT = Path(__file__).parents[3]
MIXES = ROOT.parent / "shared" / "data" / "carbon" / "ecologits_electricity_mixes.json"


def test_on_site_water_is_by_it_energy_and_off_site_water_by_facility_energy() -> None:
    intensity = WaterIntensity(litres_per_kwh=Quantity.exact(3.0), zone="somewhere", source="a test")

    water = water_of(
        Quantity.exact(2.0), pue=1.5, wue_litres_per_kwh=Quantity.exact(1.8), intensity=intensity
    )

    assert water.on_site_litres is not None
    assert water.on_site_litres.value == pytest.approx(3.6)
    assert water.off_site_litres is not None
    assert water.off_site_litres.value == pytest.approx(9.0)
    assert water.total_litres is not None
    assert water.total_litres.value == pytest.approx(12.6)


def test_a_site_that_does_not_say_its_water_has_an_unknown_total_and_a_dry_one_has_not() -> None:
    intensity = water_intensity("DE")
    energy = Quantity.exact(1.0)

    unknown = water_of(energy, pue=1.2, wue_litres_per_kwh=None, intensity=intensity)
    dry = water_of(energy, pue=1.2, wue_litres_per_kwh=Quantity.exact(0.0), intensity=intensity)

    assert unknown.on_site_litres is None
    assert unknown.off_site_litres is not None
    assert unknown.total_litres is None
    assert dry.total_litres is not None
    assert dry.total_litres.value == pytest.approx(1.2 * 1.947)


def test_unknown_energy_is_unknown_water() -> None:
    water = water_of(None, pue=1.0, wue_litres_per_kwh=Quantity.exact(1.0), intensity=water_intensity("DE"))

    assert water.to_json() == {
        "on_site_litres": None,
        "off_site_litres": None,
        "total_litres": None,
        "zone": "DEU",
    }


@pytest.mark.parametrize("zone", ["US", "USA", "US-CA", "US-CAL-CISO", "CISO"])
def test_a_part_of_a_country_has_its_countrys_water(zone: str) -> None:
    intensity = water_intensity(zone)

    assert intensity.zone == "USA"
    assert intensity.litres_per_kwh.value == pytest.approx(3.1321)
    # 4.5 and 7.6 litres are what two other sources say.
    assert all(intensity.litres_per_kwh.low < litres < intensity.litres_per_kwh.high for litres in (4.5, 7.6))


@pytest.mark.parametrize("zone", [None, "Atlantis", "AF"])
def test_without_a_figure_it_is_the_worlds_with_its_range(zone: str | None) -> None:
    intensity = water_intensity(zone)

    assert intensity.zone == "world"
    assert intensity.litres_per_kwh == Quantity(value=3.908, low=1.48, high=12.25)


def test_a_pue_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        water_of(Quantity.exact(1.0), pue=0.5, wue_litres_per_kwh=None, intensity=water_intensity(None))


@pytest.mark.skipif(not MIXES.exists(), reason="the source of the table is not here")
def test_the_shipped_table_is_what_its_script_makes() -> None:
    script = runpy.run_path(str(ROOT / "dev" / "make_water_factors.py"))

    assert script["water_file"](MIXES) == script["TARGET"].read_text(encoding="utf-8")
