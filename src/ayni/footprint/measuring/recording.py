"""A measurement under way: a meter, a folder, and the receipts that both become when it ends.

What is wrong with the request or the home is an error before any work begins. From then on nothing raises
into the work that is measured: a disk that fills up, a meter that fails are told when the measurement ends,
and what was metered until then is kept.

Not covered: which process or block is measured (`measurement` for Python, `run_command` for commands).
"""

import contextlib
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ayni.errors import AyniError
from ayni.footprint.counters.cascade import NodeCounters, choose_counters
from ayni.footprint.counters.gpu_use import DEVICES, gpus_answer, has_gpu_files, hold_gpu
from ayni.footprint.impacts.sci import FunctionalUnit
from ayni.footprint.measuring.measured_footprint import Footprint, footprint_of
from ayni.footprint.measuring.measurement_folder import (
    FolderLock,
    Terms,
    make_measurement_folder,
    plain_name,
    write_result,
)
from ayni.footprint.measuring.measurement_receipts import (
    conditions_here,
    finish_abandoned,
    receipts_of_windows,
)
from ayni.footprint.receipts.receipt import Receipt
from ayni.footprint.windows.cpu_time import CpuClock, ProcCpuClock, choose_cpu_clock
from ayni.footprint.windows.node_meter import END, NodeMeter
from ayni.footprint.windows.usable_cores import usable_cores
from ayni.settings import Settings, read_settings
from ayni.signing import load_or_create_key

FIRST_STEP = "run"
_GPU = "gpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be measured, and where it runs.

    `zone` None is unknown, `reserved_cores` None all that the process may use, `uses_gpu` None finds out,
    `home` None is that of the settings. Without `save` nothing stays on the disk and nothing is signed.
    """

    name: str
    zone: str | None = None
    pue: float = 1.0
    reserved_cores: int | None = None
    uses_gpu: bool | None = None
    grid_files: tuple[Path, ...] = ()
    functional_unit: FunctionalUnit | None = None
    program: str | None = None
    home: Path | None = None
    save: bool = True

    def __post_init__(self) -> None:
        plain_name(self.name)
        if not 1 <= self.pue < math.inf:
            raise ValueError(f"PUE is facility energy over IT energy, so at least 1, not {self.pue}")
        if self.reserved_cores is not None and self.reserved_cores < 1:
            raise ValueError(f"a measurement reserves at least one core, not {self.reserved_cores}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of a recording; `footprint` is None when no receipt could be made.

    `problems` says what went wrong with measuring, in words for a person; empty when all is well.
    """

    receipts: tuple[Receipt, ...] = ()
    footprint: Footprint | None = None
    problems: tuple[str, ...] = ()


