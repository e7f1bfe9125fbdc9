import csv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.footprint.counters.cpu_frequency import ScriptedFrequency
from ayni.footprint.counters.modelled_counter import ModelledCounter
from ayni.footprint.counters.node_model import PowerPoint, fit_curve
from ayni.footprint.counters.power_model import (
    CLOCKED_EXPONENT,
    CLOCKED_FULL_SHARE,
    CLOCKED_IDLE_SHARE,
    PowerModel,
    combine_factors,
    declared_power_model,
    design_power_model,
    estimate_energy,
    generic_power_model,
    this_machine,
)
from ayni.footprint.windows.cpu_time import ScriptedCpuClock


def test_a_machine_at_full_load_draws_the_declared_watts() -> None:
    model = declared_power_model(watts=120.0, num_cpus=8)

    joules = model.joules(wall_seconds=10.0, busy_cpu_seconds=80.0)

    assert joules == pytest.approx(1200.0)
    assert model.trust.tier == "W4"


def test_an_unknown_machine_gets_a_wide_interval_and_is_called_a_model() -> None:
    model = generic_power_model(num_cpus=2, memory_bytes=0)

    assert model.joules(wall_seconds=1.0, busy_cpu_seconds=2.0) == pytest.approx(0.8 * 9.0)
    assert (model.trust.tier, model.trust.low_factor, model.trust.high_factor) == ("W3", 0.28, 3.3)
    assert "model of CPU time" in model.trust.method


def test_memory_draws_149_milliwatts_a_gigabyte_at_load_and_70_percent_of_it_idle() -> None:
    model = generic_power_model(num_cpus=4, memory_bytes=32_000_000_000)
    without = generic_power_model(num_cpus=4, memory_bytes=0)

    assert model.idle_watts - without.idle_watts == pytest.approx(0.7 * 4.76)
    at_load = model.joules(wall_seconds=1, busy_cpu_seconds=4) - without.joules(
        wall_seconds=1, busy_cpu_seconds=4
    )
    assert at_load == pytest.approx(4.76)


def test_factors_of_independent_quantities_add_in_quadrature() -> None:
    assert combine_factors((0.5, 2.0)) == (0.5, 2.0)
    assert combine_factors((0.5, 2.0), (0.5, 2.0)) == (0.38, 2.7)


@pytest.mark.parametrize("watts", [0.0, -5.0, float("nan"), float("inf")])
def test_declared_watts_must_be_a_positive_number(watts: float) -> None:
    with pytest.raises(ValueError, match="positive number"):
        declared_power_model(watts=watts, num_cpus=2)


def test_a_plan_and_the_counter_use_the_same_model() -> None:
    model = declared_power_model(watts=40.0, num_cpus=2)
    clock, seconds = ScriptedCpuClock(), [0.0]
    counter = ModelledCounter(model, clock, now=lambda: seconds[0])

    clock.node_seconds, seconds[0] = 15.0, 10.0
    planned = estimate_energy(15.0, 10.0, 2, model=model)

    assert planned.joules == pytest.approx(counter.read().microjoules / 1e6)


def test_a_plan_pays_the_idle_power_of_the_cores_it_reserves_only() -> None:
    model = PowerModel(
        idle_watts=8.0, watts_per_busy_cpu=3.0, num_cpus=4, trust=this_machine(declared_watts=9).trust
    )

    estimate = estimate_energy(6.0, 10.0, 1, model=model)

    assert estimate.joules == pytest.approx(3.0 * 6.0 + 8.0 * 10.0 / 4)
    assert estimate.low_joules == pytest.approx(0.5 * 38.0)
    assert estimate.high_joules == pytest.approx(2.0 * 38.0)


PROFILES = Path(__file__).parents[3] / "benchmarks" / "data" / "cpu_profiles.csv"


def bent_model(**changes: Any) -> PowerModel:
    values = {
        "idle_watts": 10.0,
        "watts_per_busy_cpu": 5.0,
        "num_cpus": 8,
        "exponent": 0.5,
        "trust": this_machine(declared_watts=9).trust,
    }
    return PowerModel(**values | changes)


