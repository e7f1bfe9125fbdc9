"""Latency and energy of inference. Values of time are not asserted."""

from collections.abc import Callable

import pytest
import torch

from ayni.compress.inference_cost import MIN_CALLS, measure_energy, measure_latency
from ayni.compress.ports import DeclaredPowerMeter, PowerEstimate

EXAMPLES = [torch.zeros(1, 4), torch.ones(1, 4)]


class UnknownMeter:
    def measure(self, function: Callable[[], int]) -> "Unknown":
        function()
        return Unknown()


class Unknown:
    joules = low_joules = high_joules = None
    tier = "W5"


class CountingMeter:
    """One joule a repeat."""

    def measure(self, function: Callable[[], int]) -> PowerEstimate:
        repeats = function()
        return PowerEstimate(joules=repeats, low_joules=repeats / 2, high_joules=repeats * 2, tier="test")


def test_runtimes_take_turns_on_one_thread() -> None:
    calls: list[str] = []
    threads: set[int] = set()

    def runtime(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
        def run(inputs: torch.Tensor) -> torch.Tensor:
            calls.append(name)
            threads.add(torch.get_num_threads())
            return inputs

        return run

    torch.set_num_threads(2)
    latencies = measure_latency({"a": runtime("a"), "b": runtime("b")}, EXAMPLES, seconds=0.001)

    first_turns = "".join(calls)[20:]
    assert threads == {1}
    assert torch.get_num_threads() == 2
    assert first_turns.startswith("a" * 11 + "b" * 11)
    assert latencies["a"].num_calls >= MIN_CALLS


def test_energy_is_scaled_to_a_thousand_inferences() -> None:
    energy = measure_energy(
        lambda inputs: inputs, EXAMPLES, meter=CountingMeter(), latency_seconds=0.01, seconds=0.1
    )

    assert energy.joules_per_1000 == pytest.approx(1000)
    assert energy.low_joules_per_1000 == pytest.approx(500)
    assert energy.high_joules_per_1000 == pytest.approx(2000)
    assert energy.tier == "test"


def test_unknown_energy_stays_unknown() -> None:
    energy = measure_energy(
        lambda inputs: inputs, EXAMPLES, meter=UnknownMeter(), latency_seconds=0.01, seconds=0.1
    )

    assert (energy.joules_per_1000, energy.tier) == (None, "W5")


def test_the_declared_power_meter_runs_the_block_once() -> None:
    runs: list[int] = []

    estimate = DeclaredPowerMeter(watts=5.0).measure(lambda: runs.append(1) or 1)  # type: ignore[func-returns-value]

    assert runs == [1]
    assert estimate.low_joules <= estimate.joules <= estimate.high_joules
