"""What metering itself costs: CPU at one sample a second, import, sockets, and the size of the base install.

Each figure comes from fresh processes. The sampler's CPU time is that of a process that meters and
otherwise sleeps; it grows with the number of processes of the machine, which stands beside it. Sockets are
counted by Python's audit hook (creation, connection, name look-ups) over import, metering and a receipt's
intensity. The size is that of the files of `ayni` and all it requires without extras, byte code included,
as this environment has them; CodeCarbon's 186 MB are those of a fresh environment with version 3.3.2.

Not covered: sockets that a wall meter's command opens, which is the user's own program.
"""

import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

import ayni
from benchmarks.registry import Benchmark, Outcome

CODECARBON_MEGABYTES = 186
IMPORT = (
    "import sys, time; t = time.perf_counter(); import ayni.footprint; t = time.perf_counter() - t; "
    "import ayni.footprint.windows.node_meter, ayni.footprint.counters.cascade; "
    "print(t, sorted({'numpy', 'torch', 'pandas'} & set(sys.modules)))"
)
METER = """
import json, sys, time
from pathlib import Path
opened = []
sys.addaudithook(lambda event, arguments: opened.append(event) if event.startswith("socket.") else None)
from ayni.footprint.grid.carbon import carbon_intensity
from ayni.footprint.counters.cascade import choose_counters
from ayni.footprint.windows.node_meter import NodeMeter
seconds = float(sys.argv[1])
carbon_intensity("DE")
with NodeMeter(Path(sys.argv[2]), job="run", counters=choose_counters(), reserved_cores=1) as meter:
    meter.begin_step("sleep")
    cpu, wall = time.process_time(), time.perf_counter()
    time.sleep(seconds)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    meter.end_step()
print(json.dumps({"share": cpu / wall, "sockets": opened}))
"""


def _import_milliseconds() -> tuple[float, str]:
    answer = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    seconds, _, heavy = answer.stdout.strip().partition(" ")
    return 1000 * float(seconds), heavy


def _meter_for(seconds: float) -> tuple[float, list[str]]:
    path = Path("/dev/shm" if Path("/dev/shm").is_dir() else ".") / f"ayni-sampler-{os.getpid()}.jsonl"
    try:
        answer = subprocess.run(
            [sys.executable, "-c", METER, str(seconds), str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        path.unlink(missing_ok=True)
    found = json.loads(answer.stdout)
    return found["share"], found["sockets"]


def _installed_megabytes() -> tuple[float, int]:
    """Size of `ayni` and what it requires without extras, and how many distributions that is."""
    waiting, seen, num_bytes = ["ayni"], set[str](), 0
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        distribution = importlib.metadata.distribution(name)
        for line in distribution.requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
        paths = [Path(str(file.locate())) for file in distribution.files or []]
        if name == "ayni":  # an editable install lists only a pointer
            paths = [path for path in Path(ayni.__file__).parent.rglob("*") if path.is_file()]
        num_bytes += sum(path.stat().st_size for path in paths if path.is_file())
    return num_bytes / 1e6, len(seen)


def measure(quick: bool) -> Outcome:
    """Medians; the sampler meters for a minute, or ten seconds."""
    _import_milliseconds()
    imports = [_import_milliseconds() for _ in range(5 if quick else 15)]
    metered = [_meter_for(10.0 if quick else 60.0) for _ in range(1 if quick else 3)]
    import_ms = statistics.median(milliseconds for milliseconds, _ in imports)
    share = statistics.median(share for share, _ in metered)
    sockets = [event for _, events in metered for event in events]
    megabytes, num_distributions = _installed_megabytes()
    heavy = imports[0][1]
    values = {
        "sampler_share_of_a_core": share,
        "processes_on_the_machine": sum(path.name.isdigit() for path in Path("/proc").iterdir()),
        "import_milliseconds": import_ms,
        "heavy_modules_imported": heavy,
        "sockets_opened": len(sockets),
        "base_install_megabytes": megabytes,
        "base_install_distributions": num_distributions,
        "base_install_over_codecarbon": megabytes / CODECARBON_MEGABYTES,
    }
    is_light = heavy == "[]" and not sockets and megabytes <= CODECARBON_MEGABYTES / 3
    return Outcome(values=values, seeds=(), met=share <= 0.003 and import_ms <= 50 and is_light)


BENCHMARK = Benchmark(
    name="footprint_sampler",
    topic="footprint",
    bar="at 1 Hz at most 0.3 % of a core; import ayni.footprint at most 50 ms without numpy, torch, pandas; "
    "0 sockets; base install at most a third of CodeCarbon's 186 MB (medians)",
    seconds_quick=15,
    seconds_full=190,
    measure=measure,
)
