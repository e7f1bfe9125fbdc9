"""What a workflow needs from outside: the concrete things that `ayni.wiring` puts together.

Not covered: choosing them. A test can build a house from in-memory twins.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ayni.footprint.counters.cascade import NodeCounters
from ayni.footprint.counters.power_model import PowerModel
from ayni.footprint.grid.intensity_series import IntensitySource
from ayni.footprint.impacts.embodied import Device
from ayni.footprint.windows.node_meter import NodeMeter
from ayni.jobs.runs import Run, Runs
from ayni.jobs.spec import JobSpec
from ayni.market.ledger import Ledger
from ayni.signing import SigningKey

if TYPE_CHECKING:
    from ayni.database import Database
    from ayni.hub.publishing import Hub
    from ayni.train.config import TrainConfig
    from ayni.train.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """One installation.

    Attributes:
        node: name of this machine, for receipts.
        num_cores, memory_bytes: what this machine has to offer.
        spill_folder: where learners keep optimizer state between rounds.
        make_engine: where learners run; a context manager that ends them.
        make_counters: the energy counters that this machine has for a job.
        make_power_model: what plans compute the energy of a job with.
        make_meter: the meter of a run, not started.
        machine: what making this machine took, spread over so many years of lifetime.
        live_grid: carbon intensity over the network; None when no token is set, and then nothing is asked.
        now: the clock, with a time zone.
    """

    runs: Runs
    database: "Database"
    ledger: Ledger
    hub: "Hub"
    key: SigningKey
    node: str
    num_cores: int
    memory_bytes: int
    spill_folder: Path
    make_engine: Callable[["TrainConfig"], AbstractContextManager["Engine"]]
    make_counters: Callable[[JobSpec], NodeCounters]
    make_power_model: Callable[[JobSpec], PowerModel]
    make_meter: Callable[[Run], NodeMeter]
    machine: Callable[[float], Device]
    live_grid: IntensitySource | None
    now: Callable[[], datetime]
