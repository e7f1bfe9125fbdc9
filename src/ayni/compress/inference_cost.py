"""What one inference costs: time and energy on one thread, one example at a time.

All runtimes are measured together, in turns of a few calls: a neighbour that wakes up then slows every
row and not one. The median of wall time is the latency; CPU time of the same calls is kept beside it,
because on a busy machine it tells how much of the wall time was waiting.

Not covered: batches, several threads, accelerators.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ayni.compress.deploy.export import Batch, as_model_inputs
from ayni.compress.deploy.runtimes import Runtime, torch_threads
from ayni.compress.inputs import ModelInputs
from ayni.compress.ports import EnergyMeter

CALLS_PER_TURN = 10
WARM_UP_CALLS = 10
MEASURE_SECONDS = 0.5
"""CPU time ticks every 10 ms, so that energy modelled from it is read to 2 % in half a second."""
MIN_CALLS = 5
MAX_CALLS = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds of one call with one example, over num_calls calls."""

    p50_seconds: float
    min_seconds: float
    cpu_p50_seconds: float
    num_calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceEnergy:
    """Joules of 1,000 inferences, with the interval and the tier of the meter; None when unknown."""

    joules_per_1000: float | None
    low_joules_per_1000: float | None
    high_joules_per_1000: float | None
    tier: str


def measure_latency(
    runtimes: Mapping[str, Runtime], examples: Sequence[Batch], *, seconds: float = MEASURE_SECONDS
) -> dict[str, Latency]:
    """Latency of each runtime, measured in turns.

    Args:
        runtimes: by name.
        examples: inputs with a batch dimension of 1, used one after the other.
        seconds: time for each runtime; at least MIN_CALLS calls are made, and at most MAX_CALLS.
    """
    wall: dict[str, list[float]] = {name: [] for name in runtimes}
    cpu: dict[str, list[float]] = {name: [] for name in runtimes}
    inputs = [as_model_inputs(example) for example in examples]
    with torch_threads(1):
        for runtime in runtimes.values():
            _call(runtime, inputs, WARM_UP_CALLS)
        while unfinished := [name for name in runtimes if not _is_enough(wall[name], seconds)]:
            for name in unfinished:
                _take_turn(runtimes[name], inputs, wall[name], cpu[name])
    return {
        name: Latency(
            p50_seconds=statistics.median(wall[name]),
            min_seconds=min(wall[name]),
            cpu_p50_seconds=statistics.median(cpu[name]),
            num_calls=len(wall[name]),
        )
        for name in runtimes
    }


def measure_energy(
    runtime: Runtime,
    examples: Sequence[Batch],
    *,
    meter: EnergyMeter,
    latency_seconds: float,
    seconds: float = MEASURE_SECONDS,
) -> InferenceEnergy:
    """Energy of 1,000 inferences, from as many as fit into about `seconds`.

    joules_per_1000 = 1000 * joules / num_calls
    """
    num_calls = max(MIN_CALLS, round(seconds / latency_seconds))
    inputs = [as_model_inputs(example) for example in examples]
    with torch_threads(1):
        _call(runtime, inputs, MIN_CALLS)
        estimate = meter.measure(_block(runtime, inputs, num_calls))

    def per_1000(joules: float | None) -> float | None:
        return None if joules is None else 1000 * joules / num_calls

    return InferenceEnergy(
        joules_per_1000=per_1000(estimate.joules),
        low_joules_per_1000=per_1000(estimate.low_joules),
        high_joules_per_1000=per_1000(estimate.high_joules),
        tier=estimate.tier,
    )


def _block(runtime: Runtime, examples: Sequence[ModelInputs], num_calls: int) -> Callable[[], int]:
    def run() -> int:
        _call(runtime, examples, num_calls)
        return num_calls

    return run


def _is_enough(wall: Sequence[float], seconds: float) -> bool:
    return len(wall) >= MAX_CALLS or (len(wall) >= MIN_CALLS and sum(wall) >= seconds)


def _take_turn(
    runtime: Runtime, examples: Sequence[ModelInputs], wall: list[float], cpu: list[float]
) -> None:
    # The first call of a turn only brings the weights back into the caches.
    examples[0].run(runtime)
    for index in range(len(wall), len(wall) + CALLS_PER_TURN):
        example = examples[index % len(examples)]
        cpu_started, started = time.thread_time(), time.perf_counter()
        example.run(runtime)
        wall.append(time.perf_counter() - started)
        cpu.append(time.thread_time() - cpu_started)


def _call(runtime: Runtime, examples: Sequence[ModelInputs], num_calls: int) -> None:
    for index in range(num_calls):
        examples[index % len(examples)].run(runtime)
