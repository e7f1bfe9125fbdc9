"""The market is handed what hours weigh, on one basis, and nothing where nobody knows."""

from datetime import UTC, datetime

import pytest

from ayni.footprint.grid.carbon import UnknownZoneError, carbon_intensity
from ayni.footprint.grid.climatology import shipped_climatology
from ayni.market.horizon import Horizon, check_carbon
from ayni.workflows.pool_carbon import checked_zone, pool_carbon

HORIZON = Horizon(start=datetime(2026, 4, 22, 12, 17, tzinfo=UTC), slot_seconds=3600, num_slots=24)


def test_a_zone_with_a_climatology_has_its_hours_and_another_its_annual_mean() -> None:
    found = pool_carbon(["US-CAL-CISO", "DE"], horizon=HORIZON)

    check_carbon(found.forecast, horizon=HORIZON)
    california = shipped_climatology("US-CAL-CISO")
    assert california is not None
    # The middle of the first slot is 12:47, and that of the last 11:47 on the next day.
    assert found.forecast["US-CAL-CISO"][0] == california.at(datetime(2026, 4, 22, 12, tzinfo=UTC))
    assert found.forecast["US-CAL-CISO"][-1] == california.at(datetime(2026, 4, 23, 11, tzinfo=UTC))
    assert set(found.forecast["DE"]) == {carbon_intensity("DE").grams_co2e_per_kwh}
    assert found.links == {"US-CAL-CISO": "month-by-hour climatology", "DE": "annual mean"}


def test_a_part_of_a_country_has_the_figure_of_the_country_on_the_same_basis() -> None:
    found = pool_carbon(["DE-LU", "US-WA"], horizon=HORIZON)

    assert found.links == dict.fromkeys(["DE-LU", "US-WA"], "annual mean of the country")
    assert found.forecast["DE-LU"][0] == carbon_intensity("DE").grams_co2e_per_kwh
    # The figures of the states of the USA are direct ones and cannot be compared with the others.
    assert found.forecast["US-WA"][0] == carbon_intensity("US").grams_co2e_per_kwh


def test_a_zone_that_nobody_knows_is_left_out_and_never_the_worlds_mean() -> None:
    assert pool_carbon(["XX", None], horizon=HORIZON).forecast == {}


def test_a_zone_is_checked_before_it_is_stored() -> None:
    assert [checked_zone(zone) for zone in (None, "de-lu", " NO ", "US-CA")] == [None, "DE-LU", "NO", "US-CA"]
    with pytest.raises(UnknownZoneError):
        checked_zone("Moon")
