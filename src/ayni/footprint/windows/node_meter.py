"""The meter that runs beside a job: contiguous windows of energy, written as they end.

One thread wakes once a second; whoever closes a window holds the one lock, so that a step that ends
just when the thread wakes is not counted twice. Windows are numbered and touch each other: the sum of
the windows is the difference of the counters, from start to stop.

Time between two steps belongs to the step that follows, time after the last step to `end`. So every
window has a step, and a step whose end was called never changes again: its receipt can be written.
A crash loses the window that was open; the next start writes down how many seconds may have run
unmetered.

Counters may change while the meter runs, such as when a wall meter falls silent: the open window is closed
with the old ones, a new entry of the file names the new ones, and no window mixes two tiers.

Meters of the same node know of each other (`reservations`): side by side they share its idle power, and what
belongs to the others has an account of its own in every window.

Not covered: several jobs under one meter (the file has room for them), machines other than this one.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ayni.files import append_json_line, read_json_lines
from ayni.footprint.counters.cascade import NodeCounters
from ayni.footprint.counters.meters import CounterReading, EnergyEstimate, energy_between
from ayni.footprint.windows.attribution import JobShare, JobUse, WindowShares, attribute_window
from ayni.footprint.windows.reservation_shares import Standing
from ayni.footprint.windows.reservations import Presence
from ayni.footprint.windows.window_file import Row, WindowSpan, window_row
from ayni.units import MICROJOULES_PER_JOULE

# The step of windows after the last step: they have no receipt.
END = "end"
# Workers of a killed coordinator notice within a second or two and leave; on a loaded machine later.
_LONGEST_AFTERLIFE_SECONDS = 10.0
# One window without energy may be a slow answer; after three the counter is taken for lost.
_LOST_WINDOWS = 3
# Longer windows would leave a first one of any length.
_LONGEST_COMMON_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    """All counters at one moment, those of entry `meter`. `device` is None when the job uses no device."""

    meter: int
    at_seconds: float
    busy_cpu_seconds: float
    job_cpu_seconds: float
    processor: CounterReading
    device: CounterReading | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Difference:
    """What happened between two snapshots.

    `shares` is None when a counter lost track or is missing, `standing` when the node has no other meters.
    """

    seconds: float
    busy_cpu_seconds: float
    job_cpu_seconds: float
    standing: Standing | None
    shares: WindowShares | None


class NodeMeter:
    """Meters one job on this node and appends its windows to a file.

        with NodeMeter(path, job=run_id, counters=choose_counters(), reserved_cores=2) as meter:
            meter.begin_step("train", attempt=1)
            ...
            meter.end_step()

    `reserved_cores` is what the job keeps from others, used or not: their idle power is its own, shared in
    proportion where the reservations of all meters together exceed the node.
    `interval_seconds` (1 s) trades detail against size of the file and CPU time; no energy is lost by
    a longer one. `choose_again` gives other counters after three windows in a row in which these lost
    track; without it, windows stay unknown until they answer. Safe to call from several threads.
    """

    def __init__(
        self,
        path: Path,
        *,
        job: str,
        counters: NodeCounters,
        reserved_cores: int,
        num_cores: int | None = None,
        interval_seconds: float = 1.0,
        choose_again: Callable[[], NodeCounters] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._job = job
        self._counters = counters
        self._num_cores = num_cores or os.cpu_count() or 1
        self._reserved_cores = min(reserved_cores, self._num_cores)
        self._interval_seconds = interval_seconds
        self._choose_again = choose_again
        self._presence = Presence(counters.reservations, job=job, cores=self._reserved_cores)
        self._num_lost = 0
        self._next_counters: NodeCounters | None = None
        self._now = now
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._unmetered_since: datetime | None = None
        self._failure: Exception | None = None
        self._step: str | None = None
        self._attempt = 1
        self._in_step = False

    def __enter__(self) -> "NodeMeter":
        """Start."""
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop; the window that is open is written."""
        self.stop()

    def start(self) -> None:
        """Continue the file where it ends, note an interruption if there was one, and start sampling."""
        rows = [row for row in read_json_lines(self._path) if isinstance(row, dict)]
        self._window = max((row["window"] for row in rows if row.get("kind") == "window"), default=0)
        self._meter = 1 + max((row["meter"] for row in rows if row.get("kind") == "meter"), default=0)
        self._unmetered_since = _open_end(rows)
        self._started_at = datetime.now(UTC)
        self._start_seconds = self._now()
        # Before the first reading: whoever closes a window after it must already know of this meter.
        self._enter()
        try:
            append_json_line(self._path, self._meter_row())
            self._last = self._read_all()
        except Exception:
            self._presence.leave(now_seconds=self._now())
            raise
        self._thread = threading.Thread(target=self._sample, name="ayni-node-meter", daemon=True)
        self._thread.start()

    def begin_step(self, step: str, attempt: int = 1) -> None:
        """Meter `step` from now on; the time since the last step ended is its own as well."""
        assert self._thread is not None, "the meter was not started"
        with self._lock:
            self._note_interruption(step, attempt)
            if self._in_step:
                self._close_window()
            else:
                self._step, self._attempt = step, attempt
                self._close_window()
            self._step, self._attempt, self._in_step = step, attempt, True
            self._take_next_counters()
        self._raise_failure()

    def end_step(self) -> None:
        """Close the step's last window and let the file reach the device."""
        with self._lock:
            self._close_window(durable=True)
            self._in_step = False
        self._raise_failure()

    def change_counters(self, counters: NodeCounters) -> None:
        """Meter with other counters from now on; between two steps, from the next step on.

        The time between two steps is metered with the old ones still: it belongs to the step that follows.
        """
        with self._lock:
            self._next_counters = counters
            if self._in_step:
                self._close_window()
                self._take_next_counters()

    def stop(self) -> None:
        """Close the last window and end the thread. Further calls do nothing."""
        if self._thread is None:
            return
        self._stopping.set()
        self._thread.join()
        self._thread = None
        try:
            self._close_file()
        finally:
            self._presence.leave(now_seconds=self._last.at_seconds)
        self._raise_failure()

    def _close_file(self) -> None:
        with self._lock:
            if self._step is not None:
                self._step = self._step if self._in_step else END
                self._close_window()
            # Without a step, an interruption before this start is not written yet: leave its end open.
            if self._unmetered_since is None:
                at = self._instant(self._last.at_seconds).isoformat()
                append_json_line(self._path, {"kind": "stop", "at": at, "after_window": self._window})

    def measure(self, function: Callable[[], int]) -> EnergyEstimate:
        """Energy of one call of `function`, all of it; `function` returns how many repeats it did.

        Same counters and same split as the windows: the block's CPU time and the idle share of the
        reserved cores. Energy and CPU seconds are those of the whole job while the block runs. Let it
        run for half a second or more: CPU time ticks every 10 ms, so that half a second is read to 2 %.
        The windows of the step cover the block as well: never add the two.

        Raises:
            ValueError: the block reports less than one repeat.
        """
        before = self._read_all()
        num_repeats = function()
        if num_repeats < 1:
            raise ValueError(f"the measured block reports {num_repeats} repeats")
        difference = self._difference(before, self._read_all())
        joules = low = high = None
        if difference.shares is not None:
            share = difference.shares.jobs[self._job]
            joules, low, high = self._joules_with_interval(share)
        return EnergyEstimate(
            joules=joules,
            low_joules=low,
            high_joules=high,
            tier=self._counters.tier if difference.shares is not None else "W5",
            cpu_seconds=difference.job_cpu_seconds,
            wall_seconds=difference.seconds,
        )

    def _joules_with_interval(self, share: JobShare) -> tuple[float, float, float]:
        on_device = share.device_microjoules / MICROJOULES_PER_JOULE
        joules = share.total_microjoules / MICROJOULES_PER_JOULE
        trust = self._counters.processor.trust
        low, high = (joules - on_device) * trust.low_factor, (joules - on_device) * trust.high_factor
        if self._counters.device is not None:
            low += on_device * self._counters.device.trust.low_factor
            high += on_device * self._counters.device.trust.high_factor
        return joules, low, high

    def _sample(self) -> None:
        # Deadlines of a fixed grid: a late window does not shift those after it.
        deadline = self._first_deadline()
        while not self._stopping.wait(max(0.0, deadline - self._now())):
            late = max(0.0, self._now() - deadline)
            deadline += self._interval_seconds * (1 + late // self._interval_seconds)
            try:
                with self._lock:
                    self._tick()
            except Exception as error:
                # Kept for the job's own thread; the open window stays open, so its energy is not lost.
                self._failure = error

    def _first_deadline(self) -> float:
        """One grid for all meters of the node: who closes the same windows sees the same node in them."""
        now, interval = self._now(), self._interval_seconds
        is_common = interval <= _LONGEST_COMMON_SECONDS
        return (now // interval + 1) * interval if is_common else now + interval

    def _tick(self) -> None:
        if self._in_step:
            self._close_window()
            self._replace_lost_counters()
        else:
            # Between steps nothing is written, but a counter that is read in time cannot wrap twice.
            self._read_all()

    def _replace_lost_counters(self) -> None:
        if self._choose_again is not None and self._num_lost >= _LOST_WINDOWS:
            # Choosing may take seconds, which belong to the old counters.
            self._next_counters = self._choose_again()
            self._close_window()
            self._take_next_counters()

    def _take_next_counters(self) -> None:
        """Go on with the counters that were chosen last; the window before them is closed."""
        if self._next_counters is None:
            return
        self._counters, self._next_counters = self._next_counters, None
        self._num_lost = 0
        self._meter += 1
        self._enter()
        ended_seconds, self._last = self._last.at_seconds, self._read_all()
        until = self._instant(self._last.at_seconds)
        append_json_line(self._path, self._meter_row(at=until))
        # What lies between the last reading of the old counters and the first of the new: milliseconds.
        gap_seconds = self._last.at_seconds - ended_seconds
        assert self._step is not None, "counters change within a step"
        self._write_interruption(self._step, self._attempt, until=until, seconds=gap_seconds)

    def _close_window(self, *, durable: bool = False) -> None:
        if self._step is None:
            return
        current = self._read_all()
        difference = self._difference(self._last, current)
        span = WindowSpan(
            window=self._window + 1,
            meter=self._meter,
            step=self._step,
            attempt=self._attempt,
            started_at=self._instant(self._last.at_seconds),
            ended_at=self._instant(current.at_seconds),
            seconds=difference.seconds,
            busy_cpu_seconds=difference.busy_cpu_seconds,
            job_cpu_seconds={self._job: difference.job_cpu_seconds},
            **self._left_by_neighbours(difference.standing),
        )
        # Not flushed to the device each second: a killed process loses nothing by that, and what a power
        # loss takes is inside the bound of the interruption. Moved on only once it is written.
        append_json_line(self._path, window_row(span, difference.shares), durable=durable)
        self._last, self._window, self._failure = current, self._window + 1, None
        self._num_lost = self._num_lost + 1 if difference.shares is None else 0

    def _difference(self, before: _Snapshot, after: _Snapshot) -> _Difference:
        seconds = after.at_seconds - before.at_seconds
        busy = max(0.0, after.busy_cpu_seconds - before.busy_cpu_seconds)
        used = max(0.0, after.job_cpu_seconds - before.job_cpu_seconds)
        processor = energy_between(before.processor, after.processor)
        device: int | None = 0
        if before.device is not None and after.device is not None:
            device = energy_between(before.device, after.device)
        standing = self._standing(before.at_seconds, after.at_seconds)
        shares = None
        is_one_meter = before.meter == after.meter
        if is_one_meter and processor is not None and device is not None and not self._counters.unknown:
            use = JobUse(cpu_seconds=used, reserved_cores=self._reserved_cores, device_microjoules=device)
            shares = attribute_window(
                processor,
                {self._job: use},
                seconds=seconds,
                idle_watts=self._counters.processor.idle_watts,
                busy_cpu_seconds=busy,
                num_cores=self._num_cores,
                standing=standing,
            )
        return _Difference(
            seconds=seconds, busy_cpu_seconds=busy, job_cpu_seconds=used, standing=standing, shares=shares
        )

    def _enter(self) -> None:
        self._presence.enter(has_devices=self._counters.device is not None, now_seconds=self._now())

    def _standing(self, since_seconds: float, until_seconds: float) -> Standing | None:
        """Where the job stands among those of other meters; None when there are none."""
        own = self._presence.own
        others = self._presence.others(since_seconds=since_seconds, until_seconds=until_seconds)
        if own is None or not others:
            return None
        return Standing(
            own=own,
            others=others,
            since_seconds=since_seconds,
            until_seconds=until_seconds,
            num_cores=self._num_cores,
        )

    def _left_by_neighbours(self, standing: Standing | None) -> dict[str, Any]:
        """The fields of a window that say what sharing left to the job, and who is around it."""
        if standing is None:
            return {"reserved_cores": {self._job: float(self._reserved_cores)}}
        has_device = self._counters.device is not None
        return {
            "reserved_cores": {self._job: standing.cores},
            "device_share": {self._job: standing.device_share} if has_device else {},
            "within": standing.outers,
        }

    def _read_all(self) -> _Snapshot:
        device = self._counters.device
        return _Snapshot(
            meter=self._meter,
            at_seconds=self._now(),
            busy_cpu_seconds=self._counters.cpu_clock.node_busy_seconds(),
            job_cpu_seconds=self._counters.cpu_clock.job_busy_seconds(),
            processor=self._counters.processor.read(),
            device=None if device is None else device.read(),
        )

    def _instant(self, at_seconds: float) -> datetime:
        """Wall-clock time of a moment: one look at the clock per start, so that windows touch."""
        return self._started_at + timedelta(seconds=at_seconds - self._start_seconds)

    def _meter_row(self, *, at: datetime | None = None) -> Row:
        return {
            "kind": "meter",
            "meter": self._meter,
            "at": (at or self._started_at).isoformat(),
            "node": os.uname().nodename,
            "cores": self._num_cores,
            "reserved_cores": self._reserved_cores,
            "idle_watts": self._counters.processor.idle_watts,
            **self._counters.to_json(),
            "notes": [*self._counters.notes, *([self._presence.note] if self._presence.note else [])],
        }

    def _note_interruption(self, step: str, attempt: int) -> None:
        """Write down what may have run unmetered before this start; charged to the step that follows."""
        if self._unmetered_since is None:
            return
        gap_seconds = (self._started_at - self._unmetered_since).total_seconds()
        # A meter that lived longer than its interval would have written another window, and workers leave
        # soon after the process that started them; the rest of the gap nothing ran.
        gap_seconds = min(gap_seconds, self._interval_seconds + _LONGEST_AFTERLIFE_SECONDS)
        self._write_interruption(step, attempt, until=self._started_at, seconds=gap_seconds)
        self._unmetered_since = None

    def _write_interruption(self, step: str, attempt: int, *, until: datetime, seconds: float) -> None:
        interruption = {
            "kind": "interruption",
            "step": step,
            "attempt": attempt,
            "after_window": self._window,
            "until": until.isoformat(),
            # A wall clock that was set back must not make this negative.
            "unmetered_seconds_at_most": round(max(0.0, seconds), 3),
        }
        append_json_line(self._path, interruption)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure


def _open_end(rows: list[Row]) -> datetime | None:
    """Until when a file is metered whose meter never stopped in good order; None when it did."""
    since: str | None = None
    for row in rows:
        match row.get("kind"):
            case "meter":
                since = since or row["at"]
            case "window":
                since = row["ended_at"]
            case "interruption":
                since = row["until"]
            case "stop":
                since = None
    return None if since is None else datetime.fromisoformat(since)
