import itertools
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ayni.files import append_json_line, read_json_lines
from ayni.footprint.counters.cascade import NodeCounters, choose_counters
from ayni.footprint.counters.meters import CounterReading, ScriptedCounter
from ayni.footprint.receipts.verification import check_windows
from ayni.footprint.windows.cpu_time import ScriptedCpuClock
from ayni.footprint.windows.node_meter import NodeMeter
from ayni.footprint.windows.window_file import Row, total_of_windows


class Node:
    """A pretended node: `work` moves its clock, its CPU time and its counter together."""

    def __init__(self, *, idle_watts: float = 2.0, unknown: tuple[str, ...] = ()) -> None:
        self.seconds = 0.0
        self.cpu_clock = ScriptedCpuClock()
        self.processor = ScriptedCounter(idle_watts=idle_watts)
        self.counters = NodeCounters(
            processor=self.processor, device=None, unknown=unknown, notes=(), cpu_clock=self.cpu_clock
        )

    def work(self, *, seconds: float, microjoules: int, job_cpu: float = 0.0, other_cpu: float = 0.0) -> None:
        self.seconds += seconds
        self.cpu_clock.job_seconds += job_cpu
        self.cpu_clock.node_seconds += job_cpu + other_cpu
        self.processor.add(microjoules)

    def meter(self, path: Path, *, reserved_cores: int = 2) -> NodeMeter:
        # An hour's interval: windows are closed by the test alone.
        return NodeMeter(
            path,
            job="run",
            counters=self.counters,
            reserved_cores=reserved_cores,
            num_cores=4,
            interval_seconds=3600.0,
            now=lambda: self.seconds,
        )


def windows_of(path: Path) -> list[Row]:
    return [row for row in read_json_lines(path) if row["kind"] == "window"]


def test_a_step_gets_its_work_and_its_share_of_idle_power(tmp_path: Path) -> None:
    node = Node()
    with node.meter(tmp_path / "windows.jsonl") as meter:
        meter.begin_step("train", attempt=3)
        node.work(seconds=10.0, microjoules=100_000_000, job_cpu=6.0, other_cpu=2.0)
        meter.end_step()

    total = total_of_windows(read_json_lines(tmp_path / "windows.jsonl"), "train", job="run")

    # 100 J of which 20 J idle; the job did 6 of 8 CPU seconds and reserves 2 of 4 cores.
    assert total.job_microjoules == 60_000_000 + 10_000_000
    assert total.other_microjoules == 20_000_000
    assert total.unreserved_idle_microjoules == 10_000_000
    assert (total.low_microjoules, total.high_microjoules) == (35_000_000, 140_000_000)
    assert windows_of(tmp_path / "windows.jsonl")[-1]["attempt"] == 3


def test_time_between_steps_belongs_to_the_step_that_follows_and_nothing_is_lost(tmp_path: Path) -> None:
    node = Node()
    path = tmp_path / "windows.jsonl"
    with node.meter(path) as meter:
        node.work(seconds=1.0, microjoules=1_000)
        meter.begin_step("plan")
        node.work(seconds=1.0, microjoules=20_000)
        meter.end_step()
        node.work(seconds=1.0, microjoules=300_000)
        meter.begin_step("train")
        node.work(seconds=1.0, microjoules=4_000_000)
        meter.end_step()
        node.work(seconds=1.0, microjoules=50_000_000)

    energy: dict[str, int] = {}
    for window in windows_of(path):
        energy[window["step"]] = energy.get(window["step"], 0) + window["node_microjoules"]

    assert energy == {"plan": 21_000, "train": 4_300_000, "end": 50_000_000}


def test_windows_are_numbered_and_touch_each_other(tmp_path: Path) -> None:
    node = Node()
    path = tmp_path / "windows.jsonl"
    with node.meter(path) as meter:
        for step in ("plan", "train", "compress"):
            node.work(seconds=1.5, microjoules=1)
            meter.begin_step(step)
            node.work(seconds=0.7, microjoules=1)
            meter.end_step()

    windows = windows_of(path)
    assert [window["window"] for window in windows] == list(range(1, len(windows) + 1))
    for before, after in itertools.pairwise(windows):
        assert before["ended_at"] == after["started_at"]


