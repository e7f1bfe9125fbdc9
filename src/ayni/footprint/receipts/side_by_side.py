"""Several runs on one node over the same time: together they cannot have drawn more than the node.

Where windows of several meters of a node overlap in time, energy is taken to come evenly within each window:

    jobs = sum over meters of their jobs' energy, without what an outer meter among them holds as well
    node = the largest of what the meters say that the node drew

    finding: jobs > node * 1.02 + one window of each meter

A meter reads its own windows, and rarely begins them with another's: the first term is for CPU time that
ticks, the second for windows that stick out of the overlap. Over a minute both together are a few percent.

What lies within another run is held against it: the outer one drew at least as much.

Not covered: a node that was renamed in one of the files (its windows may still be found as replays); shares
that are wrong by less than what is allowed.
"""

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ayni.footprint.receipts.evidence import Evidence
from ayni.footprint.windows.window_file import Row, job_microjoules, outers, within_microjoules

_TOLERANCE = 1.02


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """One window: when (seconds since 1970), what the node drew, and the job without what is held by others.

    `held_by` are the outer runs that hold `held_joules` of the job as well.
    """

    start: float
    end: float
    node_joules: float
    job_joules: float
    held_joules: float
    held_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    """The windows of one start of a meter: what of it is on one node, one after the other."""

    place: str
    run: str
    node: str
    spans: tuple[_Span, ...]

    @property
    def longest_window_joules(self) -> float:
        """What the node drew in the window with most."""
        return max(span.node_joules for span in self.spans)


def check_side_by_side(given: Sequence[Evidence]) -> tuple[list[str], int]:
    """Findings, and how many pairs of meters were there on one node at the same time."""
    by_node: dict[str, list[_Series]] = {}
    for evidence in given:
        for each in _series_of(evidence):
            by_node.setdefault(each.node, []).append(each)
    problems: list[str] = []
    num_pairs = 0
    for node, of_node in by_node.items():
        for group in _groups(of_node):
            num_pairs += len(group) * (len(group) - 1) // 2
            problems += _check_group(node, group)
    return problems, num_pairs


def _series_of(evidence: Evidence) -> list[_Series]:
    meters = {row["meter"]: row for row in evidence.rows or () if row.get("kind") == "meter"}
    spans: dict[tuple[str, int], list[_Span]] = {}
    for window in evidence.windows:
        for run in window["jobs"] if window["node_microjoules"] is not None else ():
            span = _span(window, run)
            if span.end > span.start:
                spans.setdefault((run, window["meter"]), []).append(span)
    return [
        _Series(
            place=evidence.place, run=run, node=str(meters.get(meter, {}).get("node")), spans=tuple(found)
        )
        for (run, meter), found in spans.items()
    ]


def _span(window: Row, run: str) -> _Span:
    return _Span(
        start=datetime.fromisoformat(window["started_at"]).timestamp(),
        end=datetime.fromisoformat(window["ended_at"]).timestamp(),
        node_joules=window["node_microjoules"] / 1e6,
        job_joules=(job_microjoules(window, run) or 0) / 1e6,
        held_joules=(within_microjoules(window, run) or 0) / 1e6,
        held_by=tuple(outer["run"] for outer in outers(window)),
    )


def _groups(series: Iterable[_Series]) -> list[list[_Series]]:
    """Series that overlap in time, directly or through others; those that overlap with none are left out."""
    groups: list[list[_Series]] = []
    end = float("-inf")
    for each in sorted(series, key=lambda each: each.spans[0].start):
        if not groups or each.spans[0].start >= end:
            groups.append([])
            end = float("-inf")
        groups[-1].append(each)
        end = max(end, each.spans[-1].end)
    return [group for group in groups if len(group) > 1]


def _check_group(node: str, group: Sequence[_Series]) -> list[str]:
    """Compare what was drawn while at least two meters of the group were there."""
    jobs = node_joules = 0.0
    held: dict[str, float] = {}
    outer: dict[str, float] = {}
    for seconds, active in _segments(group):
        runs = {series.run for series, _ in active}
        jobs += sum(_power(span, _counted_joules(span, runs)) for _, span in active) * seconds
        node_joules += max(_power(span, span.node_joules) for _, span in active) * seconds
        for series, span in active:
            nearest = next((run for run in span.held_by if run in runs), None)
            if nearest is not None:
                held[nearest] = held.get(nearest, 0.0) + _power(span, span.held_joules) * seconds
            outer[series.run] = outer.get(series.run, 0.0) + _power(span, span.job_joules) * seconds
    slack = sum(series.longest_window_joules for series in group)
    names = ", ".join(dict.fromkeys(series.run for series in group))
    problems = []
    if jobs > node_joules * _TOLERANCE + slack:
        problems.append(
            f"on {node} the runs {names} drew {jobs:.4g} J while they were metered side by side, and the "
            f"node {node_joules:.4g} J: the same energy was counted more than once"
        )
    return problems + [
        f"runs that lie within {run} drew {joules:.4g} J while it drew {outer[run]:.4g} J: they are not in it"
        for run, joules in held.items()
        if joules > outer[run] * _TOLERANCE + slack
    ]


def _segments(group: Sequence[_Series]) -> Iterator[tuple[float, list[tuple[_Series, _Span]]]]:
    """Pieces of time in which no window begins or ends, with the windows of the two or more there."""
    ends = sorted({end for series in group for span in series.spans for end in (span.start, span.end)})
    places = [0] * len(group)
    for start, stop in itertools.pairwise(ends):
        active = []
        for index, series in enumerate(group):
            while places[index] < len(series.spans) and series.spans[places[index]].end <= start:
                places[index] += 1
            if places[index] < len(series.spans) and series.spans[places[index]].start <= start:
                active.append((series, series.spans[places[index]]))
        if len(active) > 1:
            yield stop - start, active


def _counted_joules(span: _Span, runs: Collection[str]) -> float:
    is_held = any(run in runs for run in span.held_by)
    return span.job_joules - span.held_joules if is_held else span.job_joules


def _power(span: _Span, joules: float) -> float:
    return joules / (span.end - span.start)
