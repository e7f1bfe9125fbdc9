"""Peak memory of the coordinator above its baseline: 8 learners, a model of 100 MB.

The coordinator runs in a process of its own, with the scheduler of its cluster in it. Baseline: resident
memory when everything is imported and the workers are started, before the model exists. Peak: the
kernel's own high-water mark (VmHWM) from then to the end. Learners add 1 to each parameter, so that time
goes into moving and merging. Two ways to send: the defaults (int8 up, float32 down), and float32 up.

Not covered: memory of the learners, and operating systems other than Linux.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.registry import HERE, Benchmark, Outcome

NUM_LEARNERS = 8
MODEL_BYTES = 100_000_000
WAYS = {"int8_up": {"codec": "int8"}, "fp32_up": {"codec": "fp32"}}


def measure(quick: bool) -> Outcome:
    """The worse of the two ways is what the bar is asked of."""
    rounds = 2 if quick else 4
    values: dict[str, Any] = {
        "model_megabytes": MODEL_BYTES / 1e6,
        "learners": NUM_LEARNERS,
        "rounds": rounds,
    }
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.coordinator_memory", way, str(rounds)]
        answer = subprocess.run(
            command, cwd=HERE.parent, capture_output=True, text=True, timeout=900, check=False
        )
        if answer.returncode:
            raise RuntimeError(f"the coordinator ended with {answer.returncode}: {answer.stderr[-2000:]}")
        found = json.loads(answer.stdout.strip().splitlines()[-1])
        above = found["peak_bytes"] - found["baseline_bytes"]
        values |= {
            f"baseline_megabytes_{way}": found["baseline_bytes"] / 1e6,
            f"peak_megabytes_{way}": found["peak_bytes"] / 1e6,
            f"peak_above_baseline_in_models_{way}": above / MODEL_BYTES,
        }
    worst = max(values[f"peak_above_baseline_in_models_{way}"] for way in WAYS)
    return Outcome(values=values, seeds=(), met=worst <= 3)


def _coordinate(way: str, rounds: int) -> dict[str, int]:
    """Train in this process, and say what memory it took."""
    from ayni.task import TaskReference
    from ayni.train.config import TrainConfig
    from ayni.train.dask_engine import DaskEngine
    from ayni.train.result import SilentObserver
    from ayni.train.training import train

    config = TrainConfig(
        learners=NUM_LEARNERS,
        rounds=rounds,
        local_steps=1,
        batch_size=1,
        device="cpu",
        **WAYS[way],  # type: ignore[arg-type]
    )
    with tempfile.TemporaryDirectory() as folder, DaskEngine(NUM_LEARNERS) as engine:
        baseline = _status_bytes("VmRSS")
        # Forget the peak of the imports.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        train(
            TaskReference(module_path=HERE / "trivial_task.py", object_name="HundredMegabytes"),
            config,
            seed=1,
            folder=Path(folder) / "train",
            spill_folder=Path(folder) / "spill",
            engine=engine,
            observer=SilentObserver(),
        )
        return {"baseline_bytes": baseline, "peak_bytes": _status_bytes("VmHWM")}


def _status_bytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.M)
    assert found, f"{name} is not in /proc/self/status"
    return int(found[1]) * 1024


BENCHMARK = Benchmark(
    name="coordinator_memory",
    topic="training: memory",
    bar="8 learners, 100 MB model: peak memory of the coordinator above its baseline at most 3 models",
    seconds_quick=60,
    seconds_full=120,
    measure=measure,
)

if __name__ == "__main__":
    print(json.dumps(_coordinate(sys.argv[1], int(sys.argv[2]))), flush=True)
