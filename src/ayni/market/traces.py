"""Traces of jobs that really ran: a CSV file becomes arrays, and a row that cannot be is named.

    timestamp             when the job was asked for; without an offset it is UTC
    duration              seconds that it computed, on the machines that it had
    num_gpus | machines   machines at once (a gang); in public traces a machine is one GPU
    cluster | member      whose job it is
    gpu_time              optional; then it must be duration times machines

Rows may come in any order; jobs are numbered by their time, rows of one second by their line. Other columns
are not looked at. One bad row refuses the file: a trace with silent holes would make every policy look
better.

Not covered: what traces do not say (deadline, worth, data); `ayni.market.simulation.demand` makes it up, and
says so.

Source of the format: Philly, Jeon et al., "Analysis of Large-Scale Multi-Tenant GPU Clusters for DNN Training
Workloads", USENIX ATC 2019, in the form of petuum/adaptdl (osdi21-artifact).
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ayni.errors import UserError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_ALIASES = {
    "timestamp": ("timestamp",),
    "duration": ("duration",),
    "machines": ("num_gpus", "machines"),
    "member": ("cluster", "member"),
}
_PRODUCT = "gpu_time"
# Beyond these a number is a mistake of units (milliseconds, cores) rather than a job.
_LONGEST_SECONDS = 10 * 365 * 86_400.0
_LARGEST_GANG = 1_000_000
_SHOWN_PROBLEMS = 5


class TraceFileError(UserError):
    """A trace has rows that no job can have, or lacks a column. Its message names the lines."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        self.path = path
        self.problems = tuple(problems)
        shown = "\n".join(f"  {problem}" for problem in problems[:_SHOWN_PROBLEMS])
        more = len(problems) - _SHOWN_PROBLEMS
        rest = f"\n  and {more} more" if more > 0 else ""
        super().__init__(
            f"{path} is no trace that can be replayed ({len(problems)} problems). Mend or remove what "
            f"follows:\n{shown}{rest}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Jobs in the order of their release, as arrays with one entry a job (J).

    Times are seconds since `start`. `member_J` indexes `members`. `duration_seconds_J` is the time on the
    machines of the trace, which are the reference.
    """

    start: datetime
    members: tuple[str, ...]
    member_J: Integers
    release_seconds_J: Floats
    duration_seconds_J: Floats
    gang_J: Integers

    def __post_init__(self) -> None:
        lengths = {len(self.member_J), len(self.release_seconds_J), len(self.gang_J)}
        if lengths != {len(self.duration_seconds_J)}:
            raise ValueError(f"the columns of a trace have the lengths {lengths}")
        if self.start.tzinfo is None:
            raise ValueError(f"the start {self.start} of a trace has no time zone")

    @property
    def num_jobs(self) -> int:
        """How many jobs there are."""
        return len(self.gang_J)

    @property
    def machine_hours(self) -> float:
        """Work of all jobs in hours of one machine."""
        return float((self.duration_seconds_J * self.gang_J).sum()) / 3600.0

    def machine_hours_by_member(self) -> dict[str, float]:
        """The same, for each member."""
        hours = np.bincount(
            self.member_J, self.duration_seconds_J * self.gang_J / 3600.0, minlength=len(self.members)
        )
        return dict(zip(self.members, hours.tolist(), strict=True))

    def between(self, first_second: float, last_second: float) -> "Trace":
        """The jobs released in [first_second, last_second), with times since the first.

        Jobs that were released before are left out, also where they still ran: the cut has no memory.
        """
        chosen = (self.release_seconds_J >= first_second) & (self.release_seconds_J < last_second)
        return self._only(chosen, shift_seconds=first_second)

    def of_members(self, names: Iterable[str]) -> "Trace":
        """The jobs of these members, which are numbered in the order given.

        Raises:
            ValueError: a name that has no job, or twice the same.
        """
        wanted = tuple(names)
        unknown = sorted(set(wanted) - set(self.members))
        if unknown or len(set(wanted)) < len(wanted):
            raise ValueError(f"no jobs of {unknown} in the trace, or a name twice in {wanted}")
        number = np.full(len(self.members), -1, dtype=np.int64)
        number[[self.members.index(name) for name in wanted]] = np.arange(len(wanted))
        renumbered = replace(self, member_J=number[self.member_J])
        kept = renumbered._only(renumbered.member_J >= 0, shift_seconds=0.0)
        return replace(kept, members=wanted)

    def largest_members(self, count: int) -> tuple[str, ...]:
        """The members with the most jobs, most first; ties by name."""
        num_jobs = np.bincount(self.member_J, minlength=len(self.members))
        ordered = sorted(range(len(self.members)), key=lambda m: (-num_jobs[m], self.members[m]))
        return tuple(self.members[m] for m in ordered[:count])

    def _only(self, chosen_J: NDArray[np.bool_], *, shift_seconds: float) -> "Trace":
        return Trace(
            start=self.start + timedelta(seconds=shift_seconds),
            members=self.members,
            member_J=self.member_J[chosen_J],
            release_seconds_J=self.release_seconds_J[chosen_J] - shift_seconds,
            duration_seconds_J=self.duration_seconds_J[chosen_J],
            gang_J=self.gang_J[chosen_J],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    at: datetime
    seconds: float
    machines: int
    member: str


def read_trace(path: Path) -> Trace:
    """The jobs of a trace file.

    Raises:
        TraceFileError: it cannot be read, a column is missing, a row is no job, or there is none.
    """
    rows, problems = [], []
    lines = _lines(path, _text(path))
    _, header = next(lines, (1, []))
    columns = _columns(path, header)
    for number, cells in lines:
        row = _row(cells, columns)
        if isinstance(row, str):
            problems.append(f"line {number}: {row}")
        else:
            rows.append(row)
    if problems or not rows:
        raise TraceFileError(path, problems or ["there is no job in it"])
    return _as_arrays(rows)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TraceFileError(path, [f"it cannot be read: {error.strerror or error}"]) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise TraceFileError(path, [f"line {line}: is no text in UTF-8"]) from error


def _lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line that has any, with its number."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        yield from ((reader.line_num, cells) for cells in reader if cells)
    except csv.Error as error:
        raise TraceFileError(path, [f"line {reader.line_num}: is no row of a CSV file: {error}"]) from error


def _columns(path: Path, header: Sequence[str]) -> dict[str, int]:
    """At which place of a row what stands."""
    found = {
        meaning: next((name for name in names if name in header), "") for meaning, names in _ALIASES.items()
    }
    missing = [" or ".join(_ALIASES[meaning]) for meaning, name in found.items() if not name]
    if missing:
        raise TraceFileError(path, [f"line 1: no column {name}" for name in missing])
    found |= {_PRODUCT: _PRODUCT} if _PRODUCT in header else {}
    return {meaning: header.index(name) for meaning, name in found.items()}


def _row(cells: Sequence[str], columns: Mapping[str, int]) -> _Row | str:
    """The job of one row, or what is wrong with it."""
    texts = {
        meaning: cells[place].strip() if place < len(cells) else "" for meaning, place in columns.items()
    }
    if not texts["member"]:
        return "no member"
    try:
        at = datetime.fromisoformat(texts["timestamp"])
    except ValueError:
        return f"{texts['timestamp']!r} is no time"
    seconds, machines = _number(texts["duration"]), _number(texts["machines"])
    if seconds is None or not 0 < seconds <= _LONGEST_SECONDS:
        return f"a duration of {texts['duration']!r} s"
    if machines is None or machines != int(machines) or not 1 <= machines <= _LARGEST_GANG:
        return f"{texts['machines']!r} machines"
    product = texts.get(_PRODUCT)
    if product is not None and not _is_product(_number(product), seconds * machines):
        return f"{_PRODUCT} is {product!r} and not {seconds:g} s times {machines:g} machines"
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return _Row(at=at, seconds=seconds, machines=int(machines), member=texts["member"])


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_product(given: float | None, expected: float) -> bool:
    return given is not None and abs(given - expected) <= max(1.0, 1e-6 * expected)


def _as_arrays(rows: Sequence[_Row]) -> Trace:
    ordered = sorted(rows, key=lambda row: row.at)  # stable: rows of one second keep their order
    start = ordered[0].at
    members = tuple(sorted({row.member for row in ordered}))
    index = {name: position for position, name in enumerate(members)}
    return Trace(
        start=start,
        members=members,
        member_J=np.array([index[row.member] for row in ordered], dtype=np.int64),
        release_seconds_J=np.array([(row.at - start).total_seconds() for row in ordered]),
        duration_seconds_J=np.array([row.seconds for row in ordered]),
        gang_J=np.array([row.machines for row in ordered], dtype=np.int64),
    )
