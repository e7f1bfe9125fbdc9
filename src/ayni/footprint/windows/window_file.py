"""The file of energy windows (`meter/windows.jsonl`): how a line looks, and what lines add up to.

    {"kind": "meter", "meter": 1, ...}          which counters the following windows were read with
    {"kind": "window", "window": 7, ...}        one contiguous window, every microjoule attributed
    {"kind": "stop", ...}                       the meter was stopped in good order
    {"kind": "interruption", ...}               it was not: at most so many seconds ran unmetered

In each window jobs + other + unreserved idle + neighbours = node. `neighbours_microjoules` is what jobs of
other meters on the node reserve, and `within` names the meters around this one, nearest first: what the
window says of the job is in their windows as well ("devices": its GPUs, too).

Windows are numbered 1, 2, 3 ... over all attempts of a run. `node_microjoules` and the shares are null
when a counter lost track or is unknown; a sum that holds such a window is None, never a partial sum.

Not covered: rotation of the file. At one window a second it grows by about 1.7 MB an hour.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, cast

from ayni.footprint.counters.meters import Trust, worst_tier
from ayni.footprint.windows.attribution import WindowShares
from ayni.footprint.windows.reservation_shares import Outer
from ayni.signing import canonical_json, sha256_hex

Row = dict[str, Any]
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSpan:
    """When a window was, what it was for, and the CPU seconds in it.

    `reserved_cores` are those that were left to each job after sharing with other meters; without an entry,
    what its meter's line says. `device_share` is what was left of its GPUs; all of them without an entry.
    """

    window: int
    meter: int
    step: str
    attempt: int
    started_at: datetime
    ended_at: datetime
    seconds: float
    busy_cpu_seconds: float
    job_cpu_seconds: Mapping[str, float]
    reserved_cores: Mapping[str, float] = field(default_factory=dict)
    device_share: Mapping[str, float] = field(default_factory=dict)
    within: tuple[Outer, ...] = ()


def window_row(span: WindowSpan, shares: WindowShares | None) -> Row:
    """The line of one window; `shares` is None when its energy is unknown."""
    return {
        "kind": "window",
        "window": span.window,
        "meter": span.meter,
        "step": span.step,
        "attempt": span.attempt,
        "started_at": span.started_at.isoformat(),
        "ended_at": span.ended_at.isoformat(),
        "seconds": round(span.seconds, 6),
        "busy_cpu_seconds": round(span.busy_cpu_seconds, 6),
        "node_microjoules": None if shares is None else shares.total_microjoules,
        "other_microjoules": None if shares is None else shares.other_microjoules,
        "unreserved_idle_microjoules": None if shares is None else shares.unreserved_idle_microjoules,
        "neighbours_microjoules": None if shares is None else shares.neighbours_microjoules,
        "within": [outer.to_json() for outer in span.within],
        "jobs": {job: _job_row(job, span, shares) for job in span.job_cpu_seconds},
    }


def _job_row(job: str, span: WindowSpan, shares: WindowShares | None) -> Row:
    share = None if shares is None else shares.jobs[job]
    cpu_seconds = span.job_cpu_seconds[job]
    left = (("reserved_cores", span.reserved_cores), ("device_share", span.device_share))
    return {
        **{name: round(values[job], 6) for name, values in left if job in values},
        "cpu_seconds": round(cpu_seconds, 6),
        "dynamic_microjoules": None if share is None else share.dynamic_microjoules,
        "idle_microjoules": None if share is None else share.idle_microjoules,
        "device_microjoules": None if share is None else share.device_microjoules,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyTotal:
    """What the windows of one step add up to, over all its attempts.

    Energies are integer microjoules; None when any window's energy is unknown. `low` and `high`
    enclose the job's energy with 90 %: the error of one meter is the same in all its windows, so it
    does not shrink with their number. `core_seconds` are those reserved, used or not, after sharing
    with other meters; `device_share` is what was left of the job's GPUs on average. `within_runs` are
    the jobs of the meters around this one, and `within_microjoules` is how much of the job's energy
    they count as well. `windows_sha256` covers the windows and their meters.
    """

    step: str
    num_attempts: int
    started_at: str
    ended_at: str
    wall_seconds: float
    core_seconds: float
    cpu_seconds: float
    job_microjoules: int | None
    low_microjoules: int | None
    high_microjoules: int | None
    node_microjoules: int | None
    other_jobs_microjoules: int | None
    other_microjoules: int | None
    unreserved_idle_microjoules: int | None
    tier: str
    meters: tuple[Row, ...]
    num_windows: int
    window_ranges: tuple[tuple[int, int], ...]
    windows_sha256: str
    unmetered_seconds_at_most: float
    neighbours_microjoules: int | None = 0
    within_runs: tuple[str, ...] = ()
    within_microjoules: int | None = 0
    device_share: float = 1.0


def total_of_windows(rows: Iterable[Row], step: str, *, job: str) -> EnergyTotal:
    """Add up the windows of one step for one job.

    Raises:
        ValueError: the step has no window.
    """
    all_rows = list(rows)
    windows = [row for row in all_rows if row.get("kind") == "window" and row["step"] == step]
    if not windows:
        raise ValueError(f"no energy window of the step {step!r} of {job}")
    meters = _meters_of(all_rows, windows)
    trusts = {number: _trusts_of(meter) for number, meter in meters.items()}
    interval = [_interval(window, job, trusts[window["meter"]]) for window in windows]
    return EnergyTotal(
        step=step,
        num_attempts=len({window["attempt"] for window in windows}),
        started_at=windows[0]["started_at"],
        ended_at=windows[-1]["ended_at"],
        wall_seconds=round(sum(window["seconds"] for window in windows), 6),
        core_seconds=round(
            sum(window["seconds"] * _reserved_cores(window, job, meters) for window in windows), 6
        ),
        cpu_seconds=round(sum(_of_job(window, job).get("cpu_seconds", 0.0) for window in windows), 6),
        job_microjoules=_sum_or_none(job_microjoules(window, job) for window in windows),
        low_microjoules=_rounded(_sum_or_none(None if pair is None else pair[0] for pair in interval)),
        high_microjoules=_rounded(_sum_or_none(None if pair is None else pair[1] for pair in interval)),
        node_microjoules=_sum_or_none(window["node_microjoules"] for window in windows),
        other_jobs_microjoules=_sum_or_none(_other_jobs(window, job) for window in windows),
        other_microjoules=_sum_or_none(window["other_microjoules"] for window in windows),
        unreserved_idle_microjoules=_sum_or_none(window["unreserved_idle_microjoules"] for window in windows),
        tier=worst_tier([_tier_of(window, trusts[window["meter"]]) for window in windows]),
        meters=tuple(meters[number] for number in sorted(meters)),
        num_windows=len(windows),
        window_ranges=_ranges([window["window"] for window in windows]),
        windows_sha256=digest_of_windows(windows, meters),
        unmetered_seconds_at_most=round(
            sum(
                row["unmetered_seconds_at_most"]
                for row in all_rows
                if row.get("kind") == "interruption" and row["step"] == step
            ),
            3,
        ),
        neighbours_microjoules=_sum_or_none(window.get("neighbours_microjoules", 0) for window in windows),
        within_runs=tuple(dict.fromkeys(outer["run"] for window in windows for outer in outers(window))),
        within_microjoules=_sum_or_none(within_microjoules(window, job) for window in windows),
        device_share=_device_share(windows, job),
    )


def job_microjoules(window: Row, job: str) -> int | None:
    """One job's energy in one window; 0 when it was not there, None when unknown."""
    share = _of_job(window, job)
    if not share and window["node_microjoules"] is not None:
        return 0
    return _sum_or_none(share.get(name) for name in _SHARE_NAMES)


