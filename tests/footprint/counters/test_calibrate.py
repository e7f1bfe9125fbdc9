import os
import time

import pytest

from ayni.footprint.counters.calibrate import CalibrationPlan, Instruments, ProcessLoad, calibrate_node
from ayni.footprint.counters.cpu_frequency import ScriptedFrequency
from ayni.footprint.counters.meters import CounterReading, ScriptedCounter
from ayni.footprint.counters.node_model import NodeCalibrationError, PowerPoint
from ayni.footprint.windows.cpu_time import ScriptedCpuClock, choose_cpu_clock

NUM_CPUS = 8


class PretendedNode:
    """Draws 20 W + 60 W * load^0.5 * clock; its clock is slow when all CPUs are half busy."""

    def __init__(self, *, is_clock_told: bool = True) -> None:
        self.seconds = 0.0
        self.processor = ScriptedCounter()
        self.wall = ScriptedCounter(tier="W0")
        self.cpu_clock = ScriptedCpuClock()
        self.frequency = ScriptedFrequency(highest_megahertz=3000.0) if is_clock_told else None
        self.busy = (0, 0.0)
        self.levels: list[tuple[int, float]] = []

    def set(self, *, num_busy: int, share: float) -> None:
        self.busy = (num_busy, share)
        self.levels.append(self.busy)

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        num_busy, share = self.busy
        load = num_busy * share / NUM_CPUS
        clock = 0.5 if 0 < share < 1 else 1.0
        watts = 20.0 + 60.0 * load**0.5 * clock
        self.cpu_clock.node_seconds += num_busy * share * seconds
        self.processor.add(round(watts * seconds * 1e6))
        self.wall.add(round((86.0 + 1.2 * watts) * seconds * 1e6))
        if self.frequency is not None:
            self.frequency.present_megahertz = 3000.0 * clock


def calibrate(node: PretendedNode, instruments: Instruments, **changes: object):  # noqa: ANN201
    return calibrate_node(
        instruments, node, num_cpus=NUM_CPUS, processor="x", now=node.now, sleep=node.sleep, **changes
    )


def test_a_calibration_finds_the_curve_of_its_node_over_both_kinds_of_load() -> None:
    node = PretendedNode()

    model = calibrate(
        node,
        Instruments(reference=node.processor, cpu_clock=node.cpu_clock, frequency=node.frequency),
    )

    assert model.curve.idle_watts == pytest.approx(20.0, rel=0.02)
    assert model.curve.full_watts == pytest.approx(60.0, rel=0.02)
    assert model.curve.exponent == pytest.approx(0.5)
    assert model.mean_error < 0.01
    assert model.highest_megahertz == 3000.0
    assert model.wall_line is None


def test_with_the_wall_and_the_processor_read_together_the_line_between_them_is_found() -> None:
    node = PretendedNode()
    instruments = Instruments(reference=node.wall, component=node.processor, cpu_clock=node.cpu_clock)

    model = calibrate(node, instruments)

    assert model.reference.tier == "W0"
    assert model.wall_line is not None
    assert model.wall_line.base_watts == pytest.approx(86.0, rel=1e-3)
    assert model.wall_line.factor == pytest.approx(1.2, rel=1e-3)


def test_a_node_that_does_not_tell_its_clock_is_calibrated_by_load_alone() -> None:
    node = PretendedNode(is_clock_told=False)

    model = calibrate(node, Instruments(reference=node.processor, cpu_clock=node.cpu_clock))

    assert model.highest_megahertz is None
    assert all(point.frequency_share is None for point in model.points)


def test_the_levels_begin_idle_hold_both_kinds_and_end_with_no_load() -> None:
    node = PretendedNode()
    told: list[PowerPoint] = []

    calibrate(node, Instruments(reference=node.processor, cpu_clock=node.cpu_clock), on_point=told.append)

    assert node.levels[0] == node.levels[-1] == (0, 0.0)
    assert {(8, 0.25), (2, 1.0), (8, 0.5), (4, 1.0)} <= set(node.levels)
    assert len(told) == len(node.levels) - 1


def test_a_level_in_which_the_meter_lost_track_is_left_out() -> None:
    node = PretendedNode()

    class Stumbling(ScriptedCounter):
        num_reads = 0

        def read(self) -> CounterReading:
            self.num_reads += 1
            if self.num_reads == 15:
                node.processor.lose_track()
            return node.processor.read()

    whole = calibrate(node, Instruments(reference=node.processor, cpu_clock=node.cpu_clock))
    model = calibrate(node, Instruments(reference=Stumbling(), cpu_clock=node.cpu_clock))

    assert len(model.points) == len(whole.points) - 1


def test_a_meter_that_never_answers_ends_in_a_clear_error() -> None:
    node = PretendedNode()

    class Lost(ScriptedCounter):
        def read(self) -> CounterReading:
            self.lose_track()
            return super().read()

    with pytest.raises(NodeCalibrationError, match="lost track in every level"):
        calibrate(node, Instruments(reference=Lost(), cpu_clock=node.cpu_clock))


def test_a_plan_tells_how_long_it_takes_and_refuses_what_cannot_be_measured() -> None:
    plan = CalibrationPlan(seconds_per_level=10.0, settle_seconds=2.0)

    assert plan.seconds(64) == 12.0 * len(plan.levels(64))
    with pytest.raises(ValueError, match="cannot be measured"):
        CalibrationPlan(seconds_per_level=0.0)
    with pytest.raises(ValueError, match="shares of load"):
        CalibrationPlan(shares=(1.5,))


def test_a_plan_of_a_given_length_keeps_to_it() -> None:
    long, short = CalibrationPlan.lasting(120, num_cpus=64), CalibrationPlan.lasting(5, num_cpus=2)

    assert long.seconds(64) == pytest.approx(120)
    assert long.settle_seconds == 2.0
    assert short.seconds(2) == pytest.approx(5)
    assert short.read_every_seconds <= short.seconds_per_level / 4


def test_a_node_that_is_busy_already_is_refused_after_the_first_level() -> None:
    node = PretendedNode()

    class Busy(ScriptedCpuClock):
        def node_busy_seconds(self) -> float:
            return 0.75 * NUM_CPUS * node.seconds

    with pytest.raises(NodeCalibrationError, match="75% busy before any load"):
        calibrate(node, Instruments(reference=node.processor, cpu_clock=Busy()))
    assert node.levels == [(0, 0.0)]


def test_processes_keep_a_cpu_busy_and_are_gone_afterwards() -> None:
    clock = choose_cpu_clock()
    with ProcessLoad() as load:
        load.set(num_busy=1, share=1.0)
        begun = clock.job_busy_seconds()
        deadline = time.monotonic() + 30
        while clock.job_busy_seconds() - begun < 0.2 and time.monotonic() < deadline:
            time.sleep(0.05)
        processes = list(load._processes)

    assert clock.job_busy_seconds() - begun >= 0.2
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)
