from datetime import UTC, datetime

import pytest

from ayni.footprint.grid.generation_mix import intensities_of_mix
from ayni.footprint.grid.intensity_series import HOUR

NOON = datetime(2023, 6, 1, 12, tzinfo=UTC)


def hours(*values: float | None) -> dict[datetime, float | None]:
    return {NOON + 24 * HOUR * index: value for index, value in enumerate(values)}


def test_a_mix_weighs_what_its_fuels_weigh() -> None:
    # The published row of Arizona on 2022-01-01 00:00, with its 631.66 g; rooftop solar counted 41 g there
    megawatts = {"wind onshore": 149.0, "gas": 731.0, "coal": 1361.0, "biomass": 31.0}

    (grams,) = intensities_of_mix({fuel: hours(value) for fuel, value in megawatts.items()}).values()

    assert grams is not None
    assert (grams * 2272 + 81 * 41) / 2353 == pytest.approx(631.6617084572886)


def test_a_fuel_that_usually_runs_and_is_blank_makes_a_hole() -> None:
    grams = intensities_of_mix({"coal": hours(50.0, None, 50.0), "hydro": hours(50.0, 50.0, 50.0)})

    assert list(grams.values()) == [422.0, None, 422.0]


def test_a_fuel_that_is_blank_when_it_never_runs_makes_none() -> None:
    night = {NOON + HOUR * (24 * day + 12): None for day in range(3)}
    noon = {NOON + HOUR * 24 * day: 60.0 for day in range(3)}
    gas = dict.fromkeys([*night, *noon], 40.0)

    grams = intensities_of_mix({"solar": {**noon, **night}, "gas": gas})

    assert all(grams[moment] == 490 for moment in night)
    assert all(grams[moment] == pytest.approx((60 * 48 + 40 * 490) / 100) for moment in noon)


def test_an_hour_without_generation_is_a_hole_and_own_use_is_not_negative_carbon() -> None:
    assert list(intensities_of_mix({"gas": hours(0.0)}).values()) == [None]
    assert list(intensities_of_mix({"gas": hours(10.0), "coal": hours(-5.0)}).values()) == [490.0]


def test_a_fuel_without_a_figure_is_not_taken_for_nothing() -> None:
    with pytest.raises(KeyError, match="dilithium"):
        intensities_of_mix({"dilithium": hours(1.0)})
