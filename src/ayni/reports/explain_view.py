"""What the explain step found, as the run's object has it.

Not covered: drawing it; gallery.py and explain_section.py do.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ayni.reports.picking import absolute, picked, picked_all

EXPLAIN_KEYS = (
    "method",
    "method_key",
    "num_compared",
    "num_disagreements",
    "checks",
    "deletion",
    "changed",
    "importance",
    "note",
    "items",
)
CHECKS_KEYS = (
    "verdict",
    "reasons",
    "notes",
    "deletion",
    "insertion",
    "randomisation_correlation",
    "randomisation_bound",
    "completeness_error",
)
CURVE_KEYS = (
    "fractions",
    "attributed",
    "random",
    "area_attributed",
    "area_random",
    "difference_low",
    "difference_high",
    "num_examples",
)
CHANGED_KEYS = (
    "num_agreements",
    "num_disagreements",
    "margin_agreements",
    "margin_disagreements",
    "closer_probability",
    "variant_correlation",
    "kept_for",
    "kept_against",
    "reasons",
)
IMPORTANCE_KEYS = ("of", "metric", "features", "num_examples", "num_repeats", "note")
IMPORTANT_FEATURE_KEYS = ("name", "mean_drop", "low", "high")
DELETION_KEYS = (
    "num_examples",
    "fraction",
    "probability_before",
    "probability_after_top",
    "probability_after_random",
    "is_faithful",
)
ITEM_KEYS = (
    "index",
    "kind",
    "label",
    "prediction",
    "variant_prediction",
    "confidence",
    "variant_confidence",
    "input_image",
    "attribution_image",
    "attribution_file",
    "tokens",
    "values",
    "features",
    "change_image",
    "change_values",
)
FEATURE_KEYS = ("name", "value", "attribution")
DELETED_FRACTION = 0.2
"""Of `deletion`, the one point of the curve that runs of before there were curves have."""


def explain_view(result: Mapping[str, Any] | None, folder: Path) -> dict[str, Any] | None:
    """The promised keys of what the step wrote; None when it did not run."""
    explain = picked(result, EXPLAIN_KEYS)
    if explain is None:
        return None
    explain["checks"] = _checks(explain["checks"])
    explain["deletion"] = _deletion(explain["checks"]) or picked(explain["deletion"], DELETION_KEYS)
    explain["changed"] = picked(explain["changed"], CHANGED_KEYS)
    if explain["importance"] is not None:
        explain["importance"] = picked_all(explain["importance"], IMPORTANCE_KEYS)
        for each in explain["importance"]:
            each["features"] = picked_all(each["features"], IMPORTANT_FEATURE_KEYS)
    explain["items"] = picked_all(explain["items"], ITEM_KEYS)
    for item in explain["items"]:
        for key in ("input_image", "attribution_image", "attribution_file", "change_image"):
            item[key] = absolute(item[key], folder)
        if item["features"] is not None:
            item["features"] = picked_all(item["features"], FEATURE_KEYS)
    return explain


def _checks(result: Mapping[str, Any] | None) -> dict[str, Any] | None:
    checks = picked(result, CHECKS_KEYS)
    if checks is not None:
        for name in ("deletion", "insertion"):
            checks[name] = picked(checks[name], CURVE_KEYS)
    return checks


def _deletion(checks: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """One point of the deletion curve, under the keys that were there before the curve."""
    curve = None if checks is None else checks["deletion"]
    if curve is None or DELETED_FRACTION not in curve["fractions"]:
        return None
    place = curve["fractions"].index(DELETED_FRACTION)
    after_top, after_random = curve["attributed"][place], curve["random"][place]
    return {
        "num_examples": curve["num_examples"],
        "fraction": DELETED_FRACTION,
        "probability_before": curve["attributed"][0],
        "probability_after_top": after_top,
        "probability_after_random": after_random,
        "is_faithful": after_top < after_random,
    }