def test_energy_that_no_counter_could_tell_is_null_and_never_zero(tmp_path: Path) -> None:
    node = Node(unknown=("gpu",))
    path = tmp_path / "windows.jsonl"
    with node.meter(path) as meter:
        meter.begin_step("train")
        node.work(seconds=1.0, microjoules=5_000_000, job_cpu=1.0)
        estimate = meter.measure(lambda: 1)
        meter.end_step()

    total = total_of_windows(read_json_lines(path), "train", job="run")
    assert total.job_microjoules is None
    assert total.low_microjoules is None
    assert total.node_microjoules is None
    assert total.tier == "W5"
    assert total.cpu_seconds == 1.0
    assert (estimate.joules, estimate.tier) == (None, "W5")


def test_one_window_in_which_the_counter_lost_track_makes_the_total_unknown(tmp_path: Path) -> None:
    node = Node()
    path = tmp_path / "windows.jsonl"
    with node.meter(path) as meter:
        meter.begin_step("plan")
        node.work(seconds=1.0, microjoules=7)
        meter.begin_step("train")
        node.processor.lose_track()
        meter.end_step()

    rows = read_json_lines(path)
    assert total_of_windows(rows, "plan", job="run").job_microjoules is not None
    assert total_of_windows(rows, "train", job="run").job_microjoules is None


def test_a_measured_block_is_split_like_a_window(tmp_path: Path) -> None:
    node = Node()

    def block() -> int:
        node.work(seconds=10.0, microjoules=100_000_000, job_cpu=6.0, other_cpu=2.0)
        return 1000

    with node.meter(tmp_path / "windows.jsonl") as meter:
        estimate = meter.measure(block)

    assert estimate.joules == pytest.approx(70.0)
    assert (estimate.low_joules, estimate.high_joules) == (pytest.approx(35.0), pytest.approx(140.0))
    assert (estimate.cpu_seconds, estimate.wall_seconds) == (6.0, 10.0)


def test_a_measured_block_that_did_nothing_is_refused(tmp_path: Path) -> None:
    with Node().meter(tmp_path / "windows.jsonl") as meter, pytest.raises(ValueError, match="0 repeats"):
        meter.measure(lambda: 0)


def test_a_second_start_continues_the_numbers_and_a_clean_stop_is_no_interruption(tmp_path: Path) -> None:
    path = tmp_path / "windows.jsonl"
    for attempt in (1, 2):
        node = Node()
        with node.meter(path) as meter:
            meter.begin_step("train", attempt)
            node.work(seconds=1.0, microjoules=10)
            meter.end_step()

    rows = read_json_lines(path)
    total = total_of_windows(rows, "train", job="run")
    numbers = [row["window"] for row in rows if row["kind"] == "window"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert total.num_attempts == 2
    assert total.node_microjoules == 20
    assert total.unmetered_seconds_at_most == 0


def test_after_a_crash_the_seconds_that_may_have_run_unmetered_are_written_down(tmp_path: Path) -> None:
    node = Node()
    path = tmp_path / "windows.jsonl"
    with node.meter(path) as meter:
        meter.begin_step("train")
        node.work(seconds=1.0, microjoules=10)
        meter.end_step()
    rows = read_json_lines(path)
    a_minute_ago = datetime.now(UTC) - timedelta(seconds=60)
    rows[1]["ended_at"] = a_minute_ago.isoformat()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:2]) + '{"kind": "window", "wind')

    with Node().meter(path) as meter:
        meter.begin_step("train", attempt=2)
        meter.end_step()

    total = total_of_windows(read_json_lines(path), "train", job="run")
    assert 60 <= total.unmetered_seconds_at_most < 120
    assert [window["window"] for window in windows_of(path)][:3] == [1, 2, 3]


def test_a_start_that_never_began_a_step_does_not_hide_an_earlier_crash(tmp_path: Path) -> None:
    path = tmp_path / "windows.jsonl"
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    append_json_line(path, {"kind": "meter", "meter": 1, "at": an_hour_ago.isoformat()})
    with Node().meter(path):
        pass

    with Node().meter(path) as meter:
        meter.begin_step("plan")
        meter.end_step()

    interruptions = [row for row in read_json_lines(path) if row["kind"] == "interruption"]
    assert [row["step"] for row in interruptions] == ["plan"]
    assert interruptions[0]["unmetered_seconds_at_most"] >= 3600


