"""What one inference costs in time and energy, measured so that the numbers can be compared.

    warm up -> turns of all runtimes, there and back again (a b b a) -> median, quartiles, CPU time

All runtimes are measured together in one process: a neighbour that wakes up then slows every row and not
one. Wall time is what a user waits; CPU time of the same calls is kept beside it, because it tells what a
wall time is worth. Where the two lie far apart the row says so, and its time is not to be quoted.

Not covered: accelerators, whose calls return before the work is done; work in other processes, which the
CPU time does not see; memory (ayni.compress.evidence.peak_memory).
"""

import contextlib
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ayni.compress.deploy.runtimes import torch_threads
from ayni.compress.evidence.break_even import EnergyInterval
from ayni.compress.inputs import ModelInputs
from ayni.compress.ports import EnergyMeter
from ayni.errors import AyniError

Call = Callable[[Any], Any]
"""A model ready for inference; what it answers is not looked at."""

MEASURE_SECONDS = 0.5
"""CPU time ticks every 10 ms, so that energy modelled from it is read to 2 % in half a second."""
TURN_SECONDS = 0.02
"""Long enough that a turn of fast calls runs on warm caches, short enough for 25 turns in half a second."""
WARM_UP_CALLS = 3
MIN_CALLS = 5
MAX_CALLS = 4000
MAX_WAITING = 1.2
"""Wall time over CPU time of a call, from which on it waited for others."""
MAX_WAITED_SHARE = 0.25
"""Short calls between two waits keep their median on a busy machine; when a quarter of the calls waited, the
upper quartile is one of them and the median is next (seen: 0.18 ms and 48 ms in one row at a load of 11)."""
CLOCK_SLACK_SECONDS = 1e-5
"""What reading the clocks may take: below it the two times are not told apart."""


