from datetime import UTC, datetime, timedelta, timezone

import pytest

from ayni.market.horizon import Horizon, check_carbon, falling_prices

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_moments_become_the_first_slot_that_begins_no_earlier() -> None:
    horizon = Horizon(start=NOON, slot_seconds=1800, num_slots=4)

    assert [horizon.first_slot_at(NOON + timedelta(minutes=m)) for m in (-5, 0, 1, 30, 31)] == [0, 0, 1, 1, 2]
    assert horizon.moment(4) == horizon.end == NOON + timedelta(hours=2)


def test_a_horizon_in_local_time_is_the_same_in_utc() -> None:
    local = NOON.astimezone(timezone(timedelta(hours=2)))

    assert Horizon(start=local) == Horizon(start=NOON)


@pytest.mark.parametrize(
    "values",
    [{"slot_seconds": 0}, {"num_slots": 0}, {"tail_seconds": -1}, {"start": datetime(2026, 3, 1)}],  # noqa: DTZ001
)
def test_an_impossible_horizon_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="horizon"):
        Horizon(**{"start": NOON, **values})


@pytest.mark.parametrize("values", [[1.0], [1.0, float("nan")], [1.0, -1.0]])
def test_a_forecast_has_a_value_for_each_slot(values: list[float]) -> None:
    with pytest.raises(ValueError, match="DE"):
        check_carbon({"DE": values}, horizon=Horizon(start=NOON, num_slots=2))


def test_prices_of_slots_fall_to_nothing_or_rise_from_it() -> None:
    horizon = Horizon(start=NOON, num_slots=3)

    assert falling_prices(horizon, microcredits_a_slot=10.0) == (20.0, 10.0, 0.0)
    assert falling_prices(horizon, microcredits_a_slot=-10.0) == (0.0, 10.0, 20.0)