def test_the_shares_with_the_clock_are_the_fit_of_the_published_points() -> None:
    with PROFILES.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    highest: dict[str, float] = {}
    for row in rows:
        highest[row["processor"]] = max(highest.get(row["processor"], 0.0), float(row["megahertz"]))

    curve = fit_curve(
        [
            PowerPoint(
                load=float(row["load"]),
                watts=float(row["watts"]) / float(row["design_watts"]),
                frequency_share=float(row["megahertz"]) / highest[row["processor"]],
            )
            for row in rows
        ]
    )

    assert len(rows) == 86
    assert pytest.approx(curve.idle_watts, abs=0.005) == CLOCKED_IDLE_SHARE
    assert pytest.approx(curve.full_watts, abs=0.005) == CLOCKED_FULL_SHARE
    assert curve.exponent == CLOCKED_EXPONENT


def test_a_known_design_power_narrows_the_interval_and_the_clock_narrows_it_again() -> None:
    def factors(model: PowerModel) -> float:
        return model.trust.high_factor / model.trust.low_factor

    known = {"design_watts": 90.0, "num_cpus": 16, "memory_bytes": 0, "processor": "EPYC 8024P"}
    generic = generic_power_model(num_cpus=16, memory_bytes=0)
    blind = design_power_model(**known, has_frequency=False)
    clocked = design_power_model(**known, has_frequency=True)

    assert factors(generic) > factors(blind) > factors(clocked)
    assert {model.trust.tier for model in (generic, blind, clocked)} == {"W3"}
    assert blind.joules(wall_seconds=1, busy_cpu_seconds=16) == pytest.approx(0.8 * 90)
    assert clocked.joules(wall_seconds=1, busy_cpu_seconds=16) == pytest.approx(0.78 * 90)


def test_a_bent_model_follows_load_and_clock_and_stays_within_what_was_seen() -> None:
    model = bent_model(uses_frequency=True, lowest_watts=12.0, highest_watts=45.0)

    def watts(busy: float, clock: float) -> float:
        return model.joules(wall_seconds=10.0, busy_cpu_seconds=10 * busy, frequency_share=clock) / 10

    assert watts(2.0, 1.0) == pytest.approx(10 + 40 * 0.5)
    assert watts(2.0, 0.5) == pytest.approx(10 + 40 * 0.5 * 0.5)
    assert watts(0.0, 1.0) == 12.0
    assert watts(8.0, 1.0) == 45.0


@pytest.mark.parametrize("exponent", [0.0, 1.5, -1.0])
def test_an_exponent_with_which_energy_could_fall_is_refused(exponent: float) -> None:
    with pytest.raises(ValueError, match="exponent"):
        bent_model(exponent=exponent)


@given(
    steps=st.lists(
        st.tuples(st.floats(0.001, 3.0), st.floats(0.0, 1.3), st.floats(0.1, 1.0)), min_size=1, max_size=30
    )
)
def test_a_modelled_counter_never_falls_however_load_and_clock_jump(
    steps: list[tuple[float, float, float]],
) -> None:
    clock, seconds, frequency = ScriptedCpuClock(), [0.0], ScriptedFrequency()
    counter = ModelledCounter(
        bent_model(uses_frequency=True), clock, frequency=frequency, now=lambda: seconds[0]
    )
    readings = []
    for elapsed, load, share in steps:
        seconds[0] += elapsed
        clock.node_seconds += elapsed * load * 8
        frequency.present_megahertz = 3000.0 * share
        readings.append(counter.read().microjoules)

    assert readings == sorted(readings)
    assert readings[0] > 0


def test_reading_a_modelled_counter_often_changes_nothing_beyond_the_grain_of_cpu_time() -> None:
    def drawn(reads_a_second: int) -> int:
        clock, seconds = ScriptedCpuClock(), [0.0]
        counter = ModelledCounter(bent_model(), clock, now=lambda: seconds[0])
        for step in range(1, 10 * reads_a_second + 1):
            seconds[0] = step / reads_a_second
            # CPU time ticks: whole hundredths of a second.
            clock.node_seconds = int(100 * 2.0 * seconds[0]) / 100
            counter.read()
        return counter.read().microjoules

    assert drawn(200) == pytest.approx(drawn(1), rel=0.01)
    assert drawn(1) == pytest.approx(10 * (10 + 40 * 0.5) * 1e6)


def test_a_plan_with_a_bent_model_takes_the_node_to_be_otherwise_idle() -> None:
    estimate = estimate_energy(20.0, 10.0, 8, model=bent_model())

    assert estimate.joules == pytest.approx(10 * (10 + 40 * (2 / 8) ** 0.5))