class MeasurementFailedError(AyniError):
    """A model could not be run for a measurement."""

    def __init__(self, *, what: str, reason: str) -> None:
        self.what = what
        super().__init__(f"{what} failed: {reason}. Leave this variant out, or measure it in another way.")


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds that passed, and seconds that all threads of this process computed."""

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Under which a latency is measured."""

    num_threads: int = 1
    batch_size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds of one call with one batch, over num_calls calls.

    p25, p50, p75, min: of wall time. cpu_p50: of the CPU time of the whole process.
    first_seconds: the very first call, which may compile, unpack and allocate.
    problem: why the times are not to be quoted; None when they are.
    """

    p50_seconds: float
    p25_seconds: float
    p75_seconds: float
    min_seconds: float
    cpu_p50_seconds: float
    first_seconds: float
    num_calls: int
    num_threads: int
    batch_size: int
    problem: str | None

    @property
    def is_valid(self) -> bool:
        """Whether the times may be quoted."""
        return self.problem is None

    @property
    def seconds_per_example(self) -> float:
        """The median, shared by the examples of the batch."""
        return self.p50_seconds / self.batch_size

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Latency":
        """The latency that `to_json` wrote."""
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceEnergy:
    """Joules of 1,000 inferences, with the interval and the tier of the meter; None when unknown."""

    joules_per_1000: float | None
    low_joules_per_1000: float | None
    high_joules_per_1000: float | None
    tier: str

    @property
    def interval(self) -> EnergyInterval | None:
        """Of a single inference; None when unknown."""
        best, low, high = self.joules_per_1000, self.low_joules_per_1000, self.high_joules_per_1000
        if best is None or low is None or high is None:
            return None
        return EnergyInterval(low_joules=low, joules=best, high_joules=high).times(1 / 1000)


@dataclass(slots=True)
class _Samples:
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    first_seconds: float = 0.0
    total_seconds: float = 0.0

    def is_enough(self, seconds: float) -> bool:
        has_enough_calls = len(self.wall) >= MIN_CALLS and self.total_seconds >= seconds
        return has_enough_calls or len(self.wall) >= MAX_CALLS


def call(runtime: Call, batch: Any) -> None:
    """One call of a runtime with a batch in whatever form; the answer is dropped."""
    if isinstance(batch, ModelInputs):
        batch.run(runtime)
    else:
        runtime(batch)


def standard_conditions(num_cores: int) -> tuple[Condition, ...]:
    """One thread and all cores, one example and 32; on a single core only the former two."""
    return tuple(
        Condition(num_threads=num_threads, batch_size=batch_size)
        for num_threads in sorted({1, num_cores})
        for batch_size in (1, 32)
    )


def measure_latency(
    runtimes: Mapping[str, Call],
    inputs: Sequence[Any],
    *,
    seconds: float = MEASURE_SECONDS,
    condition: Condition | None = None,
    clocks: Clocks | None = None,
) -> dict[str, Latency]:
    """Latency of each runtime, measured in turns.

    The order of the turns is reversed each time (a b b a), so that a slow drift of the machine falls on all
    alike. The first call of a turn only brings the weights back into the caches. The garbage collector rests.

    Cost: about len(runtimes) * `seconds`, and one warm-up call for each of the inputs.

    Args:
        runtimes: by name. Torch is set to the condition's threads; a runtime with threads of its own has to
            be opened for them, and is found out if it was not.
        inputs: batches, used one after the other: what the runtime is called with, or a ModelInputs.
        seconds: time for each runtime; at least MIN_CALLS calls are made, and at most MAX_CALLS.
        condition: one thread and one example by default; it is noted, and judges the CPU time.
        clocks: of the system by default.

    Raises:
        MeasurementFailedError: a runtime raised; the message names it and the condition.
        ValueError: no inputs.
    """
    if not inputs:
        raise ValueError("a latency needs inputs to call the model with")
    chosen, clocks = condition or Condition(), clocks or Clocks()
    samples = {name: _Samples() for name in runtimes}
    order = list(runtimes)
    with torch_threads(chosen.num_threads), _without_garbage_collection():
        for name in order:
            with _naming(name, chosen):
                _warm_up(runtimes[name], inputs, samples[name], clocks)
        while unfinished := [name for name in order if not samples[name].is_enough(seconds)]:
            for name in unfinished:
                with _naming(name, chosen):
                    _take_turn(runtimes[name], inputs, samples[name], clocks, seconds=seconds)
            order.reverse()
    return {name: _latency(samples[name], chosen) for name in runtimes}


def measure_conditions(
    open_runtimes: Callable[[int], Mapping[str, Call]],
    make_inputs: Callable[[int], Sequence[Any]],
    conditions: Sequence[Condition],
    *,
    seconds: float = MEASURE_SECONDS,
    clocks: Clocks | None = None,
) -> dict[Condition, dict[str, Latency]]:
    """Latency of all runtimes under each condition.

    Args:
        open_runtimes: the runtimes for so many threads; called once for each number of threads.
        make_inputs: batches of so many examples.
        conditions: `standard_conditions(num_cores)`, for example.
        seconds: for each runtime under each condition.
        clocks: of the system by default.

    Raises:
        MeasurementFailedError: a runtime raised; the message names it and the condition.
    """
    opened: dict[int, Mapping[str, Call]] = {}
    measured = {}
    for condition in conditions:
        threads = condition.num_threads
        # Opened when first needed, not kept beyond: two sets of sessions would double the memory.
        if threads not in opened:
            opened = {threads: open_runtimes(threads)}
        measured[condition] = measure_latency(
            opened[threads],
            make_inputs(condition.batch_size),
            seconds=seconds,
            condition=condition,
            clocks=clocks,
        )
    return measured


def measure_energy(
    runtime: Call,
    inputs: Sequence[Any],
    *,
    meter: EnergyMeter,
    latency_seconds: float,
    seconds: float = MEASURE_SECONDS,
    condition: Condition | None = None,
) -> InferenceEnergy:
    """Energy of 1,000 inferences, from as many as fit into about `seconds`.

        joules_per_1000 = 1000 * joules / (num_calls * batch_size)

    Raises:
        ValueError: no inputs, or a latency that is not above 0.
    """
    if not inputs or not latency_seconds > 0:
        raise ValueError(f"{len(inputs)} inputs of {latency_seconds} s each cannot be metered")
    chosen = condition or Condition()
    num_calls = max(MIN_CALLS, round(seconds / latency_seconds))

    def block() -> int:
        _call_repeatedly(runtime, inputs, num_calls)
        return num_calls

    with torch_threads(chosen.num_threads):
        _call_repeatedly(runtime, inputs, WARM_UP_CALLS)
        estimate = meter.measure(block)

    def per_1000(joules: float | None) -> float | None:
        return None if joules is None else 1000 * joules / (num_calls * chosen.batch_size)

    return InferenceEnergy(
        joules_per_1000=per_1000(estimate.joules),
        low_joules_per_1000=per_1000(estimate.low_joules),
        high_joules_per_1000=per_1000(estimate.high_joules),
        tier=estimate.tier,
    )


@contextlib.contextmanager
def _naming(name: str, condition: Condition) -> Iterator[None]:
    try:
        yield
    except AyniError as error:
        raise MeasurementFailedError(what=_what(name, condition), reason=str(error)) from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise MeasurementFailedError(what=_what(name, condition), reason=reason) from error


def _what(name: str, condition: Condition) -> str:
    return f"Measuring {name} with {condition.num_threads} threads and batches of {condition.batch_size}"


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _warm_up(runtime: Call, inputs: Sequence[Any], samples: _Samples, clocks: Clocks) -> None:
    started = clocks.wall()
    call(runtime, inputs[0])
    samples.first_seconds = clocks.wall() - started
    # Every input once: a new shape makes a runtime choose kernels and memory again.
    _call_repeatedly(runtime, inputs, max(WARM_UP_CALLS, len(inputs)))


def _take_turn(
    runtime: Call, inputs: Sequence[Any], samples: _Samples, clocks: Clocks, *, seconds: float
) -> None:
    call(runtime, inputs[len(samples.wall) % len(inputs)])
    turn_seconds = 0.0
    while turn_seconds < TURN_SECONDS and not samples.is_enough(seconds):
        batch = inputs[len(samples.wall) % len(inputs)]
        cpu_started, started = clocks.cpu(), clocks.wall()
        call(runtime, batch)
        wall = clocks.wall() - started
        samples.cpu.append(clocks.cpu() - cpu_started)
        samples.wall.append(wall)
        samples.total_seconds += wall
        turn_seconds += wall


def _call_repeatedly(runtime: Call, inputs: Sequence[Any], num_calls: int) -> None:
    for index in range(num_calls):
        call(runtime, inputs[index % len(inputs)])


def _latency(samples: _Samples, condition: Condition) -> Latency:
    p25, p50, p75 = statistics.quantiles(samples.wall, n=4, method="inclusive")
    return Latency(
        p50_seconds=p50,
        p25_seconds=p25,
        p75_seconds=p75,
        min_seconds=min(samples.wall),
        cpu_p50_seconds=statistics.median(samples.cpu),
        first_seconds=samples.first_seconds,
        num_calls=len(samples.wall),
        num_threads=condition.num_threads,
        batch_size=condition.batch_size,
        problem=_problem(samples, condition),
    )


def _problem(samples: _Samples, condition: Condition) -> str | None:
    waited = [
        wall > MAX_WAITING * cpu + CLOCK_SLACK_SECONDS
        for wall, cpu in zip(samples.wall, samples.cpu, strict=True)
    ]
    if sum(waited) > MAX_WAITED_SHARE * len(waited):
        return (
            f"{sum(waited)} of {len(waited)} calls waited: {samples.total_seconds:.3g} s passed for "
            f"{sum(samples.cpu):.3g} s of CPU time; the machine was busy, or the work is done elsewhere"
        )
    wall, cpu = statistics.median(samples.wall), statistics.median(samples.cpu)
    if cpu > MAX_WAITING * condition.num_threads * wall + CLOCK_SLACK_SECONDS:
        return f"more than {condition.num_threads} threads worked: {cpu:.3g} s of CPU time in {wall:.3g} s"
    return None
