"""Watts from CPU time, for machines without a power sensor and for plans of work not yet done.

    P = idle + busy * (busy CPUs)        idle = 0.20 * full load,  busy = 0.60 * full load per CPU

Linear on purpose: only then do the energies of jobs add up to the energy of their node, whoever runs
beside whom. The two numbers minimise the median log error over 86 measured points (4 processors, RAPL
counters). Held out by processor, measured over model was 0.35 .. 2.1 (5 to 95 %); a curved model
reached 0.44 .. 2.6 on the same points. We take the wider end of each, 0.35 .. 2.6.

Not covered: frequency, vector width, and finding the processor's design power in a table. Without one
the design power of a hardware thread is taken as 4.5 W, geometric mean of 2.2 W (large servers) and
9 W (desktops): a further factor of 2 either way.

Source: load and energy profiles published with CodeCarbon (mlco2/codecarbon, MIT), January 2025.
Memory: 3 W + 0.055 W per GB and module at load, 70 % of it idle, as cited by Boavizta; modules of 32 GB.
"""

import math
from dataclasses import dataclass

from ayni.footprint.meters import EnergyEstimate, Trust

IDLE_SHARE = 0.20
BUSY_SHARE = 0.60
GENERIC_WATTS_PER_THREAD = 4.5
_MODEL_FACTORS = (0.35, 2.6)
_DESIGN_POWER_FACTORS = (0.5, 2.0)
_DECLARED_FACTORS = (0.5, 2.0)
_MEMORY_WATTS_PER_GIGABYTE = (3.0 + 0.055 * 32) / 32
_MEMORY_IDLE_SHARE = 0.7
_SCOPE = "processor and memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerModel:
    """Power of a node as a linear function of its busy CPUs.

    `idle_watts` is for the whole node, `watts_per_busy_cpu` (joules per busy CPU second) for one
    hardware thread.
    """

    idle_watts: float
    watts_per_busy_cpu: float
    num_cpus: int
    trust: Trust

    def __post_init__(self) -> None:
        if self.num_cpus < 1 or self.idle_watts < 0 or self.watts_per_busy_cpu < 0:
            raise ValueError(
                f"no machine has {self.num_cpus} CPUs, {self.idle_watts} W idle and "
                f"{self.watts_per_busy_cpu} W per busy CPU"
            )

    def joules(self, *, wall_seconds: float, busy_cpu_seconds: float) -> float:
        """Energy of the whole node: idle_watts * wall + watts_per_busy_cpu * busy."""
        return self.idle_watts * wall_seconds + self.watts_per_busy_cpu * busy_cpu_seconds


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


def this_machine(*, declared_watts: float | None = None) -> PowerModel:
    """The power model of the machine that runs this, from its size or from declared watts."""
    import psutil

    num_cpus = psutil.cpu_count() or 1
    if declared_watts is not None:
        return declared_power_model(watts=declared_watts, num_cpus=num_cpus)
    return generic_power_model(num_cpus=num_cpus, memory_bytes=psutil.virtual_memory().total)


def estimate_energy(
    busy_core_seconds: float, wall_seconds: float, cores: int, *, model: PowerModel | None = None
) -> EnergyEstimate:
    """Energy of work not yet done: its CPU time and the idle share of the cores it reserves.

    E = watts_per_busy_cpu * busy_core_seconds + idle_watts * wall_seconds * cores / num_cpus

    The same model as the modelled counter, so that a plan and its receipt differ only by the work.
    """
    chosen = model or this_machine()
    reserved = min(1.0, cores / chosen.num_cpus)
    joules = chosen.watts_per_busy_cpu * busy_core_seconds + chosen.idle_watts * wall_seconds * reserved
    return EnergyEstimate(
        joules=joules,
        low_joules=joules * chosen.trust.low_factor,
        high_joules=joules * chosen.trust.high_factor,
        tier=chosen.trust.tier,
        cpu_seconds=busy_core_seconds,
        wall_seconds=wall_seconds,
    )
