"""One installation: settings become the concrete objects that workflows are given.

Everything is made when it is first asked for, and heavy libraries are imported there, so that `ayni verify`
and `ayni runs` work with the light install.
"""

import os
import socket
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ayni.errors import MissingExtraError
from ayni.settings import Settings

if TYPE_CHECKING:
    from ayni.database import Database
    from ayni.footprint.counters.cascade import NodeCounters
    from ayni.footprint.counters.power_model import PowerModel
    from ayni.footprint.grid.electricity_maps_api import ElectricityMapsApi
    from ayni.footprint.windows.node_meter import NodeMeter
    from ayni.hub.publishing import Hub
    from ayni.hub.repositories import LocalHub
    from ayni.jobs.runs import Run, Runs
    from ayni.jobs.spec import JobSpec
    from ayni.market.ledger import Ledger
    from ayni.train.config import TrainConfig
    from ayni.train.engine import Engine
    from ayni.wiring.hub_storage import HubStorage
    from ayni.workflows.house import House


class Installation:
    """The concrete things of one home, made when they are first used."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def runs(self) -> "Runs":
        """The runs of this home."""
        from ayni.jobs.runs import Runs

        return Runs(self._settings.runs_folder)

    @property
    def spill_folder(self) -> Path:
        """Where learners keep their optimizer state between rounds."""
        return self._settings.spill_folder

    @cached_property
    def database(self) -> "Database":
        """The database, opened and migrated."""
        try:
            from ayni.database import Database
        except ModuleNotFoundError as error:
            raise MissingExtraError(extra="database", package=error.name or "sqlalchemy") from error

        return Database(self._settings.database)

    @cached_property
    def ledger(self) -> "Ledger":
        """The credits of all members."""
        database = self.database
        from ayni.market.ledger import Ledger
        from ayni.market.store import DatabaseLedgerStore

        return Ledger(DatabaseLedgerStore(database))

    @cached_property
    def hub_storage(self) -> "HubStorage":
        """Where the hub keeps everything."""
        from ayni.wiring.hub_storage import HubStorage

        return HubStorage(self._settings, lambda: self.database)

    @cached_property
    def hub(self) -> "LocalHub":
        """The published repositories."""
        # First, for its own message where the extra is missing.
        database = self.database
        from ayni.hub.repositories import LocalHub

        storage = self.hub_storage
        return LocalHub(database, storage.content, self._settings.hub_folder, hooks=storage.commit_hooks())

    @cached_property
    def shared_hub(self) -> "Hub":
        """Where jobs publish and find models: the hub that settings name, or the one here."""
        from ayni.hub.connection import HubConnection
        from ayni.hub.remote_hub import RemoteHub

        url, token = self._settings.hub_url, self._settings.hub_token
        if url is None:
            return self.hub
        return RemoteHub(
            connect=lambda: HubConnection(url, token),
            folder=self._settings.hub_copies_folder,
            here=self.hub,
        )

    @cached_property
    def public_key(self) -> str | None:
        """This home's key; None when it has none yet."""
        from ayni.signing import load_or_create_key

        path = self._settings.key_path
        return load_or_create_key(path).public_key if path.exists() else None

    @cached_property
    def house(self) -> "House":
        """What workflows are given."""
        database = self.database
        import psutil

        from ayni.footprint.impacts.this_machine import this_machine
        from ayni.signing import load_or_create_key
        from ayni.workflows.house import House

        return House(
            runs=self.runs,
            database=database,
            ledger=self.ledger,
            hub=self.shared_hub,
            key=load_or_create_key(self._settings.key_path),
            node=socket.gethostname(),
            num_cores=_usable_cores(),
            memory_bytes=psutil.virtual_memory().total,
            spill_folder=self.spill_folder,
            make_engine=_make_engine,
            make_counters=self._make_counters,
            make_power_model=self._make_power_model,
            make_meter=self._make_meter,
            machine=this_machine,
            live_grid=self._live_grid,
            now=lambda: datetime.now(UTC),
        )

    @property
    def _live_grid(self) -> "ElectricityMapsApi | None":
        from ayni.wiring.footprint import NoTokenError, electricity_maps

        try:
            return electricity_maps(self._settings)
        except NoTokenError:
            return None

    def _make_counters(self, spec: "JobSpec") -> "NodeCounters":
        from ayni.footprint.counters.cascade import choose_counters

        return choose_counters(
            declared_watts=spec.site.cpu_watts,
            uses_gpu=_uses_gpu(spec.train.device),
            node_folder=self._settings.meters_folder,
        )

    def _make_power_model(self, spec: "JobSpec") -> "PowerModel":
        from ayni.footprint.counters.cascade import node_power_model

        return node_power_model(declared_watts=spec.site.cpu_watts, node_folder=self._settings.meters_folder)

    def _make_meter(self, found: "Run") -> "NodeMeter":
        from ayni.footprint.windows.node_meter import NodeMeter
        from ayni.workflows.offer import reserved_cores

        spec = found.job.spec
        return NodeMeter(
            found.folder / "meter" / "windows.jsonl",
            job=found.id,
            counters=self._make_counters(spec),
            reserved_cores=reserved_cores(spec, num_cores=_usable_cores()),
            choose_again=lambda: self._make_counters(spec),
        )


def _usable_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has (containers, taskset)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _make_engine(config: "TrainConfig") -> AbstractContextManager["Engine"]:
    from ayni.train.dask_engine import make_engine

    return make_engine(config)


def _uses_gpu(device: str) -> bool:
    from ayni.train.local import resolve_device

    return resolve_device(device).type != "cpu"
