import pytest

from ayni.footprint.grid.carbon import (
    CarbonIntensity,
    UnknownZoneError,
    carbon_intensity,
    country_code,
    country_intensity,
)


@pytest.mark.parametrize("zone", ["DE", "DEU", "de", " deu "])
def test_two_and_three_letter_codes_name_the_same_grid(zone: str) -> None:
    intensity = carbon_intensity(zone)

    assert intensity.zone == "DE"
    assert intensity.grams_co2e_per_kwh == 380.95
    assert intensity.year == 2023
    assert "life-cycle" in intensity.basis


def test_a_state_has_its_own_value_and_its_own_basis() -> None:
    intensity = carbon_intensity("US-CA")

    assert intensity.grams_co2e_per_kwh == pytest.approx(394.769 * 0.45359237, abs=1e-3)
    assert "direct" in intensity.basis


def test_the_interval_encloses_the_value_and_is_wide_for_an_annual_mean() -> None:
    intensity = carbon_intensity("FR")

    assert intensity.low == pytest.approx(0.52 * 56.039, abs=1e-3)
    assert intensity.high == pytest.approx(2.25 * 56.039, abs=1e-3)


def test_no_zone_is_the_world_with_its_range_and_never_a_country() -> None:
    intensity = carbon_intensity(None)

    assert intensity.zone == "unknown"
    assert intensity.grams_co2e_per_kwh == 480.6
    assert intensity.high / intensity.low > 10
    assert "world" in intensity.basis


@pytest.mark.parametrize(("zone", "nearest"), [("GERMANY", "DE"), ("Frnace", "FR"), ("Californa", "US-CA")])
def test_an_unknown_zone_is_refused_and_the_nearest_named(zone: str, nearest: str) -> None:
    with pytest.raises(UnknownZoneError, match=nearest) as caught:
        carbon_intensity(zone)

    assert nearest in caught.value.nearest
    assert caught.value.exit_code == 2


def test_what_people_write_for_the_united_kingdom_is_understood() -> None:
    assert carbon_intensity("UK") == carbon_intensity("GB")


def test_a_value_survives_json() -> None:
    intensity = carbon_intensity("NO")

    assert CarbonIntensity.from_json(intensity.to_json()) == intensity


@pytest.mark.parametrize("zone", ["US-CAL-CISO", "CISO", "ciso"])
def test_a_balancing_area_has_the_mean_of_its_hours(zone: str) -> None:
    intensity = carbon_intensity(zone)

    assert intensity.zone == "US-CAL-CISO"
    assert intensity.grams_co2e_per_kwh == 256.2
    assert intensity.year == 2022
    assert "life-cycle" in intensity.basis


def test_a_part_of_a_country_borrows_its_figure_with_a_wider_interval() -> None:
    country, part = carbon_intensity("CA"), country_intensity("CA-ON")

    assert part is not None
    assert part.grams_co2e_per_kwh == country.grams_co2e_per_kwh
    assert part.low < country.low / 4
    assert part.high > country.high
    # Ontario's life-cycle mean of 2022
    assert part.low < 59 < country.low
    assert "of the country" in part.basis


def test_a_whole_country_is_no_part_of_one() -> None:
    assert country_intensity("DE") is None
    assert country_intensity("XX-YY") is None
    assert [country_code(zone) for zone in ("DE", "deu", "DE-LU", "CISO", "US-CA", "Atlantis")] == [
        "DEU",
        "DEU",
        "DEU",
        "USA",
        "USA",
        None,
    ]


def test_the_full_name_of_an_area_is_a_hint_too() -> None:
    with pytest.raises(UnknownZoneError, match="US-CAL-CISO"):
        carbon_intensity("California ISO ")
