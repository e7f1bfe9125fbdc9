"""Watts from CPU time, for machines without a power sensor and for plans of work not yet done.

    P = idle + full * u^c * f        u = busy CPUs / CPUs,  f = clock / highest clock seen

| what is known                        | idle        | full        | c    | 90 % factors | tier |
|---|---|---|---|---|---|
| design power (TDP) and clock         | 0.10 TDP    | 0.68 TDP    | 0.38 | 0.43 .. 2.0  | W3 |
| design power alone                   | 0.20 TDP    | 0.60 TDP    | 1    | 0.35 .. 2.6  | W3 |
| declared watts at full load          | 1/4 of them | 3/4 of them | 1    | 0.5 .. 2.0   | W4 |
| the number of hardware threads alone | as by TDP = 4.5 W a thread | | 1 | 0.28 .. 3.3  | W3 |

The first two rows minimise log errors over 86 measured points (4 processors, RAPL counters): squares with
the clock, the median without. The factors are measured over model, 5 to 95 %, each processor held out of
its own fit, and the wider of ours and the reference's where two fits were at hand. Without the clock the
model is linear: a curve was no better on processors that it had not seen.

Whatever the curve, the energy of a node is split among its jobs by CPU time: shares add up exactly.
4.5 W a thread is the geometric mean of 2.2 W (large servers) and 9 W (desktops), a factor of 2 either way.

Not covered: vector width, cores asleep, turbo of few cores beside many. With four processors from one
source the factors are provisional.

Source: load and energy profiles published with CodeCarbon (mlco2/codecarbon, MIT), January 2025, in
benchmarks/data. Memory: 3 W + 0.055 W per GB and module at load, 70 % of it idle, as cited by Boavizta;
modules of 32 GB.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from ayni.footprint.counters.cpu_frequency import find_frequency
from ayni.footprint.counters.design_power import CPUINFO, design_watts, read_processor
from ayni.footprint.counters.meters import EnergyEstimate, Trust

IDLE_SHARE = 0.20
BUSY_SHARE = 0.60
GENERIC_WATTS_PER_THREAD = 4.5
_MODEL_FACTORS = (0.35, 2.6)
CLOCKED_IDLE_SHARE = 0.10
CLOCKED_FULL_SHARE = 0.68
CLOCKED_EXPONENT = 0.38
_CLOCKED_FACTORS = (0.43, 2.0)
_DESIGN_POWER_FACTORS = (0.5, 2.0)
_DECLARED_FACTORS = (0.5, 2.0)
_MEMORY_WATTS_PER_GIGABYTE = (3.0 + 0.055 * 32) / 32
_MEMORY_IDLE_SHARE = 0.7
_SCOPE = "processor and memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerModel:
    """Power of a node by its busy CPUs and, with `uses_frequency`, by its clock.

    `idle_watts` is for the whole node, `watts_per_busy_cpu` (joules per busy CPU second) for one hardware
    thread when all are busy. `exponent` (0 to 1) bends the curve. A calibrated node drew never less than
    `lowest_watts` and never more than `highest_watts` (its power limit), so the model does not either.
    """

    idle_watts: float
    watts_per_busy_cpu: float
    num_cpus: int
    trust: Trust
    exponent: float = 1.0
    uses_frequency: bool = False
    lowest_watts: float = 0.0
    highest_watts: float = math.inf

    def __post_init__(self) -> None:
        if self.num_cpus < 1 or self.idle_watts < 0 or self.watts_per_busy_cpu < 0:
            raise ValueError(
                f"no machine has {self.num_cpus} CPUs, {self.idle_watts} W idle and "
                f"{self.watts_per_busy_cpu} W per busy CPU"
            )
        if not 0 < self.exponent <= 1:
            raise ValueError(f"an exponent of {self.exponent} is not above 0 and at most 1")

    def joules(self, *, wall_seconds: float, busy_cpu_seconds: float, frequency_share: float = 1.0) -> float:
        """Energy of the whole node over `wall_seconds` in which its load was even.

        Grows with both times, so that a counter made of it never falls.
        """
        dynamic = self.dynamic_joules(wall_seconds=wall_seconds, busy_cpu_seconds=busy_cpu_seconds)
        clocked = dynamic * frequency_share if self.uses_frequency else dynamic
        joules = self.idle_watts * wall_seconds + clocked
        at_least = max(self.lowest_watts * wall_seconds, joules)
        return (
            at_least if math.isinf(self.highest_watts) else min(self.highest_watts * wall_seconds, at_least)
        )

    def dynamic_joules(self, *, wall_seconds: float, busy_cpu_seconds: float) -> float:
        """watts_per_busy_cpu * num_cpus * wall * u^exponent, at the full clock."""
        if self.exponent == 1:
            return self.watts_per_busy_cpu * busy_cpu_seconds
        if wall_seconds <= 0:
            return 0.0
        load = max(0.0, busy_cpu_seconds) / (wall_seconds * self.num_cpus)
        return float(self.watts_per_busy_cpu * self.num_cpus * wall_seconds * load**self.exponent)


def generic_power_model(*, num_cpus: int, memory_bytes: int) -> PowerModel:
    """What an unknown machine of this size draws: tier W3.

    `memory_bytes` is all of the node's memory; its dynamic part is spread over the CPUs.
    """
    processor_watts = GENERIC_WATTS_PER_THREAD * num_cpus
    memory_watts = _MEMORY_WATTS_PER_GIGABYTE * memory_bytes / 1e9
    low, high = combine_factors(_MODEL_FACTORS, _DESIGN_POWER_FACTORS)
    return PowerModel(
        idle_watts=IDLE_SHARE * processor_watts + _MEMORY_IDLE_SHARE * memory_watts,
        watts_per_busy_cpu=(BUSY_SHARE * processor_watts + (1 - _MEMORY_IDLE_SHARE) * memory_watts)
        / num_cpus,
        num_cpus=num_cpus,
        trust=Trust(
            tier="W3",
            low_factor=low,
            high_factor=high,
            method="model of CPU time: no power sensor; generic watts per hardware thread and per GB",
            scope=_SCOPE,
        ),
    )


def design_power_model(
    *, design_watts: float, num_cpus: int, memory_bytes: int, processor: str, has_frequency: bool
) -> PowerModel:
    """What a machine draws whose processors' design power is known: tier W3."""
    idle_share, full_share, exponent, factors = IDLE_SHARE, BUSY_SHARE, 1.0, _MODEL_FACTORS
    if has_frequency:
        idle_share, full_share = CLOCKED_IDLE_SHARE, CLOCKED_FULL_SHARE
        exponent, factors = CLOCKED_EXPONENT, _CLOCKED_FACTORS
    memory_watts = _MEMORY_WATTS_PER_GIGABYTE * memory_bytes / 1e9
    return PowerModel(
        idle_watts=idle_share * design_watts + _MEMORY_IDLE_SHARE * memory_watts,
        watts_per_busy_cpu=(full_share * design_watts + (1 - _MEMORY_IDLE_SHARE) * memory_watts) / num_cpus,
        num_cpus=num_cpus,
        exponent=exponent,
        uses_frequency=has_frequency,
        trust=Trust(
            tier="W3",
            low_factor=factors[0],
            high_factor=factors[1],
            method=f"model of CPU time{' and clock' if has_frequency else ''}: no power sensor; "
            f"{design_watts:.3g} W design power of {processor}",
            scope=_SCOPE,
        ),
    )


