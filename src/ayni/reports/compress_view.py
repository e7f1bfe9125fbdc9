"""What a compression made, arranged for people: each variant against the full model, two variants side by side.

Begins with the result as `ayni.compress.variants.CompressResult.to_json` wrote it, and adds what follows from
it by division: share of the bytes, speed-up over the full model in torch and in ONNX Runtime.

Not covered: measuring and choosing; numbers as text (`ayni.reports.formats`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

Json = Mapping[str, Any]

FULL, FULL_ONNX = "full", "full-onnx"
SLOWER_BELOW = 0.95
"""Times as fast as the original, below which a variant is called slower: medians differ by a few percent."""


def compress_view(*, run_id: str, status: str, result: Json, folder: Path) -> dict[str, Any]:
    """The result of a compression with its run; paths are absolute.

    Each variant has in addition: bytes_ratio, speed_up, speed_up_over_onnx, is_slower. They are None where a
    number is unknown or there is no such row; is_slower says that a call takes clearly longer than one of the
    full model.
    """
    rows = {variant["name"]: variant for variant in result["variants"]}
    variants = [
        _row(variant, full=rows.get(FULL), onnx=rows.get(FULL_ONNX), folder=folder)
        for variant in result["variants"]
    ]
    return {"run": run_id, "status": status, **result, "variants": variants}


def comparison_view(of_a: Json, name_a: str, of_b: Json, name_b: str) -> dict[str, Any]:
    """Two variants side by side; `of_a` and `of_b` are what `compress_view` gave, the same or two.

    latencies: each condition that either was measured under. groups: each class and slice of either, those
    that differ most first; difference is the accuracy of b minus that of a.
    """
    a, b = _side(of_a, name_a), _side(of_b, name_b)
    return {
        "a": a,
        "b": b,
        "bytes_ratio": _over(b["stored_bytes"], a["stored_bytes"]),
        "speed_up": _over(a["latency_p50_seconds"], b["latency_p50_seconds"]),
        "energy_ratio": _over(b["energy_joules_per_1000"], a["energy_joules_per_1000"]),
        "latencies": _latencies(a, b),
        "groups": _groups(a, b),
    }


def has_variant(view: Json, name: str) -> bool:
    """Whether the compression made a variant of this name, the full model included."""
    return any(variant["name"] == name for variant in view["variants"])


def worst_group(variant: Json) -> Json | None:
    """The class that lost most against the full model, chance or not; None when no class is known."""
    groups = [
        group for group in _groups_of(variant) if group["kind"] == "class" and group["drop"] is not None
    ]
    return max(groups, key=lambda group: float(group["drop"]), default=None)


def hidden_losses(variant: Json) -> list[Json]:
    """Classes and slices that lost, beyond chance, more than the whole did; the worst first."""
    groups = [group for group in _groups_of(variant) if group["is_hidden_loss"]]
    return sorted(groups, key=lambda group: -float(group["drop"] or 0.0))


def _row(variant: Json, *, full: Json | None, onnx: Json | None, folder: Path) -> dict[str, Any]:
    seconds = variant["latency_p50_seconds"]
    speed_up = _over((full or {}).get("latency_p50_seconds"), seconds)
    return {
        **variant,
        "file": str(folder / variant["file"]),
        "companions": [str(folder / path) for path in variant["companions"]],
        "bytes_ratio": _over(variant["stored_bytes"], (full or {}).get("stored_bytes")),
        "speed_up": speed_up,
        "speed_up_over_onnx": _over((onnx or {}).get("latency_p50_seconds"), seconds),
        "is_slower": None if speed_up is None else speed_up < SLOWER_BELOW,
    }


def _over(above: float | None, below: float | None) -> float | None:
    return None if above is None or not below else above / below


def _side(view: Json, name: str) -> dict[str, Any]:
    variant = next(variant for variant in view["variants"] if variant["name"] == name)
    return {
        "run": view["run"],
        "metric": view["metric"],
        "metric_direction": view["metric_direction"],
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
        speed_up = _over((first or {}).get("p50_seconds"), (second or {}).get("p50_seconds"))
        rows.append(
            {"num_threads": threads, "batch_size": size, "a": first, "b": second, "speed_up": speed_up}
        )
    return rows


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