def outers(window: Row) -> list[Row]:
    """The meters around that of a window, nearest first; none in files from before there were any."""
    found: list[Row] = window.get("within", [])
    return found


def within_microjoules(window: Row, job: str) -> int | None:
    """How much of a job's energy in a window is in the windows of an outer meter as well."""
    around = outers(window)
    if not around:
        return 0
    energy = job_microjoules(window, job)
    if energy is None or any(outer["devices"] for outer in around):
        return energy
    return energy - int(_of_job(window, job).get("device_microjoules", 0))


def _reserved_cores(window: Row, job: str, meters: Mapping[int, Row]) -> float:
    left: float | None = _of_job(window, job).get("reserved_cores")
    return float(meters[window["meter"]]["reserved_cores"]) if left is None else left


def _device_share(windows: list[Row], job: str) -> float:
    """On average over time; of windows without any, over their number."""
    shares: list[float] = [_of_job(window, job).get("device_share", 1.0) for window in windows]
    seconds: list[float] = [window["seconds"] for window in windows]
    weights = seconds if sum(seconds) > 0 else [1.0] * len(windows)
    weighed: float = sum(share * weight for share, weight in zip(shares, weights, strict=True))
    return round(weighed / sum(weights), 6)


_SHARE_NAMES = ("dynamic_microjoules", "idle_microjoules", "device_microjoules")


def digest_of_windows(windows: Iterable[Row], meters: Mapping[int, Row]) -> str:
    """SHA-256 over the canonical JSON lines of meters and windows, each in order of number."""
    lines = [canonical_json(meters[number]) for number in sorted(meters)]
    lines += [canonical_json(window) for window in windows]
    return sha256_hex(b"\n".join(lines))


def _meters_of(rows: list[Row], windows: list[Row]) -> dict[int, Row]:
    used = {window["meter"] for window in windows}
    return {row["meter"]: row for row in rows if row.get("kind") == "meter" and row["meter"] in used}


def _trusts_of(meter: Row) -> tuple[Trust, Trust | None]:
    device = meter["device"]
    return Trust.from_json(meter["processor"]), None if device is None else Trust.from_json(device)


def _tier_of(window: Row, trusts: tuple[Trust, Trust | None]) -> str:
    if window["node_microjoules"] is None:
        return "W5"
    return worst_tier([trust.tier for trust in trusts if trust is not None])


def _interval(window: Row, job: str, trusts: tuple[Trust, Trust | None]) -> tuple[float, float] | None:
    """Low and high microjoules of a job in a window: each part by the factors of its own meter."""
    energy = job_microjoules(window, job)
    if energy is None:
        return None
    processor, device = trusts
    on_device = _of_job(window, job).get("device_microjoules", 0)
    low, high = (energy - on_device) * processor.low_factor, (energy - on_device) * processor.high_factor
    if device is not None:
        low, high = low + on_device * device.low_factor, high + on_device * device.high_factor
    return low, high


def _of_job(window: Row, job: str) -> Row:
    share: Row = window["jobs"].get(job, {})
    return share


def _other_jobs(window: Row, job: str) -> int | None:
    return _sum_or_none(job_microjoules(window, name) for name in window["jobs"] if name != job)


def _sum_or_none(values: Iterable[_Number | None]) -> _Number | None:
    """The sum; None as soon as one value is unknown."""
    total: Any = 0
    for value in values:
        if value is None:
            return None
        total += value
    return cast("_Number", total)


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def _ranges(numbers: list[int]) -> tuple[tuple[int, int], ...]:
    """Runs of consecutive numbers: 1, 2, 3, 7 -> (1, 3), (7, 7)."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return tuple(ranges)