def declared_power_model(*, watts: float, num_cpus: int) -> PowerModel:
    """The model of a machine whose operator declares its power at full load, in watts: tier W4."""
    if not (math.isfinite(watts) and watts > 0):
        raise ValueError(f"declared watts must be a positive number, not {watts}")
    # The shares were fitted to design power. Here the whole at full load is known, so they are scaled.
    idle_share = IDLE_SHARE / (IDLE_SHARE + BUSY_SHARE)
    return PowerModel(
        idle_watts=idle_share * watts,
        watts_per_busy_cpu=(1 - idle_share) * watts / num_cpus,
        num_cpus=num_cpus,
        trust=Trust(
            tier="W4",
            low_factor=_DECLARED_FACTORS[0],
            high_factor=_DECLARED_FACTORS[1],
            method=f"model of CPU time: no power sensor; {watts:g} W at full load as declared",
            scope="whatever the declared watts stand for",
        ),
    )


def combine_factors(*factors: tuple[float, float]) -> tuple[float, float]:
    """The 90 % factors of a product of independent quantities: logarithms add in quadrature.

    low = exp(-sqrt(sum ln(low_i)^2)), high = exp(sqrt(sum ln(high_i)^2)); two significant digits.
    """
    low = math.exp(-math.hypot(*(math.log(low_i) for low_i, _ in factors)))
    high = math.exp(math.hypot(*(math.log(high_i) for _, high_i in factors)))
    return float(f"{low:.2g}"), float(f"{high:.2g}")


def this_machine(*, declared_watts: float | None = None, cpuinfo: Path = CPUINFO) -> PowerModel:
    """The power model of the machine that runs this, by the best that is known of it.

    The design power of its processors, else declared watts, else its size.
    """
    import psutil

    num_cpus, memory_bytes = psutil.cpu_count() or 1, psutil.virtual_memory().total
    processor = read_processor(cpuinfo)
    watts = None if processor is None else design_watts(processor)
    if processor is not None and watts is not None:
        return design_power_model(
            design_watts=watts,
            num_cpus=num_cpus,
            memory_bytes=memory_bytes,
            processor=processor.name,
            has_frequency=find_frequency() is not None,
        )
    if declared_watts is not None:
        return declared_power_model(watts=declared_watts, num_cpus=num_cpus)
    return generic_power_model(num_cpus=num_cpus, memory_bytes=memory_bytes)


def estimate_energy(
    busy_core_seconds: float, wall_seconds: float, cores: int, *, model: PowerModel | None = None
) -> EnergyEstimate:
    """Energy of work not yet done: its CPU time and the idle share of the cores it reserves.

    E = dynamic(busy_core_seconds) + idle_watts * wall_seconds * cores / num_cpus

    The same model as the modelled counter, so that a plan and its receipt differ only by the work and by
    who else is there: where the curve is bent, the plan takes the node to be otherwise idle, at full clock.
    """
    chosen = model or this_machine()
    reserved = min(1.0, cores / chosen.num_cpus)
    dynamic = chosen.dynamic_joules(wall_seconds=wall_seconds, busy_cpu_seconds=busy_core_seconds)
    joules = dynamic + chosen.idle_watts * wall_seconds * reserved
    return EnergyEstimate(
        joules=joules,
        low_joules=joules * chosen.trust.low_factor,
        high_joules=joules * chosen.trust.high_factor,
        tier=chosen.trust.tier,
        cpu_seconds=busy_core_seconds,
        wall_seconds=wall_seconds,
    )
