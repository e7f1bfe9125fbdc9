"""Calibrates this node and stores what was found: where its wall meter is read, and its own power model.

    a wall meter           named now, or set up before
    and, or else, RAPL     beside the wall it joins the two (W1+); alone it is the reference
    neither                refused: nothing could be learned

A wall meter that stays is written down before the loads run, so that it is not lost when they are stopped.

Not covered: GPUs, and judging whether the meter shows this machine. What speaks against it is a note.
"""

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayni.errors import UserError
from ayni.footprint.counters.calibrate import CalibrationPlan, Instruments, Load, ProcessLoad, calibrate_node
from ayni.footprint.counters.cascade import choose_counters, read_wall_source, write_wall_source
from ayni.footprint.counters.cpu_frequency import Frequency, find_frequency
from ayni.footprint.counters.meters import EnergyCounter, MeterUnavailableError
from ayni.footprint.counters.node_model import NodeCalibrationError, NodeModel, PowerPoint, write_node_model
from ayni.footprint.counters.rapl_counter import POWERCAP, RaplCounter
from ayni.footprint.counters.wall_meter import WallCounter, WallSource
from ayni.footprint.windows.cpu_time import CpuClock, choose_cpu_clock
from ayni.workflows.progress import Progress, SilentProgress

STEP = "calibrate"
_BUSY_AT_IDLE = 0.10
_POOR_FIT = 0.15
_LEAST_RISE = 1.10


class NoReferenceMeterError(UserError):
    """Nothing here shows what the node draws, so that no model of it can be fitted."""

    def __init__(self, reasons: str) -> None:
        super().__init__(
            f"There is nothing to calibrate against. {reasons} Borrow a power meter for two minutes and name "
            "the command or file that reads it: --wall-command or --wall-file."
        )


class WallSetupError(UserError):
    """What was said of a wall meter cannot be, or the meter that was named does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateRequest:
    """What to calibrate against, and how long.

    `wall_command` (as in a shell, but run without one) or `wall_file` name a wall meter; None takes the one
    that is set up. `unit` is that of a bare number. A meter that `is_borrowed` is not written down. With
    `is_only_setup` no load is run.
    """

    wall_command: str | None = None
    wall_file: Path | None = None
    unit: str | None = None
    accuracy_percent: float = 5.0
    seconds: float = 120.0
    is_borrowed: bool = False
    is_only_setup: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What carries a calibration out: load, clocks and time; tests give pretended ones."""

    load: Load
    cpu_clock: CpuClock
    frequency: Frequency | None
    num_cpus: int
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class _References:
    wall: WallCounter | None
    component: RaplCounter | None
    notes: tuple[str, ...]

    @property
    def reference(self) -> EnergyCounter:
        found = self.wall or self.component
        if found is None:
            raise NoReferenceMeterError(" ".join(self.notes))
        return found


def calibrate(
    request: CalibrateRequest,
    node_folder: Path,
    *,
    progress: Progress | None = None,
    bench: Bench | None = None,
    powercap: Path = POWERCAP,
) -> dict[str, Any]:
    """Run known loads beside a trusted meter and store the node's model; keys: docs/meters.md.

    Without a `bench` processes keep this machine's CPUs busy.

    Raises:
        WallSetupError: neither command nor file, an unknown unit, or no answer.
        NoReferenceMeterError: no wall meter, and no RAPL.
        NodeCalibrationError: the levels do not tell how power depends on load; nothing is stored then.
    """
    source = _wall_source(request)
    now = time.monotonic if bench is None else bench.now
    references = _open_references(source, node_folder, powercap, now)
    reference = references.reference
    result: dict[str, Any] = {"wall_file": None, "model_file": None, "model": None, "fit": []}
    if source is not None and not request.is_borrowed:
        result["wall_file"] = str(write_wall_source(node_folder, source))
    notes = list(references.notes)
    if not request.is_only_setup:
        try:
            model, lost = _run(request, references, progress or SilentProgress(), bench)
        except NodeCalibrationError as error:
            if result["wall_file"]:
                error.add_note(f"The wall meter is set up all the same: {result['wall_file']}")
            raise
        result["model_file"] = str(write_node_model(node_folder, model))
        result["model"] = model.to_json()
        result["fit"] = [_fitted(model, point) for point in model.points]
        notes += _remarks(model) + ([f"The meter lost track in {lost} levels"] if lost else [])
    chosen = choose_counters(node_folder=node_folder, powercap=powercap)
    return {
        **result,
        "reference": reference.trust.to_json(),
        "tier_now": chosen.processor.trust.tier,
        "method_now": chosen.processor.trust.method,
        "notes": notes,
    }


def _wall_source(request: CalibrateRequest) -> WallSource | None:
    if request.wall_command is None and request.wall_file is None:
        if request.is_only_setup or request.is_borrowed or request.unit is not None:
            raise WallSetupError(
                "Which wall meter? --unit, --borrowed and --only-setup belong to one that is named by "
                "--wall-command or --wall-file."
            )
        return None
    try:
        return WallSource(
            command=_command(request.wall_command),
            file=None if request.wall_file is None else str(request.wall_file.expanduser().resolve()),
            unit=request.unit,
            accuracy_percent=request.accuracy_percent,
        )
    except ValueError as error:
        raise WallSetupError(f"The wall meter cannot be set up: {error}.") from error


