"""The one object that describes a run, as `ayni runs show RUN --json` prints it.

Its keys are a promise: docs/run-object.md names every one of them and a test holds both equal. The
steps write what they like into their results; what is picked here is what a reader may rely on. Every
key is always there. A step that has not finished is null, and so is a number that nobody knows.

Not covered: reading the run's folder. Whoever calls has read the files; this module only arranges.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ayni.reports.footprint_view import footprint_view

SCHEMA = "ayni/run/1"

TRAIN_KEYS = (
    "strategy",
    "codec",
    "download_codec",
    "num_learners",
    "rounds",
    "samples",
    "wall_seconds",
    "compute_seconds",
    "utilisation",
    "bytes_sent",
    "bytes_up",
    "bytes_down",
    "metrics",
    "num_parameters",
    "num_updates",
    "num_dropped",
    "num_lost_updates",
    "num_optimizer_resets",
    "model_path",
    "notices",
    "curve",
)
CURVE_KEYS = (
    "round",
    "num_rounds",
    "samples",
    "train_loss",
    "metrics",
    "samples_per_second",
    "bytes_sent",
    "bytes_up",
    "bytes_down",
    "compute_seconds",
    "utilisation",
    "wall_seconds",
    "learners_alive",
    "num_updates",
    "num_dropped",
)
NOTICE_KEYS = ("at", "message")
VARIANT_KEYS = (
    "name",
    "file",
    "runtime",
    "is_candidate",
    "metrics",
    "interval",
    "validation_metrics",
    "drop",
    "test_drop",
    "qualifies",
    "num_parameters",
    "stored_bytes",
    "latency_p50_seconds",
    "energy_joules_per_1000",
    "energy_low_joules_per_1000",
    "energy_high_joules_per_1000",
    "energy_tier",
    "score",
    "note",
)
INTERVAL_KEYS = ("low", "high", "level", "method")
DATA_KEYS = ("name", "licence", "source", "attribution", "rows", "note", "splits")
BASELINE_KEYS = ("name", "metrics", "interval", "seconds", "note")
EXPLAIN_KEYS = ("method", "num_compared", "num_disagreements", "deletion", "note", "items")
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
)
FEATURE_KEYS = ("name", "value", "attribution")
PLAN_KEYS = ("rows", "totals", "offer", "limits", "violations", "risks")
PLAN_ROW_KEYS = (
    "step",
    "site",
    "start",
    "end",
    "longest_seconds",
    "num_cores",
    "energy_joules",
    "low_joules",
    "high_joules",
    "tier",
    "grams_co2e",
    "low_grams_co2e",
    "high_grams_co2e",
    "machine_microcredits",
    "electricity_microcredits",
    "cost_microcredits",
    "high_cost_microcredits",
)
PUBLISHED_KEYS = ("repository", "revision", "folder")
SETTLEMENT_KEYS = (
    "held_microcredits",
    "paid_microcredits",
    "unpaid_microcredits",
    "refund_microcredits",
    "policy",
)
# All of them: `check_transactions` of the market can be run on the object's own list.
TRANSACTION_KEYS = ("sequence", "id", "kind", "at", "run", "memo", "postings", "previous_hash", "hash")


def run_view(
    *,
    run_id: str,
    status: Mapping[str, Any],
    job: Mapping[str, Any],
    results: Mapping[str, Mapping[str, Any]],
    receipts: Sequence[Mapping[str, Any]],
    transactions: Sequence[Mapping[str, Any]],
    folder: Path,
) -> dict[str, Any]:
    """The documented object of one run, finished or not. Only plain JSON values.

    Args:
        run_id: the run's name in `ayni runs list`.
        status: content of status.json.
        job: content of job.json; the validated spec is its "spec", or the whole of it.
        results: finished steps by name, each as its `to_json` wrote it; "baseline" and "data" may be
            among them though they are not steps of their own, and "train" may have "notices" added.
        receipts: signed receipts in the order of their chain.
        transactions: the ledger's transactions of this run, oldest first.
        folder: the run's folder; the paths in the object start with it.
    """
    spec = job.get("spec", job)
    compressed = results.get("compress", {})
    return {
        "schema": SCHEMA,
        "run": run_id,
        "name": status.get("name", spec.get("name")),
        "status": status.get("status"),
        "error": status.get("error"),
        "created_at": status.get("created_at"),
        "updated_at": status.get("updated_at"),
        "folder": str(folder),
        "task": spec.get("task"),
        "task_sha256": job.get("task_sha256"),
        "seed": spec.get("seed"),
        "member": spec.get("member"),
        "metric": _metric_of(spec, results),
        "job": dict(spec),
        "data": _picked(results.get("data"), DATA_KEYS),
        "plan": _plan(results.get("plan")),
        "train": _train(results.get("train"), folder),
        "variants": [_variant(variant, folder) for variant in compressed.get("variants", [])],
        "chosen": compressed.get("chosen"),
        "reason": compressed.get("reason"),
        "baseline": _baseline(results.get("baseline")),
        "no_baseline_reason": results.get("explain", {}).get("no_baseline_reason"),
        "explain": _explain(results.get("explain"), folder),
        "footprint": footprint_view(receipts, folder=folder),
        "receipts": [str(path) for path in receipt_paths(receipts, folder)],
        "published": _picked(results.get("publish"), PUBLISHED_KEYS),
        "settlement": _picked(results.get("settle"), SETTLEMENT_KEYS),
        "ledger": [_picked(transaction, TRANSACTION_KEYS) for transaction in transactions],
        "report": _absolute(results.get("report", {}).get("path"), folder),
    }


def receipt_paths(receipts: Iterable[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Where the receipts of a run lie: receipts/0001-plan.json, 0002-train.json, ... in chain order."""
    return [
        folder / "receipts" / f"{position:04d}-{receipt.get('step', 'unknown')}.json"
        for position, receipt in enumerate(receipts, start=1)
    ]


