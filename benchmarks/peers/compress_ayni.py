"""Ayni's own search within the time that all tools get; the form that was ready too late does not count."""

import time

import torch
from benchmarks.peers.compress_peer import FULL, Made, build_task, parse_workbench

from ayni.compress.config import CompressConfig, SearchConfig
from ayni.compress.pipeline import compress
from ayni.compress.ports import DeclaredPowerMeter

MANY_INFERENCES = 10**12
"""So many that time ends the search, and not the energy that it may cost."""
MEASURE_SECONDS = 0.01
"""`compress_measure` measures again, all tools in one process."""


class Stopwatch:
    """Notes when the process last heard of each variant. Fulfils ayni.compress.ports.Observer."""

    def __init__(self) -> None:
        self.last_seen: dict[str, float] = {}

    def step_progress(self, name: str, done: int, total: int, text: str) -> None:
        """Note the time; the last word on a variant comes when it is finished."""
        del done, total, text
        self.last_seen[name] = time.process_time()


def main() -> None:
    """Search, and name the variants that hold on the validation split."""
    bench = parse_workbench()
    folder = bench.folder / "ayni"
    search = SearchConfig(prefer="latency", seconds=bench.seconds, trials=100)
    watch = Stopwatch()
    result = compress(
        build_task(bench.task_name),
        bench.folder / FULL,
        CompressConfig(max_accuracy_drop=bench.max_drop, search=search, inferences=MANY_INFERENCES),
        seed=1,
        folder=folder,
        meter=DeclaredPowerMeter(),
        observer=watch,
        device=torch.device("cpu"),
        measure_seconds=MEASURE_SECONDS,
        clock=time.process_time,
    )
    assert result.search is not None
    # The exported model is where NNCF's clock begins too.
    began = watch.last_seen["full-onnx"]
    for variant in result.variants:
        artefact = variant.artefact
        if not artefact.is_candidate or not variant.qualifies:
            continue
        after = watch.last_seen[artefact.name] - began
        if after > bench.seconds:
            bench.problems[artefact.name] = f"ready after {after:.0f} s of {bench.seconds:g} s"
            continue
        bench.made.append(
            Made(
                name=artefact.name,
                opener=f"ayni:{artefact.runtime}",
                file=str(artefact.file),
                bytes=artefact.stored_bytes,
                after_seconds=after,
                note=artefact.note,
            )
        )
    bench.problems |= result.search.skipped
    bench.report(stopped=result.search.stopped, search_seconds=result.search.seconds)


if __name__ == "__main__":
    main()