def _command(text: str | None) -> tuple[str, ...]:
    words = shlex.split(text or "")
    # It will be run from other folders than this one.
    if words and "/" in words[0]:
        words[0] = str(Path(words[0]).expanduser().absolute())
    return tuple(words)


def _open_references(
    named: WallSource | None, node_folder: Path, powercap: Path, now: Callable[[], float]
) -> _References:
    notes: list[str] = []
    wall = _wall_of_before(node_folder, notes, now) if named is None else _named_wall(named, now)
    component = None
    try:
        component = RaplCounter(powercap=powercap, now=now)
    except MeterUnavailableError as error:
        notes.append(str(error))
    return _References(wall=wall, component=component, notes=tuple(notes))


def _named_wall(source: WallSource, now: Callable[[], float]) -> WallCounter:
    try:
        return WallCounter(source, now=now)
    except MeterUnavailableError as error:
        # An answer that is no number with a unit has no cause; a meter that cannot be read has one.
        hint = " Declare it with --unit W, or another." if error.__cause__ is None else ""
        raise WallSetupError(f"{error}{hint}") from error


def _wall_of_before(node_folder: Path, notes: list[str], now: Callable[[], float]) -> WallCounter | None:
    """The wall meter that was set up, when it still answers."""
    try:
        source = read_wall_source(node_folder)
        return None if source is None else WallCounter(source, now=now)
    except MeterUnavailableError as error:
        notes.append(str(error))
        return None


def _run(
    request: CalibrateRequest, references: _References, progress: Progress, bench: Bench | None
) -> tuple[NodeModel, int]:
    """The model, and the number of levels in which the meter lost track."""
    with ProcessLoad() as load:
        given = bench or _this_machine(load)
        plan = CalibrationPlan.lasting(request.seconds, num_cpus=given.num_cpus)
        num_levels = len(plan.levels(given.num_cpus))
        shown = _Shown(progress, given, num_levels=num_levels, seconds=plan.seconds(given.num_cpus))
        model = calibrate_node(
            Instruments(
                reference=references.reference,
                component=references.component if references.wall is not None else None,
                cpu_clock=given.cpu_clock,
                frequency=given.frequency,
            ),
            given.load,
            num_cpus=given.num_cpus,
            plan=plan,
            on_point=shown.point,
            now=given.now,
            sleep=shown.sleep,
        )
    progress.finished(STEP, text=f"{len(model.points)} loads, mean error {model.mean_error:.1%}")
    return model, num_levels - len(model.points)


def _this_machine(load: Load) -> Bench:
    import psutil

    return Bench(
        load=load,
        cpu_clock=choose_cpu_clock(),
        frequency=find_frequency(),
        num_cpus=psutil.cpu_count() or 1,
    )


class _Shown:
    """Turns the sleeps and points of a calibration into progress."""

    def __init__(self, progress: Progress, bench: Bench, *, num_levels: int, seconds: float) -> None:
        self._progress = progress
        self._sleep = bench.sleep
        self._num_levels = num_levels
        self._slept = 0.0
        self._num_points = 0
        self._text = "idle"
        progress.started(STEP, total=seconds)

    def sleep(self, seconds: float) -> None:
        self._sleep(seconds)
        self._slept += seconds
        self._progress.advanced(STEP, done=self._slept, text=self._text)

    def point(self, point: PowerPoint) -> None:
        self._num_points += 1
        self._text = f"{self._num_points} of {self._num_levels}: {point.load:.0%} busy, {point.watts:.3g} W"
        self._progress.advanced(STEP, done=self._slept, text=self._text)


def _fitted(model: NodeModel, point: PowerPoint) -> dict[str, float | None]:
    """A level as it was measured, and what the curve gives for it."""
    return {
        "load": point.load,
        "watts": point.watts,
        "frequency_share": point.frequency_share,
        "component_watts": point.component_watts,
        "model_watts": model.curve.watts(point.load, point.frequency_share),
    }


def _remarks(model: NodeModel) -> list[str]:
    """What speaks against the calibration."""
    lowest = min(model.points, key=lambda point: point.load)
    watts = [point.watts for point in model.points]
    remarks = []
    if lowest.load > _BUSY_AT_IDLE:
        remarks.append(
            f"The node was {lowest.load:.0%} busy when it should have been idle: below that the curve is a "
            "guess. Calibrate again while nothing else runs"
        )
    if max(watts) < _LEAST_RISE * min(watts):
        remarks.append(
            f"The power hardly changed, {min(watts):.3g} to {max(watts):.3g} W: look whether the meter shows "
            "this machine"
        )
    if model.mean_error > _POOR_FIT:
        remarks.append(
            f"The curve misses the points by {model.mean_error:.0%} on average, as if something else than "
            "load had changed the power. Calibrate again while nothing else runs"
        )
    return remarks
