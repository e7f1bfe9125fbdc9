"""Latency under each condition (threads and batch) of the full model and the chosen variant side by side.

One thread and one example decide; a server with all its cores and full batches may rank them otherwise.

Not covered: other variants; the run's object has the times of all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ayni.reports import formats
from ayni.reports.variant_rows import NOT_TO_BE_QUOTED, Remark
from ayni.reports.variants import View, chosen_variant, full_variant, same_runtime_variant

Latency = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyCell:
    """One variant under one condition: the median with its quartiles, and what else to say."""

    name: str
    written: str
    remarks: Sequence[Remark] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionRow:
    """All compared variants under one condition, and the last of them against each of the others."""

    condition: str
    cells: Sequence[LatencyCell]
    ratios: Sequence[LatencyCell]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTable:
    """Columns by the names of the variants, then of the ratios, and a row for each condition."""

    names: Sequence[str]
    ratio_names: Sequence[str]
    rows: Sequence[ConditionRow]


def latency_table(view: View) -> LatencyTable | None:
    """None where only one condition was measured, or nobody knows."""
    compared = _compared(view)
    conditions = [_key(latency) for latency in compared[0]["latencies"]] if compared else []
    if len(conditions) < 2:
        return None
    names = [variant["name"] for variant in compared]
    of_variant = {one["name"]: {_key(each): each for each in one["latencies"]} for one in compared}
    ratio_names = [f"{names[-1]} against {name}" for name in names[:-1]]
    return LatencyTable(
        names=names,
        ratio_names=ratio_names,
        rows=[
            _row(key, [of_variant[name].get(key) for name in names], names, ratio_names) for key in conditions
        ],
    )


def _compared(view: View) -> list[dict[str, Any]]:
    full, chosen = full_variant(view), chosen_variant(view)
    same = same_runtime_variant(view, chosen) if chosen else None
    found: dict[str, dict[str, Any]] = {}
    for one in (full, same, chosen):
        if one is not None:
            found[one["name"]] = one
    return list(found.values())


def _row(
    key: tuple[int, int],
    latencies: Sequence[Latency | None],
    names: Sequence[str],
    ratio_names: Sequence[str],
) -> ConditionRow:
    return ConditionRow(
        condition=_words(key),
        cells=[_cell(name, latency) for name, latency in zip(names, latencies, strict=True)],
        ratios=[
            _ratio(name, before, latencies[-1])
            for name, before in zip(ratio_names, latencies[:-1], strict=True)
        ],
    )


def _cell(name: str, latency: Latency | None) -> LatencyCell:
    if latency is None:
        return LatencyCell(name=name, written=formats.UNKNOWN)
    remarks = []
    if latency["batch_size"] > 1:
        each = formats.seconds(latency["p50_seconds"] / latency["batch_size"])
        remarks.append(Remark(text=f"{each} an example"))
    if latency["problem"]:
        remarks.append(Remark(text=NOT_TO_BE_QUOTED, is_bad=True))
    return LatencyCell(name=name, written=_written(latency), remarks=remarks)


def _ratio(name: str, before: Latency | None, after: Latency | None) -> LatencyCell:
    if before is None or after is None:
        return LatencyCell(name=name, written=formats.UNKNOWN)
    # On a busy machine a ratio of two times can be anything: 3,700 was seen.
    if before["problem"] or after["problem"]:
        return LatencyCell(name=name, written=NOT_TO_BE_QUOTED)
    ratio = formats.times(before["p50_seconds"], after["p50_seconds"], less="faster", more="slower")
    return LatencyCell(name=name, written=ratio or formats.UNKNOWN)


def _written(latency: Latency) -> str:
    keys = ("p50_seconds", "p25_seconds", "p75_seconds")
    median, low, high = (latency[key] for key in keys)
    return formats.quantity(median, formats.SECOND_SCALES, low=low, high=high)


def _key(latency: Latency) -> tuple[int, int]:
    return latency["num_threads"], latency["batch_size"]


def _words(key: tuple[int, int]) -> str:
    threads, examples = key
    return f"{threads} thread{'s' * (threads != 1)}, {examples} example{'s' * (examples != 1)}"
