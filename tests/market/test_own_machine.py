import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.own_machine import OwnMachine, own_machine_offer


def machine(**changes: Any) -> OwnMachine:
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
    price = machine().price(core_seconds=2 * 3600, energy_joules=3.6e6)

    assert price.machine_microcredits == 20_000
    assert price.electricity_microcredits == 360_000
    assert price.total_microcredits == 380_000


@given(st.floats(0, 1e9), st.floats(0, 1e12))
def test_a_price_is_never_negative_and_its_lines_make_the_total(seconds: float, joules: float) -> None:
    price = machine().price(core_seconds=seconds, energy_joules=joules)

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
def test_an_impossible_machine_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"offer|PUE|negative"):
        machine(**changes)


def test_the_machine_survives_json() -> None:
    assert OwnMachine.from_json(json.loads(json.dumps(machine().to_json()))) == machine()
