"""What one accelerator draws and how fast it trains, beside a V100.

    throughput = measured steps a second over those of a V100       K80, P100, V100
               = memory bandwidth over that of a V100               all others

Training of most networks waits for memory more often than for arithmetic, so bandwidth is the better of the
two figures on a data sheet. Where both are known it is close: K80 0.27 by bandwidth and 0.30 measured, P100
0.81 and 0.94. Single jobs stray far from the mean - 0.09 to 1.5 for the K80 - so a pool that has measured its
own work should offer its machines with its own figures.

Not covered: arithmetic of few bits, several accelerators that wait for each other, and accelerators that are
not in the table: their throughput is unknown, and who offers one says it.

Source: catalogues/NOTICE.md. The measured figures are geometric means over the 26 job types on one
accelerator of D. Narayanan et al., "Heterogeneity-Aware Cluster Scheduling Policies for Deep Learning
Workloads" (Gavel), OSDI 2020.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ayni.market.cloud_prices import BYTES_PER_GIB

REFERENCE = "V100"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One accelerator: power at full load, and training throughput with a V100 as 1.

    memory_gib is None where the figures hold for every size of its memory.
    """

    name: str
    memory_gib: int | None
    watts: float
    throughput: float
    is_measured: bool


def accelerator(name: str, *, memory_bytes: int | None = None) -> Accelerator | None:
    """What is known of an accelerator; None when nothing is.

    Of one that exists with several sizes of memory, the one of `memory_bytes`, or the slowest if that is
    not said: an estimate that is wrong should be so on the cautious side.
    """
    fitting = [found for found in accelerators() if found.name.casefold() == name.casefold()]
    if memory_bytes is not None and len(fitting) > 1:
        gib = round(memory_bytes / BYTES_PER_GIB)
        fitting = [found for found in fitting if found.memory_gib == gib]
    return min(fitting, key=lambda found: found.throughput, default=None)


@cache
def accelerators() -> Sequence[Accelerator]:
    """All of the table."""
    text = files("ayni.market").joinpath("catalogues/accelerators.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    (reference,) = (float(row["gigabytes_per_second"]) for row in rows if row["accelerator"] == REFERENCE)
    return tuple(_accelerator(row, reference) for row in rows)


def _accelerator(row: dict[str, str], reference_gigabytes_per_second: float) -> Accelerator:
    measured = row["measured_throughput"]
    by_bandwidth = float(row["gigabytes_per_second"]) / reference_gigabytes_per_second
    return Accelerator(
        name=row["accelerator"],
        memory_gib=int(row["memory_gib"]) if row["memory_gib"] else None,
        watts=float(row["watts"]),
        throughput=float(measured) if measured else round(by_bandwidth, 3),
        is_measured=bool(measured),
    )