class Recording:
    """One measurement from its start to its receipts.

    Raises:
        UserError: the zone, a grid file, the home or its key cannot be used.
    """

    def __init__(
        self,
        request: Request,
        *,
        cpu_clock: CpuClock | None = None,
        devices: Path = DEVICES,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._devices = devices
        self._is_gpu_settled = False
        self._now = now
        settings = read_settings(home=request.home)
        self._conditions = conditions_here(request.zone, request.pue, request.grid_files)
        self._key = load_or_create_key(settings.key_path) if request.save else None
        if self._key is not None:
            finish_abandoned(settings.footprint_folder, self._key)
        self._counters = self._choose_counters(request, settings, cpu_clock or choose_cpu_clock())
        self._begin_folder(request, settings)
        self._step_names = {END, FIRST_STEP}
        self._step = FIRST_STEP
        self._units: dict[str, FunctionalUnit] = {}
        if request.functional_unit is not None:
            self._units[FIRST_STEP] = request.functional_unit
        self._meter = NodeMeter(
            self.folder / "meter" / "windows.jsonl",
            job=self.id,
            counters=self._counters,
            reserved_cores=self._terms.reserved_cores,
        )
        self._meter.start()
        self._meter.begin_step(FIRST_STEP)

    @property
    def id(self) -> str:
        """The name of its folder."""
        return self._terms.id

    def begin_step(self, name: str) -> str:
        """Meter a new step from now on; returns its name, which is the one given unless that was taken."""
        plain = plain_name(name)
        unique, number = plain, 1
        while unique in self._step_names:
            number += 1
            unique = f"{plain}-{number}"
        self._step_names.add(unique)
        self.go_on_with(unique)
        return unique

    def go_on_with(self, step: str) -> None:
        """Meter a step that was begun before."""
        self.look_for_gpu()
        self._meter.begin_step(step)
        self._step = step

    @property
    def step(self) -> str:
        """The step that is metered now."""
        return self._step

    def count(self, unit: FunctionalUnit) -> None:
        """Add to the functional units of the present step.

        Raises:
            ValueError: the step counts another unit.
        """
        before = self._units.get(self._step)
        if before is not None and before.name != unit.name:
            raise ValueError(f"the step {self._step} counts {before.name}, not {unit.name}")
        total = unit.count + (0.0 if before is None else before.count)
        self._units[self._step] = FunctionalUnit(name=unit.name, count=total)

    def look_for_gpu(self) -> None:
        """When a GPU is in use that nothing meters, the energy is unknown from here on."""
        if self._is_gpu_settled or not self._holds_gpu():
            return
        self._is_gpu_settled = True
        note = "A GPU was in use that no counter of this machine meters."
        counters = replace(self._counters, device=None, unknown=(_GPU,), notes=(*self._counters.notes, note))
        self._meter.change_counters(counters)

    def finish(self, status: str, **more: Any) -> Recorded:
        """End the measurement and write its receipts; `more` goes into result.json. Raises no AyniError."""
        problems: list[str] = []
        for ending in (self.look_for_gpu, self._meter.end_step, self._meter.stop):
            try:
                ending()
            except (AyniError, OSError) as error:
                problems.append(str(error))
        try:
            return self._finish(status, more, problems)
        except (AyniError, OSError, ValueError) as error:
            # The mark stays: whoever measures next in this home writes the receipts that are owed.
            if self._lock is not None:
                self._lock.forget()
            return Recorded(problems=(*problems, str(error)))

    def discard(self) -> None:
        """End a measurement of nothing, and leave nothing behind."""
        with contextlib.suppress(AyniError, OSError):
            self._meter.stop()
        if self._lock is not None:
            self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def forget(self) -> None:
        """In a forked child: the measurement is its parent's."""
        if self._lock is not None:
            self._lock.forget()

    def _finish(self, status: str, more: dict[str, Any], problems: list[str]) -> Recorded:
        receipts = receipts_of_windows(
            self.folder, self._terms, self._conditions, key=self._key, units=self._units
        )
        footprint = footprint_of(receipts)
        if self._lock is None:
            shutil.rmtree(self.folder.parent, ignore_errors=True)
        else:
            more = {**self._started, "ended_at": self._now().isoformat(), **more}
            write_result(self.folder, self._terms, status, **more, footprint=footprint.to_json())
            self._lock.release()
        return Recorded(receipts=tuple(receipts), footprint=footprint, problems=tuple(problems))

    def _choose_counters(self, request: Request, settings: Settings, clock: CpuClock) -> NodeCounters:
        is_there = has_gpu_files(self._devices)
        uses_gpu = request.uses_gpu
        if uses_gpu is None:
            uses_gpu = is_there and (gpus_answer() or self._holds_gpu())
        # Without the device file of a GPU nobody can begin to use one.
        self._is_gpu_settled = uses_gpu or request.uses_gpu is False or not is_there
        return choose_counters(uses_gpu=uses_gpu, cpu_clock=clock, node_folder=settings.meters_folder)

    def _holds_gpu(self) -> bool:
        return hold_gpu(ProcCpuClock().process_ids(), devices=self._devices)

    def _begin_folder(self, request: Request, settings: Settings) -> None:
        now = self._now()
        parent = settings.footprint_folder if request.save else Path(tempfile.mkdtemp(prefix="ayni-"))
        self.folder = make_measurement_folder(parent, request.name, now=now)
        unit = request.functional_unit
        self._terms = Terms(
            id=self.folder.name,
            name=request.name,
            program=request.program,
            node=os.uname().nodename,
            zone=request.zone,
            pue=request.pue,
            reserved_cores=request.reserved_cores or usable_cores(),
            grid_files=tuple(str(path.resolve()) for path in request.grid_files),
            functional_unit=None if unit is None else (unit.name, unit.count),
        )
        self._started = {"pid": os.getpid(), "started_at": now.isoformat()}
        self._lock = FolderLock(self.folder) if request.save else None
        write_result(self.folder, self._terms, "running", **self._started)
