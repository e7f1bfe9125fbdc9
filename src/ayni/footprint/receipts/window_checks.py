"""Whether the shares of a window follow from what stands beside them: CPU seconds, cores and idle power.

    I = min(E, P0 * dt)                   idle energy, of processor energy E
    idle of job i    = I * r_i / R        r_i cores that were left to it, of R
    dynamic of job i = (E - I) * c_i / C  by CPU seconds

A line whose energy was moved from the job to others still adds up to what the node drew. It then contradicts
its own CPU seconds, so that a liar has to invent those as well, and with them the CPU time of the node.

Not covered: windows in which devices are shared by their use, which no meter writes yet; whether the CPU
seconds are true.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from ayni.footprint.windows.window_file import Row
from ayni.units import MICROJOULES_PER_JOULE

# Lines hold seconds and cores to six decimals. Integers are rounded by less than one for each account, and
# idle power once more for each meter that came or went within the window.
_DECIMALS = 1e-6
_ROUNDING_MICROJOULES = 200.0


def check_attribution(rows: Iterable[Row]) -> list[str]:
    """Problems of windows whose times or shares contradict each other."""
    meters: dict[int, Row] = {}
    problems: list[str] = []
    for row in rows:
        if row.get("kind") == "meter":
            meters[row["meter"]] = row
        elif row.get("kind") == "window":
            problems += [f"window {row['window']}: {problem}" for problem in _problems_of(row, meters)]
    return problems


def _problems_of(window: Row, meters: Mapping[int, Row]) -> Iterator[str]:
    seconds = window["seconds"]
    span = datetime.fromisoformat(window["ended_at"]) - datetime.fromisoformat(window["started_at"])
    if seconds < 0 or abs(span.total_seconds() - seconds) > 3 * _DECIMALS:
        yield f"it lasted {span.total_seconds()} s by its ends and {seconds} s by its length"
    times = [window["busy_cpu_seconds"], *(job["cpu_seconds"] for job in window["jobs"].values())]
    if min(times) < 0:
        yield "it has CPU seconds below 0"
    elif window["meter"] not in meters:
        yield f"no line says what its meter {window['meter']} is"
    elif window["node_microjoules"] is not None:
        yield from _problems_of_shares(window, meters[window["meter"]])


def _problems_of_shares(window: Row, meter: Row) -> Iterator[str]:
    jobs: Mapping[str, Any] = window["jobs"]
    dynamic = sum(job["dynamic_microjoules"] for job in jobs.values()) + window["other_microjoules"]
    used = sum(job["cpu_seconds"] for job in jobs.values())
    busy = max(window["busy_cpu_seconds"], used)
    for name, job in jobs.items():
        share = job["cpu_seconds"] / busy if busy else 0.0
        slack = _ROUNDING_MICROJOULES + (2 * dynamic * _DECIMALS / busy if busy else 0.0)
        if abs(job["dynamic_microjoules"] - dynamic * share) > slack:
            yield (
                f"{name} has {job['dynamic_microjoules']} of {dynamic} microjoules of work for "
                f"{job['cpu_seconds']} of {busy} CPU seconds"
            )
    # With GPUs, what neighbours reserve holds their part of these, which stands nowhere by itself.
    if meter["device"] is None:
        yield from _problems_of_idle(window, meter, dynamic)


def _problems_of_idle(window: Row, meter: Row, dynamic: int) -> Iterator[str]:
    idle = window["node_microjoules"] - dynamic
    watts, seconds = meter["idle_watts"], window["seconds"]
    slack = _ROUNDING_MICROJOULES + watts * MICROJOULES_PER_JOULE * _DECIMALS
    expected = min(window["node_microjoules"], watts * seconds * MICROJOULES_PER_JOULE)
    if abs(idle - expected) > slack:
        yield f"{idle} microjoules are idle, and {watts:g} W for {seconds} s would be {expected:.0f}"
        return
    for name, job in window["jobs"].items():
        cores = job.get("reserved_cores", meter["reserved_cores"])
        if abs(job["idle_microjoules"] - idle * cores / meter["cores"]) > slack + idle * _DECIMALS:
            yield (
                f"{name} has {job['idle_microjoules']} of {idle} idle microjoules for {cores:g} of "
                f"{meter['cores']} cores"
            )
