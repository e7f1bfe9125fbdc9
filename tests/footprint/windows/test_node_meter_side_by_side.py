"""Several meters on one node: they share its idle power and its GPUs, and nothing is counted twice."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.footprint.pretended_node import CORES, IDLE_WATTS, Node

from ayni.files import read_json_lines
from ayni.footprint.counters.cascade import NodeCounters, choose_counters
from ayni.footprint.receipts.verification import check_windows
from ayni.footprint.windows.cpu_time import ScriptedCpuClock
from ayni.footprint.windows.node_meter import NodeMeter
from ayni.footprint.windows.reservation_folder import ReservationFolder


def test_eight_ranks_that_each_measure_are_one_machine(tmp_path: Path) -> None:
    node = Node(tmp_path)
    ranks = [f"rank{number}" for number in range(8)]
    for rank in ranks:
        node.start(rank, cores=CORES, holds_gpu=True)
    node.work(10.0, dict.fromkeys(ranks, 2.0), device=80_000_000)
    for rank in reversed(ranks):
        node.stop(rank)

    totals = [node.total(rank) for rank in ranks]
    # 20 J of idle, 160 J of work, 80 J of the GPU: the first to stop sees what the last one sees.
    assert sum(total.job_microjoules or 0 for total in totals) == 260_000_000
    assert {total.node_microjoules for total in totals} == {260_000_000}
    assert sum(total.core_seconds for total in totals) == pytest.approx(10.0 * CORES)
    assert all(check_windows(node.windows(rank)) == [] for rank in ranks)
    assert all(total.within_runs == () for total in totals)


def test_what_neighbours_reserve_has_an_account_of_its_own(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.start("one", cores=1)
    node.start("two", cores=2)
    node.work(10.0, {"one": 3.0, "two": 5.0})
    node.stop("one")

    total = node.total("one")
    assert total.job_microjoules == 30_000_000 + 5_000_000
    assert total.other_microjoules == 50_000_000
    assert total.neighbours_microjoules == 10_000_000
    assert total.unreserved_idle_microjoules == 5_000_000
    assert total.node_microjoules == 100_000_000
    node.stop("two")


def test_a_meter_inside_another_says_so_and_how_much_both_count(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.start("outer", cores=4)
    node.start("inner", cores=2, holds_gpu=True, within="outer")
    node.work(10.0, {"outer": 1.0, "inner": 3.0}, device=7_000_000)
    node.stop("inner")
    node.stop("outer")

    inner, outer = node.total("inner"), node.total("outer")
    assert (inner.within_runs, outer.within_runs) == (("outer",), ())
    assert outer.job_microjoules == 40_000_000 + 20_000_000
    assert inner.job_microjoules == 30_000_000 + 10_000_000 + 7_000_000
    # The outer one does not read the GPU: the inner one's joules of it are counted by nobody else.
    assert inner.within_microjoules == 40_000_000
    assert outer.within_microjoules == 0


def test_an_outer_meter_that_reads_the_gpu_counts_that_of_the_inner_one_as_well(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.start("outer", cores=4, holds_gpu=True)
    for rank in ("rank 1", "rank 2"):
        node.start(rank, cores=4, holds_gpu=True, within="outer")
    node.work(10.0, {"rank 1": 1.0, "rank 2": 2.0}, device=7_000_000)
    for job in ("rank 1", "rank 2", "outer"):
        node.stop(job)

    outer, *ranks = (node.total(job) for job in ("outer", "rank 1", "rank 2"))
    assert [rank.within_microjoules for rank in ranks] == [rank.job_microjoules for rank in ranks]
    assert sum(rank.job_microjoules or 0 for rank in ranks) == outer.job_microjoules == 57_000_000


def test_a_meter_that_outlives_the_one_around_it_counts_alone_from_then_on(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.start("outer", cores=2)
    node.start("inner", cores=2, within="outer")
    node.work(1.0, {"inner": 1.0})
    node.meters["inner"].begin_step("train")
    node.stop("outer")
    node.work(1.0, {"inner": 1.0})
    node.stop("inner")

    assert [len(window["within"]) for window in node.windows("inner")[-3:-1]] == [1, 0]
    assert node.total("inner").job_microjoules == 2 * 11_000_000
    assert node.total("inner").within_microjoules == 11_000_000


def test_a_measured_block_shares_the_idle_power_like_a_window(tmp_path: Path) -> None:
    node = Node(tmp_path)
    meter = node.start("one", cores=4)
    node.start("two", cores=4)

    def block() -> int:
        node.work(10.0, {"one": 1.0})
        return 1

    assert meter.measure(block).joules == pytest.approx(10.0 + 10.0)
    node.stop("one")
    node.stop("two")


def test_a_meter_that_takes_up_the_gpu_shares_it_from_then_on(tmp_path: Path) -> None:
    node = Node(tmp_path)
    meter = node.start("one", cores=1)
    node.start("two", cores=1, holds_gpu=True)
    node.work(1.0, {}, device=1_000_000)
    node.meters["two"].begin_step("train")
    counters = NodeCounters(
        processor=node.processor,
        device=node.device,
        unknown=(),
        notes=(),
        cpu_clock=node.clocks["one"],
        reservations=node.reservations,
    )
    node.reservations.lineage = node.lineage("one")
    meter.change_counters(counters)
    node.work(1.0, {}, device=1_000_000)
    node.stop("one")
    node.stop("two")

    device = {
        job: [window["jobs"][job]["device_microjoules"] for window in node.windows(job)]
        for job in ("one", "two")
    }
    assert (sum(device["one"]), sum(device["two"])) == (500_000, 1_500_000)


def test_a_meter_that_cannot_be_seen_says_why_in_its_file(tmp_path: Path) -> None:
    node = Node(tmp_path)
    closed = ReservationFolder(tmp_path / "no" / "folder")
    counters = NodeCounters(
        processor=node.processor,
        device=None,
        unknown=(),
        notes=("tried",),
        cpu_clock=ScriptedCpuClock(),
        reservations=closed,
    )
    with NodeMeter(tmp_path / "w.jsonl", job="run", counters=counters, reserved_cores=1) as meter:
        meter.begin_step("train")
        meter.end_step()

    notes = read_json_lines(tmp_path / "w.jsonl")[0]["notes"]
    assert notes[0] == "tried"
    assert "cannot see each other" in notes[1]


def test_a_meter_whose_file_cannot_be_written_reserves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "node"
    counters = replace(choose_counters(), reservations=ReservationFolder(folder))
    meter = NodeMeter(tmp_path / "file" / "w.jsonl", job="run", counters=counters, reserved_cores=1)

    with pytest.raises(Exception, match="Cannot write"):
        meter.start()

    assert list(folder.iterdir()) == []


@st.composite
def schedules(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Meters come, close windows and go in any order, some inside another, while the node works."""
    events: list[tuple[str, Any]] = []
    running: list[str] = []
    for number in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(["start", "start", "work", "work", "close", "stop"]))
        if kind == "start":
            job = f"job{number}"
            within = draw(st.sampled_from([None, *running]))
            events.append(("start", (job, draw(st.integers(0, CORES)), draw(st.booleans()), within)))
            running.append(job)
        elif kind == "work":
            busy = {job: draw(st.integers(0, 4)) / 4 for job in running}
            seconds = draw(st.sampled_from([0.25, 0.5, 1.0, 2.0]))
            events.append(("work", (seconds, busy, draw(st.integers(0, 2)) / 4, draw(st.integers(0, 10**7)))))
        elif running:
            job = draw(st.sampled_from(running))
            events.append((kind, job))
            if kind == "stop":
                running.remove(job)
    return (
        events + [("work", (1.0, {}, 0.5, 999))] + [("stop", job) for job in draw(st.permutations(running))]
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedule=schedules())
def test_jobs_that_are_metered_apart_never_draw_more_than_the_node_together(
    schedule: list[tuple[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    node = Node(tmp_path_factory.mktemp("node"))
    device_drawn = 0
    for kind, given_ in schedule:
        if kind == "start":
            job, cores, holds_gpu, within = given_
            node.start(job, cores=cores, holds_gpu=holds_gpu, within=within)
        elif kind == "work":
            seconds, busy, others, device = given_
            node.work(seconds, busy, others=others, device=device)
            device_drawn += device
        elif kind == "close":
            node.meters[given_].begin_step("train")
        else:
            node.stop(given_)

    jobs = list(node.clocks)
    windows = {job: node.windows(job) for job in jobs}
    for job in jobs:
        assert check_windows(windows[job]) == []
    # Every piece of a window is rounded by less than a microjoule for each account.
    rounding = sum(8 + 8 * len(jobs) for job in jobs for _ in windows[job])
    apart = sum(
        (node.total(job).job_microjoules or 0) - (node.total(job).within_microjoules or 0) for job in jobs
    )
    assert apart <= node.processor.read().microjoules + device_drawn + rounding
    idle = sum(
        window["jobs"][job]["idle_microjoules"]
        for job in jobs
        for window in windows[job]
        if not window["within"]
    )
    assert idle <= round(1e6 * IDLE_WATTS * node.seconds) + rounding
    cores = sum(
        window["seconds"] * window["jobs"][job]["reserved_cores"]
        for job in jobs
        for window in windows[job]
        if not window["within"]
    )
    assert cores <= CORES * node.seconds + 1e-5 * len(jobs) * 10


METER = """
import os, sys, time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from ayni.footprint.counters.cascade import choose_counters
from ayni.footprint.windows.node_meter import NodeMeter
from ayni.footprint.windows.reservation_folder import ReservationFolder
folder, job = Path(sys.argv[1]), sys.argv[2]
counters = replace(choose_counters(), reservations=ReservationFolder(folder / "node"))
meter = NodeMeter(folder / f"{job}.jsonl", job=job, counters=counters, reserved_cores=os.cpu_count(),
                  interval_seconds=0.1)
with meter:
    meter.begin_step("train")
    print("here", flush=True)
    sys.stdin.readline()
    meter.end_step()
    print(counters.processor.idle_watts, flush=True)
"""


def test_ranks_in_processes_of_their_own_share_the_idle_power_of_the_real_machine(tmp_path: Path) -> None:
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", METER, str(tmp_path), f"rank{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for rank in ranks:
        assert rank.stdout is not None
        assert rank.stdout.readline() == "here\n"
    idle_watts = [float(rank.communicate("\n", timeout=120)[0]) for rank in ranks]

    rows = {f"rank{number}": read_json_lines(tmp_path / f"rank{number}.jsonl") for number in range(3)}
    windows = {job: [row for row in rows[job] if row["kind"] == "window"] for job in rows}
    assert all(check_windows(windows[job]) == [] for job in windows)
    starts = [found[0]["started_at"] for found in windows.values()]
    ends = [found[-1]["ended_at"] for found in windows.values()]
    span = _seconds_between(min(starts), max(ends))
    idle = sum(window["jobs"][job]["idle_microjoules"] for job in windows for window in windows[job])
    cores = sum(
        window["seconds"] * window["jobs"][job]["reserved_cores"]
        for job in windows
        for window in windows[job]
    )
    # Wall clocks are read once per start, so the span is known to a few milliseconds.
    assert idle / 1e6 <= max(idle_watts) * (span + 0.05)
    assert cores <= (os.cpu_count() or 1) * (span + 0.05)
    assert all(any(window["neighbours_microjoules"] for window in found) for found in windows.values())
    assert list((tmp_path / "node").iterdir()) == []


def _seconds_between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def test_a_killed_rank_takes_nothing_from_those_that_go_on(tmp_path: Path) -> None:
    counters = replace(choose_counters(), reservations=ReservationFolder(tmp_path / "node"))
    cores = os.cpu_count() or 1
    meter = NodeMeter(
        tmp_path / "own.jsonl", job="own", counters=counters, reserved_cores=cores, interval_seconds=3600
    )
    with (
        meter,
        subprocess.Popen(
            [sys.executable, "-c", METER, str(tmp_path), "rank"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as rank,
    ):
        meter.begin_step("train")
        assert rank.stdout is not None
        assert rank.stdout.readline() == "here\n"
        meter.begin_step("train")
        rank.kill()
        rank.wait()
        meter.begin_step("train")
        meter.begin_step("train")
        meter.end_step()

    left = [
        row["jobs"]["own"]["reserved_cores"]
        for row in read_json_lines(tmp_path / "own.jsonl")
        if "jobs" in row
    ]
    assert left[-1] == cores
    # The rank was started by this process, so it is inside: it takes nothing at any time.
    assert json.dumps(left) == json.dumps([float(cores)] * len(left))
    assert list((tmp_path / "node").iterdir()) == []
