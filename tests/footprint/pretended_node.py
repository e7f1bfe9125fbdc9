"""A node that exists in memory alone, with any number of meters, their files and their signed receipts."""

import random
from pathlib import Path

from ayni.files import read_json_lines
from ayni.footprint.counters.cascade import NodeCounters
from ayni.footprint.counters.meters import ScriptedCounter
from ayni.footprint.grid.tariffs import Tariff
from ayni.footprint.impacts.embodied import accelerator, server
from ayni.footprint.receipts.receipt import ReceiptSubject, last_hash, receipt_of_step, write_receipt
from ayni.footprint.receipts.site_conditions import SiteConditions
from ayni.footprint.windows.cpu_time import ScriptedCpuClock
from ayni.footprint.windows.node_meter import NodeMeter
from ayni.footprint.windows.reservations import ReservationsInMemory
from ayni.footprint.windows.window_file import EnergyTotal, Row, total_of_windows
from ayni.signing import SigningKey

CORES = 4
IDLE_WATTS = 2.0
SITE = SiteConditions(
    zone="DE",
    pue=1.3,
    wue_litres_per_kwh=1.8,
    machine=server(num_processors=1, memory_gigabytes=64),
    accelerators=(accelerator("NVIDIA H100"),),
    tariff=Tariff(name="flat", flat_microcredits_per_kwh=300_000),
    ask_microcredits_per_core_hour=10_000_000,
)


class Node:
    """A pretended node with a GPU, watched by any number of meters; power follows CPU time in a line."""

    def __init__(self, folder: Path, *, jitter_seconds: float = 0.0) -> None:
        # What a look at the clock takes at most, so that no two meters read the same.
        self.jitter_seconds = jitter_seconds
        self.rng = random.Random(0)
        self.folder = folder
        self.seconds = 0.0
        self.processor = ScriptedCounter(idle_watts=IDLE_WATTS)
        self.device = ScriptedCounter()
        self.clocks: dict[str, ScriptedCpuClock] = {}
        self.reservations = ReservationsInMemory()
        self.meters: dict[str, NodeMeter] = {}
        self.outer_of: dict[str, str] = {}
        self.busy_seconds = 0.0

    def start(self, job: str, *, cores: int, holds_gpu: bool = False, within: str | None = None) -> NodeMeter:
        clock = self.clocks[job] = ScriptedCpuClock()
        clock.node_seconds = self.busy_seconds
        counters = NodeCounters(
            processor=self.processor,
            device=self.device if holds_gpu else None,
            unknown=(),
            notes=(),
            cpu_clock=clock,
            reservations=self.reservations,
        )
        if within is not None:
            self.outer_of[job] = within
        self.reservations.lineage = self.lineage(job)
        meter = NodeMeter(
            self.path(job),
            job=job,
            counters=counters,
            reserved_cores=cores,
            num_cores=CORES,
            interval_seconds=3600.0,
            now=self.now,
        )
        meter.start()
        meter.begin_step("train")
        self.meters[job] = meter
        return meter

    def now(self) -> float:
        self.seconds += self.jitter_seconds * self.rng.random()
        return self.seconds

    def lineage(self, job: str) -> tuple[str, ...]:
        outer = self.outer_of.get(job)
        return (f"process of {job}", *(("init",) if outer is None else self.lineage(outer)))

    def path(self, job: str) -> Path:
        return self.folder / job / "meter" / "windows.jsonl"

    def work(self, seconds: float, busy: dict[str, float], *, others: float = 0.0, device: int = 0) -> None:
        """Time goes by: `busy` are CPU seconds of each job without those of jobs inside it."""
        self.seconds += seconds
        total = sum(busy.values()) + others
        self.busy_seconds += total
        for clock in self.clocks.values():
            clock.node_seconds += total
        for job, cpu in busy.items():
            inside: str | None = job
            while inside is not None:
                if inside in self.clocks:
                    self.clocks[inside].job_seconds += cpu
                inside = self.outer_of.get(inside)
        self.processor.add(round(1e6 * (IDLE_WATTS * seconds + 10.0 * total)))
        self.device.add(device)

    def stop(self, job: str) -> None:
        meter = self.meters.pop(job)
        meter.end_step()
        meter.stop()

    def rows(self, job: str) -> list[Row]:
        return read_json_lines(self.path(job))

    def total(self, job: str) -> EnergyTotal:
        return total_of_windows(self.rows(job), "train", job=job)

    def windows(self, job: str) -> list[Row]:
        return [row for row in self.rows(job) if row["kind"] == "window"]

    def sign(self, job: str, key: SigningKey) -> Path:
        """Receipts for all steps of a job; returns its folder."""
        folder = self.folder / job
        rows = self.rows(job)
        subject = ReceiptSubject(run=job, job=job, member="me", site="own", node="pretended")
        for step in dict.fromkeys(window["step"] for window in self.windows(job)):
            if step != "end":
                body = receipt_of_step(
                    rows,
                    step,
                    subject=subject,
                    conditions=SITE,
                    previous_hash=last_hash(folder / "receipts"),
                )
                write_receipt(folder / "receipts", body, key)
        return folder