def test_the_pause_between_a_kill_and_its_resume_is_not_taken_for_unmetered_work(tmp_path: Path) -> None:
    path = tmp_path / "windows.jsonl"
    a_day_ago = datetime.now(UTC) - timedelta(days=1)
    append_json_line(path, {"kind": "meter", "meter": 1, "at": a_day_ago.isoformat()})

    with NodeMeter(
        path, job="run", counters=choose_counters(), reserved_cores=1, interval_seconds=1.0
    ) as meter:
        meter.begin_step("plan")
        meter.end_step()

    interruption = next(row for row in read_json_lines(path) if row["kind"] == "interruption")
    assert 1 <= interruption["unmetered_seconds_at_most"] <= 15


def test_a_step_that_ends_as_the_sampler_wakes_is_never_counted_twice(tmp_path: Path) -> None:
    node = Node()
    path = tmp_path / "windows.jsonl"
    meter = NodeMeter(
        path, job="run", counters=node.counters, reserved_cores=4, num_cores=4, interval_seconds=0.002
    )
    drawn = 0
    with meter:
        for attempt in range(100):
            meter.begin_step("train", attempt)
            node.processor.add(1_000_003)
            drawn += 1_000_003
            time.sleep(0.002)
            meter.end_step()

    assert sum(window["node_microjoules"] for window in windows_of(path)) == drawn


