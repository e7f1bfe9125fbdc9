"""Break-even against hand calculations."""

import json
import math
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ayni.compress.evidence.break_even import (
    BreakEven,
    EnergyInterval,
    break_even,
    interval_of_estimate,
    interval_on_same_meter,
)
from ayni.compress.ports import PowerEstimate


def energy(low: float, best: float, high: float) -> EnergyInterval:
    return EnergyInterval(low_joules=low, joules=best, high_joules=high)


joules = st.floats(0, 1e6)
spendings = st.tuples(joules, joules, joules).map(sorted).map(lambda ends: energy(*ends))
signed = st.floats(-1e3, 1e3)
savings = st.tuples(signed, signed, signed).map(sorted).map(lambda ends: energy(*ends))


def test_the_hand_calculation() -> None:
    # Making it took 5,400 J (4,000 to 8,000). An inference takes 12 J (10 to 15) before and 3 J (2 to 4)
    # after: 9 J are saved, between 10 - 4 = 6 and 15 - 2 = 13.
    # 5400 / 9 = 600;  4000 / 13 = 307.7, so 308;  8000 / 6 = 1333.3, so 1334.
    saved = energy(10, 12, 15).minus(energy(2, 3, 4))

    answer = break_even(energy(4000, 5400, 8000), saved)

    assert saved == energy(6, 9, 13)
    assert (answer.low, answer.best, answer.high) == (308, 600, 1334)
    assert answer.text() == "after 600 inferences (308 to 1,334)"
    # After 1,000 inferences: 9000 - 5400 J, at worst 6000 - 8000, at best 13000 - 4000.
    assert answer.net_saving(1000) == energy(-2000, 3600, 9000)


@pytest.mark.parametrize(
    ("num_inferences", "verdict"),
    [(307, "does not pay"), (308, "uncertain"), (1333, "uncertain"), (1334, "pays")],
)
def test_it_pays_only_where_the_whole_interval_says_so(num_inferences: int, verdict: str) -> None:
    answer = break_even(energy(4000, 5400, 8000), energy(6, 9, 13))

    assert answer.verdict(num_inferences) == verdict


@pytest.mark.parametrize("saved", [energy(-3, -2, -1), energy(0, 0, 0), energy(-1, -0.5, 0)])
def test_nothing_saved_never_pays(saved: EnergyInterval) -> None:
    answer = break_even(energy(1, 2, 3), saved)

    assert (answer.low, answer.best, answer.high) == ("never", "never", "never")
    assert answer.verdict(10**12) == "does not pay"
    assert answer.text().startswith("never: ")


def test_a_saving_that_may_be_none_may_never_pay() -> None:
    answer = break_even(energy(10, 10, 10), energy(-1, 1, 2))
    doubtful = break_even(energy(10, 10, 10), energy(-2, -1, 2))

    assert (answer.low, answer.best, answer.high) == (5, 10, "never")
    assert answer.verdict(10**9) == "uncertain"
    assert answer.text() == "after 10 inferences (5 to never)"
    assert doubtful.text() == "never by the best estimate (5 to never)"


def test_what_cost_nothing_pays_at_once_if_it_saves_anything() -> None:
    assert break_even(energy(0, 0, 0), energy(1, 1, 1)).high == 0
    assert break_even(energy(0, 0, 0), energy(0, 0, 0)).low == "never"


@pytest.mark.parametrize(
    ("spent", "saved", "expected"), [(1.1, 0.1, 11), (0.3, 0.1, 3), (4.35, 0.01, 435), (10.5, 1, 11)]
)
def test_rounding_of_floats_costs_no_inference(spent: float, saved: float, expected: int) -> None:
    assert break_even(energy(spent, spent, spent), energy(saved, saved, saved)).best == expected


def test_a_saving_that_is_one_only_in_floats_is_none() -> None:
    assert break_even(energy(1e6, 1e6, 1e6), energy(5e-324, 5e-324, 5e-324)).best == "never"


@given(spendings, savings)
def test_so_many_inferences_pay_and_one_less_does_not(spent: EnergyInterval, saved: EnergyInterval) -> None:
    answer = break_even(spent, saved)
    cases = [
        (answer.low, spent.low_joules, saved.high_joules),
        (answer.best, spent.joules, saved.joules),
        (answer.high, spent.high_joules, saved.low_joules),
    ]

    for num, cost, gain in cases:
        if num == "never":
            assert gain < 1e-290
        else:
            assert Fraction(gain) * num * Fraction(1 + 1e-8) >= Fraction(cost)
            assert num == 0 or Fraction(gain) * (num - 1) <= Fraction(cost)


@given(spendings, savings)
def test_the_ends_enclose_the_best(spent: EnergyInterval, saved: EnergyInterval) -> None:
    answer = break_even(spent, saved)
    low, best, high = (math.inf if end == "never" else end for end in (answer.low, answer.best, answer.high))

    assert low <= best <= high


def test_one_meter_for_all_cancels_its_scale() -> None:
    # The meter is wrong by a factor of 3; no answer depends on it.
    answers = []
    for scale in (1.0, 3.0):
        spent, full, variant = (interval_on_same_meter(scale * value) for value in (1000.0, 4.0, 1.0))
        assert spent is not None and full is not None and variant is not None
        answers.append(break_even(spent, full.minus(variant)))

    assert (answers[0].low, answers[0].best, answers[0].high) == (
        answers[1].low,
        answers[1].best,
        answers[1].high,
    )
    # By hand with factors 0.7 and 1.4: 700 / (5.6 - 0.7) = 142.9; 1000 / 3; 1400 / (2.8 - 1.4) = 1000.
    assert (answers[0].low, answers[0].best, answers[0].high) == (143, 334, 1000)


def test_readings_of_different_meters_keep_their_whole_interval() -> None:
    estimate = PowerEstimate(joules=2.0, low_joules=1.0, high_joules=4.0, tier="declared")

    assert interval_of_estimate(estimate) == energy(1, 2, 4)


class Unknown:
    joules = low_joules = high_joules = None
    tier = "W5"


def test_unknown_stays_unknown() -> None:
    assert interval_of_estimate(Unknown()) is None
    assert interval_on_same_meter(None) is None


@pytest.mark.parametrize("ends", [(2, 1, 3), (1, 2, 1.5), (math.nan, 1, 2), (0, 1, math.inf)])
def test_what_is_no_interval_is_refused(ends: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="no interval of an energy"):
        energy(*ends)


def test_what_cannot_be_spent_is_refused() -> None:
    with pytest.raises(ValueError, match="given back"):
        break_even(energy(-1, 0, 1), energy(1, 1, 1))
    with pytest.raises(ValueError, match="times"):
        energy(1, 1, 1).times(-1)
    with pytest.raises(ValueError, match="no reading"):
        interval_on_same_meter(-1.0)
    with pytest.raises(ValueError, match="no reading"):
        interval_on_same_meter(1.0, factors=(1.1, 1.4))


@given(spendings, savings)
def test_an_answer_survives_json(spent: EnergyInterval, saved: EnergyInterval) -> None:
    answer = break_even(spent, saved)

    assert BreakEven.from_json(json.loads(json.dumps(answer.to_json()))) == answer


@given(savings, st.floats(0, 1e3))
def test_more_inferences_save_in_proportion(saved: EnergyInterval, factor: float) -> None:
    assume(math.isfinite(saved.high_joules * factor))

    assert saved.times(factor).joules == saved.joules * factor