def _metric_of(spec: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The metric to keep is the first that the task reports; the job says which way is better."""
    better = (spec.get("metric") or {}).get("better", "higher")
    variants = results.get("compress", {}).get("variants") or [{}]
    metrics = results.get("train", {}).get("metrics") or variants[0].get("metrics") or {}
    return {"name": next(iter(metrics), None), "better": better}


def _train(result: Mapping[str, Any] | None, folder: Path) -> dict[str, Any] | None:
    train = _picked(result, TRAIN_KEYS)
    if train is None:
        return None
    train["model_path"] = _absolute(train["model_path"], folder)
    train["notices"] = [_picked(notice, NOTICE_KEYS) for notice in train["notices"] or []]
    train["curve"] = [_picked(entry, CURVE_KEYS) for entry in train["curve"] or []]
    return train


def _variant(result: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    variant = {key: result.get(key) for key in VARIANT_KEYS}
    variant["file"] = _absolute(variant["file"], folder)
    variant["interval"] = _picked(variant["interval"], INTERVAL_KEYS)
    return variant


def _baseline(result: Mapping[str, Any] | None) -> dict[str, Any] | None:
    baseline = _picked(result, BASELINE_KEYS)
    if baseline is not None:
        baseline["interval"] = _picked(baseline["interval"], INTERVAL_KEYS)
    return baseline


def _explain(result: Mapping[str, Any] | None, folder: Path) -> dict[str, Any] | None:
    explain = _picked(result, EXPLAIN_KEYS)
    if explain is None:
        return None
    explain["deletion"] = _picked(explain["deletion"], DELETION_KEYS)
    explain["items"] = [_picked(item, ITEM_KEYS) for item in explain["items"] or []]
    for item in explain["items"]:
        for key in ("input_image", "attribution_image", "attribution_file"):
            item[key] = _absolute(item[key], folder)
        if item["features"] is not None:
            item["features"] = [_picked(feature, FEATURE_KEYS) for feature in item["features"]]
    return explain


def _plan(result: Mapping[str, Any] | None) -> dict[str, Any] | None:
    plan = _picked(result, PLAN_KEYS)
    if plan is None:
        return None
    plan["rows"] = [_picked(row, PLAN_ROW_KEYS) for row in plan["rows"] or []]
    return plan


def _picked(value: Mapping[str, Any] | None, keys: Sequence[str]) -> dict[str, Any] | None:
    """Exactly these keys, null where the step did not write one; null for a step that did not run."""
    return None if value is None else {key: value.get(key) for key in keys}


def _absolute(path: str | None, folder: Path) -> str | None:
    """A path of a step's result, which may be relative to the run's folder; null stays null."""
    return None if path is None else str(folder / path)
