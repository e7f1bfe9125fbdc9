"""Measure all variants together: latency under several conditions, energy, and memory if asked for.

    one thread, one example     decides; with its spread
    one thread, 32 examples     and both with all cores: in the table

Batches of 32 are left out where one example takes a quarter of a second already: language models would need
gigabytes for the scores of so many.

Not covered: accelerators; several processes that serve at once.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ayni.compress.deploy.runtimes import Runtime
from ayni.compress.evidence.inference_cost import (
    Condition,
    InferenceEnergy,
    Latency,
    measure_conditions,
    measure_energy,
    measure_latency,
)
from ayni.compress.evidence.peak_memory import peak_memory
from ayni.compress.ports import EnergyMeter
from ayni.compress.variants import Artefact

SHARE_OF_OTHERS = 0.3
"""Time for each condition that does not decide, beside one that does."""
MAX_SECONDS_FOR_BATCHES = 0.25
BATCH_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What was measured of each artefact, by its name."""

    latencies: Mapping[str, tuple[Latency, ...]]
    energies: Mapping[str, InferenceEnergy]
    memories: Mapping[str, int | None]


class Opens(Protocol):
    """Makes variants ready for inference, and has real inputs for them. ArtefactMaker is one."""

    def open(self, artefact: Artefact, *, num_threads: int = 1) -> Runtime:
        """The artefact on the CPU."""
        ...

    def inputs(self, batch_size: int) -> list[Any]:
        """What it is called with: several single examples, or one batch of more."""
        ...

    def opener(self, artefact: Artefact) -> Callable[[], Runtime] | None:
        """Opens the artefact in another process; None where that is impossible."""
        ...


def measure_variants(
    maker: Opens,
    artefacts: Sequence[Artefact],
    *,
    meter: EnergyMeter,
    seconds: float,
    with_memory: bool = False,
    num_cores: int | None = None,
) -> Costs:
    """Measure everything in turns, in this process.

    Cost: about 2 to 3 times `seconds` for each artefact, and some seconds more with memory.

    Raises:
        MeasurementFailedError: a variant does not run.
    """
    singles = maker.inputs(1)
    runtimes = {artefact.name: maker.open(artefact) for artefact in artefacts}
    first = measure_latency(runtimes, singles, seconds=seconds)
    energies = {
        name: measure_energy(
            runtime, singles, meter=meter, latency_seconds=first[name].p50_seconds, seconds=seconds
        )
        for name, runtime in runtimes.items()
    }
    slowest = max(latency.p50_seconds for latency in first.values())
    others = _other_conditions(num_cores or os.cpu_count() or 1, slowest)
    more = measure_conditions(
        lambda threads: {artefact.name: maker.open(artefact, num_threads=threads) for artefact in artefacts},
        maker.inputs,
        others,
        seconds=SHARE_OF_OTHERS * seconds,
    )
    return Costs(
        latencies={
            name: (first[name], *(of_condition[name] for of_condition in more.values())) for name in runtimes
        },
        energies=energies,
        memories={
            artefact.name: _memory(maker, artefact, singles) if with_memory else None
            for artefact in artefacts
        },
    )


def _other_conditions(num_cores: int, slowest_seconds: float) -> list[Condition]:
    sizes = (1, BATCH_SIZE) if slowest_seconds < MAX_SECONDS_FOR_BATCHES else (1,)
    conditions = [
        Condition(num_threads=threads, batch_size=size)
        for threads in sorted({1, num_cores})
        for size in sizes
    ]
    return conditions[1:]


def _memory(maker: Opens, artefact: Artefact, singles: Sequence[Any]) -> int | None:
    """Bytes that a form adds to a process; None for those that need the task's code, which is not sent."""
    opener = maker.opener(artefact)
    return None if opener is None else peak_memory(opener, singles).added_bytes
