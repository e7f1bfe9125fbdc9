"""Two variants side by side, for a terminal of 80 columns or more.

Not covered: more than two. `ayni compress show` has all variants of a run in one table.
"""

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from ayni.cli.compress_parts import (
    break_even_text,
    drop_text,
    latency_text,
    metric_text,
    ratio_text,
)
from ayni.cli.tables import plain_table
from ayni.reports import formats

Json = Mapping[str, Any]
_MAX_GROUPS = 20


def comparison_parts(view: Json) -> list[RenderableType]:
    """The two from top to bottom: what they are, what a call takes, and each class."""
    a, b = view["a"], view["b"]
    parts: list[RenderableType] = [f"A: {_what(a)}", f"B: {_what(b)}", "", facts_table(view), ""]
    parts += [latency_table(view), "x: how many times as fast B is as A."]
    problems = [f"Not to be quoted, {name}: {text}" for name, text in _problems(view)]
    parts += problems
    if view["groups"]:
        parts += ["", groups_table(view), "Accuracy on the test split; drop is against the full model."]
        num_more = len(view["groups"]) - _MAX_GROUPS
        parts += [f"{num_more} more differ less; --json has them."] if num_more > 0 else []
    else:
        reasons = dict.fromkeys(one["no_changes_reason"] for one in (a, b) if one["no_changes_reason"])
        parts += [f"Classes are not compared: {reason}." for reason in reasons]
    return parts


def facts_table(view: Json) -> Table:
    """One row for each property: A, B, and B against A where that is a number."""
    a, b = view["a"], view["b"]
    table = plain_table("", "A", "B", "B of A")
    of_a, of_b = (str(side["metric"]["name"]) for side in (a, b))
    rows = [
        (of_a.replace("_", " "), metric_text(a, of_a), metric_text(b, of_b), ""),
        ("drop", drop_text(a["drop"], of_a), drop_text(b["drop"], of_b), ""),
        ("runs in", a["runtime"], b["runtime"], ""),
        (
            "stored",
            formats.stored_bytes(a["stored_bytes"]),
            formats.stored_bytes(b["stored_bytes"]),
            formats.share(view["bytes_ratio"], 1.0),
        ),
        (
            "parameters",
            formats.count(a["num_parameters"]),
            formats.count(b["num_parameters"]),
            formats.share(b["num_parameters"], a["num_parameters"]),
        ),
        (
            "memory",
            formats.stored_bytes(a["peak_memory_bytes"]),
            formats.stored_bytes(b["peak_memory_bytes"]),
            _share(b["peak_memory_bytes"], a["peak_memory_bytes"]),
        ),
        ("energy/1000", _energy(a), _energy(b), _share(view["energy_ratio"], 1.0)),
        ("made with", _making(a), _making(b), ""),
        ("paid back after", break_even_text(a["break_even"]), break_even_text(b["break_even"]), ""),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def latency_table(view: Json) -> Table:
    """One row for each condition under which a call was timed."""
    table = plain_table("threads x batch", "A", "B", "x")
    for row in view["latencies"]:
        table.add_row(
            f"{row['num_threads']} x {row['batch_size']}",
            *("-" if row[side] is None else latency_text(row[side]) for side in ("a", "b")),
            ratio_text(row["speed_up"]),
        )
    return table


def groups_table(view: Json) -> Table:
    """Each class and slice, those that differ most first."""
    table = plain_table("class", "examples", "A", "drop", "B", "drop")
    for row in view["groups"][:_MAX_GROUPS]:
        kind = "" if row["kind"] == "class" else f" ({row['kind']})"
        table.add_row(
            f"{formats.visible(str(row['name']))}{kind}",
            formats.count(row["num_examples"]),
            *_group(row["a"]),
            *_group(row["b"]),
        )
    return table


def _group(group: Json | None) -> tuple[str, str]:
    if group is None or group["accuracy"] is None:
        return "-", "-"
    after = formats.metric(group["accuracy"]["after"], "accuracy")
    return after, drop_text(group["drop"], "accuracy")


def _what(side: Json) -> str:
    chosen = " (chosen)" if side["is_chosen"] else ""
    note = f": {side['note']}" if side["note"] else ""
    return f"{side['name']}{chosen} of {side['run']}{note}"


def _energy(side: Json) -> str:
    return formats.joules(
        side["energy_joules_per_1000"],
        side["energy_low_joules_per_1000"],
        side["energy_high_joules_per_1000"],
    )


def _making(side: Json) -> str:
    return formats.UNKNOWN if side["making"] is None else formats.joules(side["making"]["joules"])


def _share(part: float | None, whole: float | None) -> str:
    return "" if part is None or not whole else formats.share(part, whole)


def _problems(view: Json) -> list[tuple[str, str]]:
    return [
        (f"{side.upper()} with {row['num_threads']} x {row['batch_size']}", row[side]["problem"])
        for row in view["latencies"]
        for side in ("a", "b")
        if row[side] is not None and row[side]["problem"]
    ]
