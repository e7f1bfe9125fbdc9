"""What measuring alone captures and costs: `ayni footprint run -- COMMAND`, and `with measure(...)`.

The command starts 20 processes of 0.3 s of CPU that are waited for, and 5 whose parent is gone at once, as
daemons do. The truth is what each of them says of its own CPU time before it ends; what it uses before its
first line and after its last is not in it, so the share may be a little above 1. Once the kernel counts, by a
cgroup made for the command, and once the tree of its processes is looked at.

The cost of a command is the time of `ayni footprint run -- true` beside `true` in turns; that of a block is
the time from before `with` to behind it, around nothing, the first one (which imports) apart.

Not covered: systems that let nobody make a cgroup (then that share is null), and a node with thousands of
processes, whose tree takes longer to look at.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ayni.footprint import measure as measure_block
from benchmarks.registry import Benchmark, Outcome

NUM_CHILDREN, NUM_ORPHANS, CHILD_SECONDS = 20, 5, 0.3
BURN = f"""
import sys, time
while time.process_time() < {CHILD_SECONDS}: pass
open(sys.argv[1], "w").write(str(time.process_time()))
"""
SCRIPT = f"""
for number in $(seq {NUM_CHILDREN}); do "$PYTHON" -S -c "$BURN" "$FOLDER/child-$number"; done
for number in $(seq {NUM_ORPHANS}); do ( "$PYTHON" -S -c "$BURN" "$FOLDER/orphan-$number" & ); done
while [ $(ls "$FOLDER" | grep -c orphan) -lt {NUM_ORPHANS} ]; do sleep 0.1; done
sleep 0.5
"""
METER = """
import sys
from ayni.footprint.measuring.recording import Request
from ayni.footprint.measuring.run_command import run_command
command, may_make_cgroup = ["sh", "-c", sys.argv[2]], sys.argv[1] == "cgroup"
outcome = run_command(command, Request(name="burn"), may_make_cgroup=may_make_cgroup)
print(outcome.folder / "result.json")
"""


def _share_captured(kind: str) -> float | None:
    """CPU time on the result over what the processes used; None when there is no cgroup to count by."""
    with tempfile.TemporaryDirectory() as folder:
        spent = Path(folder, "spent")
        spent.mkdir()
        environment = {
            **os.environ,
            "AYNI_HOME": str(Path(folder, "home")),
            "PYTHON": sys.executable,
            "BURN": BURN,
            "FOLDER": str(spent),
        }
        command = [sys.executable, "-c", METER, kind, SCRIPT]
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        result: dict[str, Any] = json.loads(Path(answer.stdout.strip()).read_text())
        if kind == "cgroup" and result["cpu_time"] != "cgroup":
            return None
        truth = sum(float(path.read_text()) for path in spent.iterdir())
        return float(result["footprint"]["cpu_seconds"]) / truth


def _seconds(command: list[str], home: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, env={**os.environ, "AYNI_HOME": home}, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def _costs(repeats: int) -> dict[str, float]:
    metered, alone, blocks = [], [], []
    with tempfile.TemporaryDirectory() as home:
        for _ in range(repeats):
            metered.append(_seconds([sys.executable, "-m", "ayni", "footprint", "run", "--", "true"], home))
            alone.append(_seconds(["true"], home))
        for _ in range(1 + repeats):
            start = time.perf_counter()
            with measure_block("nothing", home=home):
                pass
            blocks.append(time.perf_counter() - start)
    return {
        "command_added_seconds": statistics.median(metered) - statistics.median(alone),
        "first_block_seconds": blocks[0],
        "block_seconds": statistics.median(blocks[1:]),
    }


def measure(quick: bool) -> Outcome:
    """Medians over repeats; the worst share of each way counts."""
    num_repeats = 1 if quick else 5
    shares = {
        kind: [share for _ in range(num_repeats) if (share := _share_captured(kind)) is not None]
        for kind in ("cgroup", "tree")
    }
    costs = _costs(3 if quick else 15)
    known = [share for of_kind in shares.values() for share in of_kind]
    return Outcome(
        values={
            "share_captured_by_cgroup": statistics.median(shares["cgroup"]) if shares["cgroup"] else None,
            "share_captured_by_tree": statistics.median(shares["tree"]),
            "share_captured_worst": min(known),
            "share_captured_most": max(known),
            **costs,
            "repeats": num_repeats,
        },
        seeds=(),
        met=min(known) >= 0.95 and max(known) <= 1.1 and costs["block_seconds"] <= 0.1,
    )


BENCHMARK = Benchmark(
    name="footprint_command",
    topic="footprint",
    bar="a command's 20 children and 5 orphans of 0.3 s each: 95 to 110 % of their CPU time in every repeat, "
    "by cgroup and by tree; a measured block of nothing takes at most 0.1 s (median)",
    seconds_quick=40,
    seconds_full=150,
    measure=measure,
)
