"""Where every microjoule went, in 10,000 random schedules: jobs + others + idle + neighbours = the node.

A schedule is a row of windows of random length, load and energy on a node of 1 to 128 cores, with jobs that
come and go, up to three GPUs held alone, shared or in slices, and up to seven other meters that reserve
cores, some inside each other, and come and go within windows. Each is then told in other ways: windows
split at random moments, windows merged, a job split in two. However it is told, the accounts must add up to
what the node drew, in integers. Every hundredth schedule runs through the meter's file as well.

Not covered: whether a share is just; the tests of the formulas are for that.
"""

import random
import tempfile
from collections import Counter
from pathlib import Path

from ayni.files import read_json_lines
from ayni.footprint.counters.cascade import NodeCounters
from ayni.footprint.counters.meters import ScriptedCounter
from ayni.footprint.receipts.verification import check_windows
from ayni.footprint.windows.attribution import DeviceUse, DeviceWindow, JobUse, WindowShares, attribute_window
from ayni.footprint.windows.cpu_time import ScriptedCpuClock
from ayni.footprint.windows.node_meter import NodeMeter
from ayni.footprint.windows.reservation_shares import Standing
from ayni.footprint.windows.reservations import Reservation
from ayni.footprint.windows.window_file import total_of_windows
from ayni.units import split_exactly
from benchmarks.registry import Benchmark, Outcome

JOBS = ("a", "b", "c", "d")
THROUGH_THE_FILE = 100


class Window:
    """One window of a schedule, before it is attributed."""

    def __init__(self, rng: random.Random, num_cores: int) -> None:
        self.num_cores = num_cores
        self.seconds = rng.choice((0.0, rng.uniform(0.0, 2.0), rng.uniform(0.0, 3600.0)))
        self.microjoules = rng.choice((0, rng.randrange(10), rng.randrange(10**9), rng.randrange(10**15)))
        self.idle_watts = rng.choice((0.0, rng.uniform(0.0, 500.0)))
        self.busy = rng.uniform(0.0, self.seconds * num_cores)
        self.jobs = {job: rng.uniform(0.0, self.busy) for job in JOBS if rng.random() < 0.6}
        self.reserved = _reserve(rng, list(self.jobs), num_cores)
        self.devices = [_device(rng, list(self.jobs)) for _ in range(rng.randrange(4))]
        self.neighbours = _neighbours(rng, num_cores)

    @property
    def drawn(self) -> int:
        """What the node drew, its GPUs included."""
        return self.microjoules + sum(device.microjoules for device in self.devices)

    def attribute(self) -> WindowShares:
        """As one window."""
        return self._attribute(self.microjoules, self.seconds, 1.0, self.devices)

    def attribute_in_pieces(self, rng: random.Random) -> list[WindowShares]:
        """As two to five windows that touch."""
        weights = [rng.random() for _ in range(rng.randint(2, 5))]
        energies = split_exactly(self.microjoules, weights)
        devices = [split_exactly(device.microjoules, weights) for device in self.devices]
        shares = [weight / sum(weights) for weight in weights]
        return [
            self._attribute(
                energies[index],
                self.seconds * share,
                share,
                [
                    DeviceWindow(microjoules=parts[index], uses=device.uses, other_busy=device.other_busy)
                    for device, parts in zip(self.devices, devices, strict=True)
                ],
            )
            for index, share in enumerate(shares)
        ]

    def attribute_with_a_job_split(self) -> WindowShares:
        """With each job as two of half its CPU time; devices and odd cores stay with the first."""
        uses = {}
        for job, seconds in self.jobs.items():
            half = self.reserved[job] // 2
            uses[job] = JobUse(cpu_seconds=seconds / 2, reserved_cores=self.reserved[job] - half)
            uses[f"{job}2"] = JobUse(cpu_seconds=seconds / 2, reserved_cores=half)
        return self._with(uses, self.microjoules, self.seconds, self.busy, self.devices)

    def _attribute(
        self, microjoules: int, seconds: float, share: float, devices: list[DeviceWindow]
    ) -> WindowShares:
        uses = {
            job: JobUse(cpu_seconds=cpu_seconds * share, reserved_cores=self.reserved[job])
            for job, cpu_seconds in self.jobs.items()
        }
        return self._with(uses, microjoules, seconds, self.busy * share, devices)

    def _with(
        self,
        uses: dict[str, JobUse],
        microjoules: int,
        seconds: float,
        busy: float,
        devices: list[DeviceWindow],
    ) -> WindowShares:
        return attribute_window(
            microjoules,
            uses,
            seconds=seconds,
            idle_watts=self.idle_watts,
            busy_cpu_seconds=busy,
            num_cores=self.num_cores,
            devices=devices,
            standing=self._standing(uses),
        )

    def _standing(self, uses: dict[str, JobUse]) -> Standing | None:
        if not self.neighbours:
            return None
        cores = sum(use.reserved_cores for use in uses.values())
        own = Reservation(holder="own", job="own", cores=cores, lineage=("own", "p0"), entered_seconds=0.0)
        return Standing(
            own=own, others=self.neighbours, since_seconds=0.0, until_seconds=1.0, num_cores=self.num_cores
        )


def _neighbours(rng: random.Random, num_cores: int) -> list[Reservation]:
    """Every other window has some; process p2 descends from p1, and p1 from p0, as the own one does."""
    return [
        Reservation(
            holder=f"m{number}",
            job=f"m{number}",
            cores=rng.randint(0, num_cores),
            has_devices=rng.random() < 0.5,
            lineage=tuple(f"p{place}" for place in range(rng.randrange(3), -1, -1)),
            entered_seconds=rng.choice((0.0, rng.random())),
            left_seconds=rng.choice((None, 1.0 + rng.random())),
        )
        for number in range(rng.choice((0, rng.randrange(1, 8))))
    ]


