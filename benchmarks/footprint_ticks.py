"""A stop that lands on a sampling tick: is anything counted twice, or lost? 100 runs.

A counter of constant power is metered for a whole number of sampling intervals, give or take half a
millisecond, so that the stop and the sampler meet. What the windows add up to must lie between what the
counter drew from after the start to before the stop, and from before the start to after the stop. A tick
counted twice would add a whole interval.

Not covered: power that changes within the run; the sum does not depend on it.
"""

import tempfile
import time
from pathlib import Path

from ayni.files import read_json_lines
from ayni.footprint.counters.cascade import NodeCounters
from ayni.footprint.counters.meters import CounterReading, ScriptedCounter
from ayni.footprint.receipts.verification import check_windows
from ayni.footprint.windows.cpu_time import ScriptedCpuClock
from ayni.footprint.windows.node_meter import NodeMeter
from benchmarks.registry import Benchmark, Outcome

INTERVAL_SECONDS = 0.05
MICROJOULES_PER_SECOND = 100_000_000
OFFSETS_SECONDS = (0.0005, 0.0, -0.0005, 0.0002)


class ConstantPower(ScriptedCounter):
    """100 W since the machine started. Fulfils `EnergyCounter`."""

    def read(self) -> CounterReading:
        return CounterReading(microjoules=_drawn_so_far())


def _drawn_so_far() -> int:
    return round(time.monotonic() * MICROJOULES_PER_SECOND)


def _meter_once(path: Path, *, num_intervals: int, offset: float) -> tuple[int, int, int, int]:
    """(at least, metered, at most) in microjoules, and the problems of the windows."""
    counters = NodeCounters(
        processor=ConstantPower(), device=None, unknown=(), notes=(), cpu_clock=ScriptedCpuClock()
    )
    meter = NodeMeter(path, job="run", counters=counters, reserved_cores=1, interval_seconds=INTERVAL_SECONDS)
    before = _drawn_so_far()
    meter.start()
    meter.begin_step("train")
    begun, inside = time.monotonic(), _drawn_so_far()
    time.sleep(max(0.0, begun + num_intervals * INTERVAL_SECONDS + offset - time.monotonic()))
    inside = _drawn_so_far() - inside
    meter.stop()
    outside = _drawn_so_far() - before
    windows = [row for row in read_json_lines(path) if row["kind"] == "window"]
    path.unlink()
    metered = sum(window["node_microjoules"] for window in windows)
    return inside, metered, outside, len(check_windows(windows))


def measure(quick: bool) -> Outcome:
    """Counts of runs that were wrong."""
    num_runs = 20 if quick else 100
    num_double, num_lost, num_problems, excess = 0, 0, 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(num_runs):
            at_least, metered, at_most, problems = _meter_once(
                Path(folder) / "windows.jsonl",
                num_intervals=1 + number % 4,
                offset=OFFSETS_SECONDS[number % len(OFFSETS_SECONDS)],
            )
            num_double += metered > at_most
            num_lost += metered < at_least
            num_problems += problems
            excess = max(excess, metered / at_most - 1)
    return Outcome(
        values={
            "runs": num_runs,
            "runs_that_counted_twice": num_double,
            "runs_that_lost_energy": num_lost,
            "windows_that_do_not_fit": num_problems,
            "largest_excess_share": excess,
        },
        seeds=(),
        met=num_double == num_lost == num_problems == 0,
    )


BENCHMARK = Benchmark(
    name="footprint_ticks",
    topic="footprint",
    bar="start and stop landing on a sampling tick, 100 times: no double count, nothing lost",
    seconds_quick=5,
    seconds_full=25,
    measure=measure,
)
