import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.offers import InvalidDurationError, Limits, Offer, own_machine_offer, parse_duration


def offer(**changes: Any) -> Offer:
    values: dict[str, Any] = {
        "site": "own",
        "member": "me",
        "num_cores": 2,
        "memory_bytes": 8 << 30,
        "zone": "DE",
        "pue": 1.2,
        "ask_credits_per_core_hour": 0.01,
        "electricity_credits_per_kwh": 0.30,
    }
    return own_machine_offer(**values | changes)


def test_machine_time_and_electricity_are_priced_apart() -> None:
    price = offer().price(core_seconds=2 * 3600, energy_joules=3.6e6)

    assert price.machine_microcredits == 20_000
    assert price.electricity_microcredits == 360_000
    assert price.total_microcredits == 380_000


@given(st.floats(0, 1e9), st.floats(0, 1e12))
def test_a_price_is_never_negative_and_its_lines_make_the_total(seconds: float, joules: float) -> None:
    price = offer().price(core_seconds=seconds, energy_joules=joules)

    assert min(price.machine_microcredits, price.electricity_microcredits) >= 0
    assert price.total_microcredits == price.machine_microcredits + price.electricity_microcredits


@pytest.mark.parametrize(
    "changes",
    [
        {"num_cores": 0},
        {"memory_bytes": 0},
        {"pue": 0.99},
        {"pue": float("nan")},
        {"ask_credits_per_core_hour": -0.01},
        {"electricity_credits_per_kwh": -1.0},
    ],
)
def test_an_impossible_offer_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"offer|PUE|negative"):
        offer(**changes)


def test_offers_and_limits_survive_json() -> None:
    limits = Limits(credits=5, carbon_grams=20.5)

    assert Offer.from_json(json.loads(json.dumps(offer().to_json()))) == offer()
    assert Limits.from_json(json.loads(json.dumps(limits.to_json()))) == limits


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("15 min", 900),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1d 2h", 93_600),
        ("45", 45),
        (" 2H ", 7200),
        (60, 60),
        (0.5, 0.5),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "h", "2x", "2 hours", "-1h", "0", "0h", "1h30", "1:30", "nan", "inf", "2h!", "1e3s"]
)
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidDurationError, match="1h30m"):
        parse_duration(text)


@pytest.mark.parametrize("value", [True, None, [], float("nan"), float("inf"), 0, -5])
def test_a_duration_of_another_type_or_without_length_is_refused(value: Any) -> None:
    with pytest.raises(InvalidDurationError):
        parse_duration(value)


def test_an_invalid_duration_is_a_value_error_for_validators_and_the_users_mistake() -> None:
    assert issubclass(InvalidDurationError, ValueError)
    assert InvalidDurationError("x").exit_code == 2


@pytest.mark.parametrize(
    "changes", [{"credits": -1}, {"energy_kwh": float("nan")}, {"deadline_seconds": float("inf")}]
)
def test_a_limit_is_a_number_that_is_not_negative(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"limits.{next(iter(changes))}"):
        Limits(**changes)