def _reserve(rng: random.Random, jobs: list[str], num_cores: int) -> dict[str, int]:
    left, reserved = num_cores, {}
    for job in jobs:
        reserved[job] = rng.randint(0, left)
        left -= reserved[job]
    return reserved


def _device(rng: random.Random, jobs: list[str]) -> DeviceWindow:
    energy = rng.choice((0, rng.randrange(10**6), rng.randrange(10**14)))
    if not jobs:
        return DeviceWindow(microjoules=energy, other_busy=rng.random())
    kind = rng.choice(("alone", "shared", "slices"))
    if kind == "alone":
        return DeviceWindow(microjoules=energy, uses={rng.choice(jobs): DeviceUse(reserved=1.0)})
    if kind == "slices":
        slices = split_exactly(rng.randint(0, 7), [rng.random() + 0.01 for _ in jobs])
        uses = {job: DeviceUse(reserved=num / 7) for job, num in zip(jobs, slices, strict=True)}
        return DeviceWindow(microjoules=energy, uses=uses)
    uses = {job: DeviceUse(reserved=rng.random() / len(jobs), busy=rng.random()) for job in jobs}
    return DeviceWindow(microjoules=energy, uses=uses, other_busy=rng.random())


def _accounts(windows: list[WindowShares]) -> Counter[str]:
    accounts: Counter[str] = Counter()
    for shares in windows:
        for job, share in shares.jobs.items():
            accounts[job] += share.total_microjoules
        accounts["other"] += shares.other_microjoules
        accounts["idle"] += shares.unreserved_idle_microjoules
        accounts["neighbours"] += shares.neighbours_microjoules
    return accounts


def _differences(rng: random.Random) -> tuple[list[int], int]:
    """Microjoules missing or too many in each telling of one schedule, and how many windows it had."""
    num_cores = rng.randint(1, 128)
    windows = [Window(rng, num_cores) for _ in range(rng.randint(1, 20))]
    drawn = sum(window.drawn for window in windows)
    tellings = [
        [window.attribute() for window in windows],
        [piece for window in windows for piece in window.attribute_in_pieces(rng)],
        [window.attribute_with_a_job_split() for window in windows],
    ]
    differences = [abs(sum(_accounts(telling).values()) - drawn) for telling in tellings]
    # Merged: accounts of neighbours added up before anything else is.
    cut = rng.randint(0, len(windows))
    merged = _accounts(tellings[0][:cut]) + _accounts(tellings[0][cut:])
    differences.append(abs(sum(merged.values()) - drawn))
    for window, shares in zip(windows, tellings[0], strict=True):
        differences.append(abs(shares.total_microjoules - window.drawn))
        parts = [share.total_microjoules for share in shares.jobs.values()]
        parts += [shares.other_microjoules, shares.unreserved_idle_microjoules]
        parts.append(shares.neighbours_microjoules)
        differences.append(max(0, -min(parts)))
    return differences, len(windows)


def _difference_through_the_file(rng: random.Random, folder: Path) -> int:
    """The same through the meter and its file: what the counter counted against what the lines add up to."""
    clock, counter, seconds = ScriptedCpuClock(), ScriptedCounter(idle_watts=20.0), [0.0]
    counters = NodeCounters(processor=counter, device=None, unknown=(), notes=(), cpu_clock=clock)
    path = folder / "windows.jsonl"
    drawn = 0
    with NodeMeter(
        path,
        job="run",
        counters=counters,
        reserved_cores=3,
        num_cores=8,
        interval_seconds=3600.0,
        now=lambda: seconds[0],
    ) as meter:
        for number in range(rng.randint(1, 10)):
            meter.begin_step("train", number)
            energy, busy = rng.randrange(10**10), rng.uniform(0.0, 8.0)
            drawn += energy
            counter.add(energy)
            seconds[0] += rng.uniform(0.0, 2.0)
            clock.node_seconds += busy
            clock.job_seconds += rng.uniform(0.0, busy)
            meter.end_step()
    rows = read_json_lines(path)
    path.unlink()
    total = total_of_windows(rows, "train", job="run")
    problems = check_windows([row for row in rows if row["kind"] == "window"])
    assert total.node_microjoules is not None
    return abs(total.node_microjoules - drawn) + len(problems)


def measure(quick: bool) -> Outcome:
    """One seed for each schedule; the largest difference of all."""
    num_schedules = 500 if quick else 10_000
    largest, num_windows, largest_in_file = 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(num_schedules):
            rng = random.Random(seed)
            differences, num = _differences(rng)
            largest, num_windows = max(largest, *differences), num_windows + num
            if seed % THROUGH_THE_FILE == 0:
                largest_in_file = max(largest_in_file, _difference_through_the_file(rng, Path(folder)))
    return Outcome(
        values={
            "schedules": num_schedules,
            "windows": num_windows,
            "largest_difference_microjoules": largest,
            "largest_difference_through_the_file_microjoules": largest_in_file,
        },
        seeds=(0, num_schedules - 1),
        met=largest == 0 and largest_in_file == 0,
    )


BENCHMARK = Benchmark(
    name="footprint_conservation",
    topic="footprint",
    bar="jobs + others + idle + neighbours = node, exactly (0 microjoules), in 10,000 random schedules of "
    "jobs, windows, splits and merges",
    seconds_quick=5,
    seconds_full=40,
    measure=measure,
)
