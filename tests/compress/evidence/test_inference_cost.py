"""Latency and energy of inference, with clocks that the tests wind themselves."""

import gc
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.deploy.runtimes import TorchRuntime
from ayni.compress.evidence.inference_cost import (
    MAX_CALLS,
    MIN_CALLS,
    Clocks,
    Condition,
    InferenceEnergy,
    Latency,
    MeasurementFailedError,
    measure_conditions,
    measure_energy,
    measure_latency,
    standard_conditions,
)
from ayni.compress.inputs import ModelInputs
from ayni.compress.ports import PowerEstimate

EXAMPLES = [torch.zeros(1, 4), torch.ones(1, 4)]


@dataclass
class Time:
    """A clock that moves only when a pretended runtime works."""

    wall: float = 0.0
    cpu: float = 0.0
    calls: list[str] = field(default_factory=list)

    @property
    def clocks(self) -> Clocks:
        return Clocks(wall=lambda: self.wall, cpu=lambda: self.cpu)

    def runtime(
        self, name: str, *, wall: float | list[float], cpu_share: float = 1.0
    ) -> Callable[[Any], None]:
        durations = wall if isinstance(wall, list) else [wall]

        def run(_inputs: Any) -> None:
            seconds = durations[self.calls.count(name) % len(durations)]
            self.calls.append(name)
            self.wall += seconds
            self.cpu += cpu_share * seconds

        return run


class CountingMeter:
    """One joule a repeat."""

    def measure(self, function: Callable[[], int]) -> PowerEstimate:
        repeats = function()
        return PowerEstimate(joules=repeats, low_joules=repeats / 2, high_joules=repeats * 2, tier="test")


class Unknown:
    joules = low_joules = high_joules = None
    tier = "W5"


class UnknownMeter:
    def measure(self, function: Callable[[], int]) -> Unknown:
        function()
        return Unknown()


def test_the_median_with_its_spread_comes_from_the_calls_that_count() -> None:
    time = Time()
    # The first call compiles. Then come 3 of warm-up, 1 at the start of the turn, and 5 that count.
    durations = [9.0, 1.0, 1.0, 1.0, 1.0, 0.004, 0.001, 0.003, 0.002, 0.005]

    latency = measure_latency(
        {"a": time.runtime("a", wall=durations)}, EXAMPLES, seconds=0.0149, clocks=time.clocks
    )["a"]

    counted = [0.004, 0.001, 0.003, 0.002, 0.005]
    assert latency.num_calls == 5
    assert latency.first_seconds == pytest.approx(9)
    assert latency.p50_seconds == pytest.approx(statistics.median(counted))
    assert (latency.p25_seconds, latency.p75_seconds) == pytest.approx((0.002, 0.004))
    assert latency.min_seconds == pytest.approx(0.001)
    assert latency.cpu_p50_seconds == pytest.approx(0.003)
    assert latency.is_valid


def test_turns_go_there_and_back_again() -> None:
    time = Time()
    runtimes = {name: time.runtime(name, wall=1 / 64) for name in "ab"}

    measure_latency(runtimes, EXAMPLES, seconds=8 / 64, clocks=time.clocks)

    # After 4 calls each of warm-up, turns of 1 call that does not count and 2 that do.
    assert "".join(time.calls) == "aaaabbbb" + "aaabbb" + "bbbaaa" + "aaabbb" + "bbbaaa"


def test_all_runtimes_get_the_same_time_and_the_slow_ones_their_least_number_of_calls() -> None:
    time = Time()
    runtimes = {"fast": time.runtime("fast", wall=0.001), "slow": time.runtime("slow", wall=1.0)}

    latencies = measure_latency(runtimes, EXAMPLES, seconds=0.1, clocks=time.clocks)

    assert latencies["fast"].num_calls == pytest.approx(100, abs=1)
    assert latencies["slow"].num_calls == MIN_CALLS


def test_a_call_that_takes_no_time_ends_all_the_same() -> None:
    time = Time()

    latency = measure_latency({"a": time.runtime("a", wall=0.0)}, EXAMPLES, clocks=time.clocks)["a"]

    assert latency.num_calls == MAX_CALLS


def test_a_row_that_waited_is_marked() -> None:
    time = Time()
    runtimes = {
        "waits": time.runtime("waits", wall=0.01, cpu_share=0.5),
        "works": time.runtime("works", wall=0.01),
    }

    latencies = measure_latency(runtimes, EXAMPLES, seconds=0.1, clocks=time.clocks)

    assert latencies["works"].problem is None
    assert not latencies["waits"].is_valid
    assert "10 of 10 calls waited: 0.1 s passed for 0.05 s of CPU time" in (latencies["waits"].problem or "")


def test_a_few_calls_that_waited_do_not_spoil_the_median() -> None:
    time = Time()
    latency = measure_latency(
        {"a": time.runtime("a", wall=[0.01, 0.01, 0.01, 0.5])}, EXAMPLES, seconds=2.0, clocks=time.clocks
    )["a"]

    assert latency.is_valid
    assert latency.p50_seconds == pytest.approx(0.01)


def test_a_third_of_the_calls_waiting_is_too_many() -> None:
    time = Time()

    def run(_inputs: Any) -> None:
        time.calls.append("a")
        time.cpu += 1 / 4096
        time.wall += 1 / 1024 if len(time.calls) % 3 == 0 else 1 / 4096

    latency = measure_latency({"a": run}, EXAMPLES, seconds=0.25, clocks=time.clocks)["a"]

    assert latency.p50_seconds == 1 / 4096
    assert "calls waited" in (latency.problem or "")


