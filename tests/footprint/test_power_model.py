import pytest

from ayni.footprint.cpu_time import ScriptedCpuClock
from ayni.footprint.modelled_counter import ModelledCounter
from ayni.footprint.power_model import (
    PowerModel,
    combine_factors,
    declared_power_model,
    estimate_energy,
    generic_power_model,
    this_machine,
)


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
