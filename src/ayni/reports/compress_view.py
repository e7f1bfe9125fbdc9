"""What a compression made, for a terminal: each variant against the full model, two variants side by side.

Begins with the object of a run (docs/run-object.md), and adds what follows from it by division: share of the
bytes, speed-up over the full model in torch and in ONNX Runtime.

Not covered: measuring and choosing; numbers as text (`ayni.reports.formats`).
"""

from collections.abc import Mapping
from typing import Any

from ayni.reports.variants import View, full_variant, is_slower, speed_up

Json = Mapping[str, Any]

FULL, FULL_ONNX = "full", "full-onnx"
KEYS = (
    *("run", "status", "metric", "job", "chosen", "reason", "inferences", "pays", "search", "warning"),
    "variants",
)
"""Of the object of a run, those that concern compression."""


def compress_view(view: View) -> dict[str, Any]:
    """What the object of a run says of its compression.

    Each variant has in addition: bytes_ratio, speed_up, speed_up_over_onnx, which are None where a number is
    unknown or not to be quoted, or there is no such row; and is_slower, which says that a call takes clearly
    longer than one of the full model.
    """
    onnx = next((variant for variant in view["variants"] if variant["name"] == FULL_ONNX), None)
    variants = [_row(view, variant, onnx) for variant in view["variants"]]
    return {**{key: view[key] for key in KEYS}, "variants": variants}


def comparison_view(of_a: View, name_a: str, of_b: View, name_b: str) -> dict[str, Any]:
    """Two variants side by side; `of_a` and `of_b` are objects of runs, the same or two.

    latencies: each condition that either was measured under. groups: each class and slice of either, those
    that differ most first; difference is the accuracy of b minus that of a.
    """
    a, b = _side(of_a, name_a), _side(of_b, name_b)
    return {
        "a": a,
        "b": b,
        "bytes_ratio": _over(b["stored_bytes"], a["stored_bytes"]),
        "speed_up": speed_up(a, b),
        "energy_ratio": _over(b["energy_joules_per_1000"], a["energy_joules_per_1000"]),
        "latencies": _latencies(a, b),
        "groups": _groups(a, b),
    }


def _row(view: View, variant: Json, onnx: Json | None) -> dict[str, Any]:
    full = full_variant(view)
    assert full is not None
    return {
        **variant,
        "bytes_ratio": _over(variant["stored_bytes"], full["stored_bytes"]),
        "speed_up": speed_up(full, variant),
        "speed_up_over_onnx": None if onnx is None else speed_up(onnx, variant),
        "is_slower": is_slower(view, variant),
    }


def _over(above: float | None, below: float | None) -> float | None:
    return None if above is None or not below else above / below


def _side(view: View, name: str) -> dict[str, Any]:
    variant = next(variant for variant in view["variants"] if variant["name"] == name)
    return {
        "run": view["run"],
        "metric": view["metric"],
        "is_chosen": view["chosen"] == name,
        **variant,
    }


def _latencies(a: Json, b: Json) -> list[dict[str, Any]]:
    measured = [
        {(each["num_threads"], each["batch_size"]): each for each in one["latencies"]} for one in (a, b)
    ]
    of_a, of_b = measured
    rows = []
    for threads, size in sorted({*of_a, *of_b}):
        first, second = of_a.get((threads, size)), of_b.get((threads, size))
        ratio = _sound_ratio(first, second)
        rows.append({"num_threads": threads, "batch_size": size, "a": first, "b": second, "speed_up": ratio})
    return rows


def _sound_ratio(first: Json | None, second: Json | None) -> float | None:
    """On a busy machine a quotient of two times can be anything."""
    if first is None or second is None or first["problem"] or second["problem"]:
        return None
    return _over(first["p50_seconds"], second["p50_seconds"])


def _groups(a: Json, b: Json) -> list[dict[str, Any]]:
    of_a, of_b = (
        {(group["kind"], group["name"]): group for group in groups}
        for groups in (_groups_beside(a, b), _groups_beside(b, a))
    )
    rows = []
    for kind, name in dict.fromkeys((*of_a, *of_b)):
        first, second = of_a.get((kind, name)), of_b.get((kind, name))
        before, after = _accuracy(first), _accuracy(second)
        rows.append(
            {
                "kind": kind,
                "name": name,
                "num_examples": (first or second or {})["num_examples"],
                "a": first,
                "b": second,
                "difference": None if before is None or after is None else after - before,
            }
        )
    return sorted(rows, key=lambda row: -abs(row["difference"] or 0.0))


def _groups_beside(one: Json, other: Json) -> list[Json]:
    """The groups of one; the full model's are what those of the other were compared with."""
    if one["name"] != FULL or one["run"] != other["run"]:
        return _groups_of(one)
    return [_before(group) for group in _groups_of(other)]


def _before(group: Json) -> Json:
    accuracy = group["accuracy"]
    kept = None if accuracy is None else {**accuracy, "after": accuracy["before"], "difference": 0.0}
    unchanged = {"num_lost": 0, "num_won": 0, "drop": None if accuracy is None else 0.0}
    return {**group, **unchanged, "accuracy": kept, "verdict": "kept", "is_hidden_loss": False}


def _groups_of(variant: Json) -> list[Json]:
    return list((variant["changes"] or {}).get("groups", []))


def _accuracy(group: Json | None) -> float | None:
    """Of the variant, in this group; None for one without examples."""
    accuracy = (group or {}).get("accuracy")
    return None if accuracy is None else float(accuracy["after"])