@pytest.mark.parametrize(("num_threads", "is_valid"), [(1, False), (2, True)])
def test_a_runtime_with_more_threads_than_promised_is_found_out(num_threads: int, is_valid: bool) -> None:
    time = Time()
    latency = measure_latency(
        {"a": time.runtime("a", wall=0.01, cpu_share=1.9)},
        EXAMPLES,
        seconds=0.1,
        condition=Condition(num_threads=num_threads),
        clocks=time.clocks,
    )["a"]

    assert latency.is_valid == is_valid
    assert is_valid or "more than 1 threads worked" in (latency.problem or "")


def test_torch_gets_the_threads_of_the_condition_and_its_own_back() -> None:
    seen = set()

    def runtime(_inputs: Any) -> None:
        seen.add((torch.get_num_threads(), gc.isenabled()))

    torch.set_num_threads(2)
    measure_latency({"a": runtime}, EXAMPLES, seconds=0.0)
    after = torch.get_num_threads()
    torch.set_num_threads(1)

    assert seen == {(1, False)}
    assert after == 2
    assert gc.isenabled()


def test_every_input_is_seen_before_anything_counts() -> None:
    time = Time()
    seen: list[int] = []
    inputs = [torch.zeros(1, length) for length in (3, 5, 7, 9, 11)]
    work = time.runtime("a", wall=0.01)

    def runtime(batch: torch.Tensor) -> None:
        seen.append(batch.shape[1])
        work(batch)

    measure_latency({"a": runtime}, inputs, seconds=0.05, clocks=time.clocks)

    assert seen[:6] == [3, 3, 5, 7, 9, 11]


class TwoInputs(nn.Module):
    def forward(self, left: torch.Tensor, *, right: torch.Tensor) -> torch.Tensor:
        return left + right


def test_models_with_several_inputs_are_called_as_they_are() -> None:
    inputs = [ModelInputs(args=(torch.ones(2),), kwargs={"right": torch.ones(2)})]

    latencies = measure_latency({"torch": TwoInputs().eval()}, inputs, seconds=0.0)

    assert latencies["torch"].num_calls >= MIN_CALLS


def test_real_clocks_and_a_real_model_give_plausible_numbers() -> None:
    latency = measure_latency({"torch": TorchRuntime(nn.Linear(4, 4))}, EXAMPLES, seconds=0.02)["torch"]

    assert 0 < latency.min_seconds <= latency.p25_seconds <= latency.p50_seconds <= latency.p75_seconds
    assert latency.cpu_p50_seconds > 0
    assert Latency.from_json(latency.to_json()) == latency


def test_a_failing_runtime_is_named_with_its_condition() -> None:
    def fails(_inputs: Any) -> None:
        raise RuntimeError("fixed batch")

    with pytest.raises(MeasurementFailedError, match=r"int8 with 1 threads and batches of 32 .*fixed batch"):
        measure_latency({"int8": fails}, EXAMPLES, condition=Condition(batch_size=32))
    assert gc.isenabled()


def test_nothing_can_be_measured_without_inputs() -> None:
    with pytest.raises(ValueError, match="inputs"):
        measure_latency({}, [])
    with pytest.raises(ValueError, match="cannot be metered"):
        measure_energy(len, [], meter=CountingMeter(), latency_seconds=1.0)
    with pytest.raises(ValueError, match="cannot be metered"):
        measure_energy(len, EXAMPLES, meter=CountingMeter(), latency_seconds=0.0)


def test_no_runtimes_give_no_rows() -> None:
    assert measure_latency({}, EXAMPLES) == {}


def test_the_standard_conditions_are_one_thread_and_all_one_example_and_many() -> None:
    assert [(each.num_threads, each.batch_size) for each in standard_conditions(2)] == [
        (1, 1),
        (1, 32),
        (2, 1),
        (2, 32),
    ]
    assert len(standard_conditions(1)) == 2


def test_runtimes_are_opened_once_for_each_number_of_threads() -> None:
    time = Time()
    opened: list[int] = []

    def open_runtimes(num_threads: int) -> Mapping[str, Callable[[Any], None]]:
        opened.append(num_threads)
        return {"a": time.runtime("a", wall=0.01, cpu_share=num_threads)}

    measured = measure_conditions(
        open_runtimes,
        lambda batch_size: [torch.zeros(batch_size, 4)],
        standard_conditions(2),
        seconds=0.05,
        clocks=time.clocks,
    )

    assert opened == [1, 2]
    many = measured[Condition(num_threads=2, batch_size=32)]["a"]
    assert (many.num_threads, many.batch_size, many.is_valid) == (2, 32, True)
    assert many.seconds_per_example == pytest.approx(0.01 / 32)


def test_energy_is_scaled_to_a_thousand_inferences() -> None:
    energy = measure_energy(
        lambda inputs: inputs, EXAMPLES, meter=CountingMeter(), latency_seconds=0.01, seconds=0.1
    )

    assert energy.joules_per_1000 == pytest.approx(1000)
    assert energy.low_joules_per_1000 == pytest.approx(500)
    assert energy.high_joules_per_1000 == pytest.approx(2000)
    assert energy.tier == "test"
    assert energy.interval is not None
    assert energy.interval.joules == pytest.approx(1)


def test_the_energy_of_a_batch_is_shared_by_its_examples() -> None:
    energy = measure_energy(
        lambda inputs: inputs,
        EXAMPLES,
        meter=CountingMeter(),
        latency_seconds=0.01,
        condition=Condition(batch_size=32),
    )

    assert energy.joules_per_1000 == pytest.approx(1000 / 32)


def test_unknown_energy_stays_unknown() -> None:
    energy = measure_energy(len, EXAMPLES, meter=UnknownMeter(), latency_seconds=0.01, seconds=0.1)

    assert (energy.joules_per_1000, energy.tier, energy.interval) == (None, "W5", None)
    assert isinstance(energy, InferenceEnergy)
