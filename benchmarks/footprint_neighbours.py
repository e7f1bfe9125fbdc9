"""Eight meters of one job on one node: how often its idle power is counted, and what it costs to know.

Eight processes meter themselves side by side, each reserving the whole machine, at one window a second. The
idle energy and the core-hours of all their windows are compared with what the machine had from the first
window to the last. The same eight with reservations that nobody sees stand beside it. The cost is the CPU
time of a thread that looks at the others and divides among them, as each meter does once a window, times
eight.

Not covered: the cost of sampling itself, which is `footprint_sampler`; meters of other users.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from ayni.files import read_json_lines
from ayni.footprint.windows.reservation_folder import ReservationFolder
from ayni.footprint.windows.reservation_shares import Standing
from benchmarks.registry import Benchmark, Outcome

NUM_METERS = 8
METER = """
import json, os, sys, time
from dataclasses import replace
from pathlib import Path
from ayni.footprint.counters.cascade import choose_counters
from ayni.footprint.windows.node_meter import NodeMeter
from ayni.footprint.windows.reservation_folder import ReservationFolder
folder, job, is_seen = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "seen"
counters = replace(choose_counters(), reservations=ReservationFolder(folder / "node") if is_seen else None)
cores = os.cpu_count() or 1
with NodeMeter(folder / f"{job}.jsonl", job=job, counters=counters, reserved_cores=cores) as meter:
    meter.begin_step("train")
    print("here", flush=True)
    sys.stdin.readline()
    meter.end_step()
print(json.dumps({"idle_watts": counters.processor.idle_watts, "cores": cores}))
"""


def _meter_side_by_side(folder: Path, seconds: float, *, is_seen: bool) -> tuple[float, float]:
    """How many machines the meters made of one: by idle energy, and by core-hours."""
    jobs = [f"rank{number}" for number in range(NUM_METERS)]
    started = [_start(METER, str(folder), job, "seen" if is_seen else "unseen") for job in jobs]
    time.sleep(seconds)
    machine: dict[str, Any] = {}
    for process in started:
        machine = json.loads(process.communicate("\n", timeout=300)[0])
    windows = {
        job: [row for row in read_json_lines(folder / f"{job}.jsonl") if row["kind"] == "window"]
        for job in jobs
    }
    start = min(datetime.fromisoformat(found[0]["started_at"]) for found in windows.values())
    end = max(datetime.fromisoformat(found[-1]["ended_at"]) for found in windows.values())
    span = (end - start).total_seconds()
    idle = sum(window["jobs"][job]["idle_microjoules"] for job in jobs for window in windows[job])
    cores = sum(
        window["seconds"] * window["jobs"][job]["reserved_cores"] for job in jobs for window in windows[job]
    )
    return idle / 1e6 / (machine["idle_watts"] * span), cores / (machine["cores"] * span)


def _start(code: str, *arguments: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    if process.stdout.readline() != "here\n":
        raise RuntimeError("a meter did not start")
    return process


WAIT = """
import sys, time
from pathlib import Path
from ayni.footprint.windows.reservation_folder import ReservationFolder
folder = ReservationFolder(Path(sys.argv[1]))
own = folder.enter(job="rank", cores=2, has_devices=False, now_seconds=time.monotonic())
print("here", flush=True)
sys.stdin.readline()
"""


def _cost_of_a_window(folder: Path, num_windows: int) -> float:
    """CPU seconds that one of the meters spends on the others in one window."""
    others = [_start(WAIT, str(folder)) for _ in range(NUM_METERS - 1)]
    registry = ReservationFolder(folder)
    own = registry.enter(job="own", cores=2, has_devices=False, now_seconds=time.monotonic())
    time.sleep(1.1)  # a window in which nobody came, as they are once the job is under way

    def look() -> None:
        now = time.monotonic()
        found = registry.look(own, since_seconds=now - 1, until_seconds=now)
        assert len(found) == NUM_METERS - 1
        standing = Standing(own=own, others=found, since_seconds=now - 1, until_seconds=now, num_cores=2)
        standing.split_idle(50_000_000)
        assert standing.cores > 0 and not standing.outers[1:]

    try:
        return statistics.median(_cpu_seconds(look) for _ in range(num_windows))
    finally:
        for process in others:
            process.communicate("\n", timeout=60)
        registry.leave(own, now_seconds=time.monotonic())


def _cpu_seconds(work: Callable[[], None]) -> float:
    before = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - before) / 1e9


def measure(quick: bool) -> Outcome:
    """Ten seconds of eight meters, or a minute; the cost is a median over windows."""
    seconds = 5.0 if quick else 60.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "unseen").mkdir()
        idle, cores = _meter_side_by_side(folder, seconds, is_seen=True)
        unseen, _ = _meter_side_by_side(folder / "unseen", seconds, is_seen=False)
        leftover = sum(1 for _ in (folder / "node").iterdir())
        cost = _cost_of_a_window(folder / "cost", 200 if quick else 2000)
    share = cost * NUM_METERS
    values = {
        "meters": NUM_METERS,
        "machines_counted_by_idle_energy": idle,
        "machines_counted_by_core_hours": cores,
        "machines_counted_without_reservations": unseen,
        "share_of_a_core_for_all_meters": share,
        "files_left_behind": leftover,
    }
    return Outcome(values=values, seeds=(), met=max(idle, cores) <= 1.01 and share <= 0.003 and not leftover)


BENCHMARK = Benchmark(
    name="footprint_neighbours",
    topic="footprint",
    bar="eight meters that each reserve the machine count it once (at most 1.01 times by idle energy and by "
    "core-hours); knowing each other costs all of them together at most 0.3 % of a core; no file is left",
    seconds_quick=30,
    seconds_full=150,
    measure=measure,
)
