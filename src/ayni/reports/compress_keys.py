"""What compression made, as the object of a run describes it: variants, and what a search did.

Runs from before a key was there have it as null; then the report leaves out what it would have told.

Not covered: rating and choosing; that was done before the result was written.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ayni.reports.picking import absolute, picked, picked_all

VARIANT_KEYS = (
    "name",
    "file",
    "companions",
    "runtime",
    "is_candidate",
    "steps",
    "metrics",
    "interval",
    "validation_metrics",
    "drop",
    "test_drop",
    "qualifies",
    "changes",
    "no_changes_reason",
    "num_parameters",
    "stored_bytes",
    "peak_memory_bytes",
    "latency_p50_seconds",
    "latency_problem",
    "latencies",
    "energy_joules_per_1000",
    "energy_low_joules_per_1000",
    "energy_high_joules_per_1000",
    "energy_tier",
    "making",
    "break_even",
    "break_even_text",
    "score",
    "is_on_front",
    "note",
)
INTERVAL_KEYS = ("low", "high", "level", "method")
LATENCY_KEYS = (
    "num_threads",
    "batch_size",
    "p50_seconds",
    "p25_seconds",
    "p75_seconds",
    "min_seconds",
    "cpu_p50_seconds",
    "first_seconds",
    "num_calls",
    "problem",
)
ENERGY_KEYS = ("low_joules", "joules", "high_joules")
BREAK_EVEN_KEYS = ("low", "best", "high", "spent", "saved")
CHANGES_KEYS = (
    "accuracy",
    "groups",
    "hidden_losses",
    "flip_rate",
    "num_flipped",
    "num_lost",
    "num_won",
    "flipped",
    "lost",
    "won",
    "calibration_before",
    "calibration_after",
    "num_without_answer",
)
GROUP_KEYS = (
    "name",
    "kind",
    "num_examples",
    "num_lost",
    "num_won",
    "accuracy",
    "drop",
    "p_value",
    "verdict",
    "is_hidden_loss",
)
DIFFERENCE_KEYS = ("before", "after", "difference", "low", "high", "method", "num_examples", "level")
SEARCH_KEYS = ("stopped", "num_measured", "skipped", "seconds", "joules")

Json = Mapping[str, Any]


def variant_view(result: Json, folder: Path) -> dict[str, Any]:
    """One variant with exactly the documented keys, down to the innermost object."""
    variant = {key: result.get(key) for key in VARIANT_KEYS}
    variant["file"] = absolute(variant["file"], folder)
    variant["companions"] = [absolute(path, folder) for path in variant["companions"] or []]
    variant["steps"] = variant["steps"] or []
    variant["interval"] = picked(variant["interval"], INTERVAL_KEYS)
    variant["changes"] = _changes(variant["changes"])
    variant["latencies"] = picked_all(variant["latencies"], LATENCY_KEYS)
    variant["making"] = picked(variant["making"], ENERGY_KEYS)
    variant["break_even"] = _break_even(variant["break_even"])
    return variant


def search_view(summary: Json | None) -> dict[str, Any] | None:
    """What a search did; null when the job named its steps."""
    return picked(summary, SEARCH_KEYS)


def _changes(result: Json | None) -> dict[str, Any] | None:
    changes = picked(result, CHANGES_KEYS)
    if changes is None:
        return None
    changes["accuracy"] = picked(changes["accuracy"], DIFFERENCE_KEYS)
    changes["groups"] = picked_all(changes["groups"], GROUP_KEYS)
    for group in changes["groups"]:
        group["accuracy"] = picked(group["accuracy"], DIFFERENCE_KEYS)
    return changes


def _break_even(result: Json | None) -> dict[str, Any] | None:
    answer = picked(result, BREAK_EVEN_KEYS)
    if answer is not None:
        answer["spent"], answer["saved"] = (picked(answer[key], ENERGY_KEYS) for key in ("spent", "saved"))
    return answer