def test_steps_may_be_closed_from_several_threads(tmp_path: Path) -> None:
    node = Node()
    path = tmp_path / "windows.jsonl"
    with node.meter(path) as meter:
        meter.begin_step("train")

        def draw() -> None:
            for _ in range(20):
                meter.measure(lambda: 1)
                meter.begin_step("train")

        threads = [threading.Thread(target=draw) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        node.processor.add(99)
        meter.end_step()

    windows = windows_of(path)
    assert [window["window"] for window in windows] == list(range(1, len(windows) + 1))
    assert sum(window["node_microjoules"] for window in windows) == 99


def test_a_failure_of_the_sampler_reaches_the_job_and_loses_no_energy(tmp_path: Path) -> None:
    class FailingCounter(ScriptedCounter):
        """Answers, but the third and fourth time it raises."""

        num_reads = 0

        def read(self) -> CounterReading:
            self.num_reads += 1
            if self.num_reads in (3, 4):
                raise RuntimeError("the sensor fell off")
            return super().read()

    counter = FailingCounter()
    counters = NodeCounters(
        processor=counter, device=None, unknown=(), notes=(), cpu_clock=ScriptedCpuClock()
    )
    path = tmp_path / "windows.jsonl"
    with NodeMeter(path, job="run", counters=counters, reserved_cores=1, interval_seconds=3600) as meter:
        meter.begin_step("train")
        counter.add(42)
        with pytest.raises(RuntimeError, match="fell off"):
            meter.end_step()
        with pytest.raises(RuntimeError, match="fell off"):
            meter.end_step()
        meter.end_step()

    assert sum(window["node_microjoules"] for window in windows_of(path)) == 42


def test_a_change_of_counters_closes_the_window_and_no_window_mixes_two_tiers(tmp_path: Path) -> None:
    first, second = Node(), Node()
    second.counters = replace(second.counters, processor=ScriptedCounter(tier="W3"))
    path = tmp_path / "windows.jsonl"
    with first.meter(path) as meter:
        meter.begin_step("train")
        first.work(seconds=1.0, microjoules=1_000)
        meter.change_counters(second.counters)
        first.work(seconds=1.0, microjoules=500_000)
        second.counters.processor.add(70)
        meter.end_step()

    rows = read_json_lines(path)
    total = total_of_windows(rows, "train", job="run")
    assert [row["processor"]["tier"] for row in rows if row["kind"] == "meter"] == ["W1", "W3"]
    assert total.node_microjoules == 1_070
    assert total.tier == "W3"
    assert check_windows(windows_of(path)) == []


def test_counters_that_change_between_two_steps_serve_from_the_next_step_on(tmp_path: Path) -> None:
    first, second = Node(), Node()
    path = tmp_path / "windows.jsonl"
    with first.meter(path) as meter:
        meter.begin_step("plan")
        meter.end_step()
        meter.change_counters(second.counters)
        first.work(seconds=1.0, microjoules=30)
        meter.begin_step("train")
        second.processor.add(5)
        meter.end_step()

    total = total_of_windows(read_json_lines(path), "train", job="run")
    assert total.node_microjoules == 35


def test_a_block_over_which_the_counters_changed_has_unknown_energy(tmp_path: Path) -> None:
    node = Node()
    with node.meter(tmp_path / "windows.jsonl") as meter:
        meter.begin_step("train")

        def block() -> int:
            meter.change_counters(Node().counters)
            return 1

        assert meter.measure(block).joules is None


def test_a_counter_that_is_lost_for_good_is_replaced_and_what_it_metered_stays(tmp_path: Path) -> None:
    class Dead(ScriptedCounter):
        def read(self) -> CounterReading:
            self.lose_track()
            return super().read()

    dead, spare = replace(Node().counters, processor=Dead()), Node()
    path = tmp_path / "windows.jsonl"
    with NodeMeter(
        path,
        job="run",
        counters=dead,
        reserved_cores=1,
        interval_seconds=0.005,
        choose_again=lambda: spare.counters,
    ) as meter:
        meter.begin_step("train")
        deadline = time.monotonic() + 30
        while len([row for row in read_json_lines(path) if row["kind"] == "meter"]) < 2:
            assert time.monotonic() < deadline, "the counters were not replaced"
            time.sleep(0.005)
        meter.begin_step("compress")
        spare.processor.add(11)
        meter.end_step()

    rows = read_json_lines(path)
    lost = [row for row in rows if row["kind"] == "window" and row["meter"] == 1]
    assert 3 <= len(lost) <= 6
    assert all(row["node_microjoules"] is None for row in lost)
    assert total_of_windows(rows, "compress", job="run").node_microjoules == 11
    assert any(row["kind"] == "interruption" and row["step"] == "train" for row in rows)


def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    meter = Node().meter(tmp_path / "windows.jsonl")
    meter.start()
    meter.stop()

    meter.stop()

    assert [row["kind"] for row in read_json_lines(tmp_path / "windows.jsonl")] == ["meter", "stop"]


def busy(seconds: float) -> Callable[[], int]:
    def burn() -> int:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
        return 1

    return burn


def test_this_machine_can_be_metered_for_real(tmp_path: Path) -> None:
    path = tmp_path / "windows.jsonl"
    cores = os.cpu_count() or 1
    with NodeMeter(
        path, job="run", counters=choose_counters(), reserved_cores=cores, interval_seconds=0.1
    ) as meter:
        meter.begin_step("train")
        estimate = meter.measure(busy(0.4))
        meter.end_step()

    total = total_of_windows(read_json_lines(path), "train", job="run")
    assert total.job_microjoules is not None
    assert estimate.joules is not None
    # The two read clocks and counters at slightly different moments, which weigh more on a busy machine.
    assert 0 < estimate.joules <= 1.25 * total.job_microjoules / 1e6
    assert 0.3 <= total.cpu_seconds <= 0.7


@pytest.mark.slow
def test_a_killed_process_leaves_windows_that_the_next_one_continues(tmp_path: Path) -> None:
    path = tmp_path / "windows.jsonl"
    code = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from ayni.footprint.counters.cascade import choose_counters
        from ayni.footprint.windows.node_meter import NodeMeter
        meter = NodeMeter(Path({str(path)!r}), job="run", counters=choose_counters(), reserved_cores=1,
                          interval_seconds=0.05)
        meter.start()
        meter.begin_step("train")
        print("metering", flush=True)
        time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.5)
        process.kill()

    num_before = len(windows_of(path))
    with NodeMeter(path, job="run", counters=choose_counters(), reserved_cores=1) as meter:
        meter.begin_step("train", attempt=2)
        meter.end_step()

    windows = windows_of(path)
    assert num_before >= 3
    assert [window["window"] for window in windows] == list(range(1, len(windows) + 1))
    total = total_of_windows(read_json_lines(path), "train", job="run")
    assert total.num_attempts == 2
    assert total.unmetered_seconds_at_most > 0
