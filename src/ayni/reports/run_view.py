"""The one object that describes a run, as `ayni runs show RUN --json` prints it.

Its keys are a promise: docs/run-object.md names every one of them and a test holds both equal. The
steps write what they like into their results; what is picked here is what a reader may rely on. Every
key is always there. A step that has not finished is null, and so is a number that nobody knows.

Not covered: reading the run's folder. Whoever calls has read the files; this module only arranges.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ayni.reports.audit_view import audit_view
from ayni.reports.compress_keys import INTERVAL_KEYS, search_view, variant_view
from ayni.reports.explain_view import explain_view
from ayni.reports.footprint_view import footprint_view
from ayni.reports.picking import absolute, picked, picked_all
from ayni.reports.robustness_view import robustness_view

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
    "privacy",
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
PRIVACY_KEYS = (
    "epsilon",
    "delta",
    "target_epsilon",
    "accountant",
    "sampling",
    "sample_rate",
    "noise_multiplier",
    "clip",
    "steps",
    "learners",
    "lost_attempts",
    "unit",
)
NOTICE_KEYS = ("at", "message")
DATA_KEYS = (
    "name",
    "licence",
    "source",
    "attribution",
    "rows",
    "classes",
    "sha256",
    "note",
    "splits",
    "augmentation",
)
BASELINE_KEYS = ("name", "metrics", "interval", "seconds", "note", "coefficients", "rules", "images")
COEFFICIENT_KEYS = ("answer", "feature", "weight")
WEIGHT_IMAGE_KEYS = ("answer", "image")
PLAN_KEYS = ("rows", "totals", "offer", "limits", "alternatives", "violations", "risks")
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
ALTERNATIVE_KEYS = (
    "site",
    "machine_class",
    "source",
    "dated",
    "zone",
    "start",
    "end",
    "price_microcredits",
    "grams_co2e",
    "reason",
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
        results: finished steps by name, each as its `to_json` wrote it; "baseline", "tree" and "data" may be
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
        "data": picked(results.get("data"), DATA_KEYS),
        "plan": _plan(results.get("plan")),
        "train": _train(results.get("train"), folder),
        "variants": [variant_view(variant, folder) for variant in compressed.get("variants", [])],
        "chosen": compressed.get("chosen"),
        "reason": compressed.get("reason"),
        "inferences": compressed.get("inferences"),
        "pays": compressed.get("pays"),
        "search": search_view(compressed.get("search")),
        "warning": compressed.get("warning"),
        "baseline": _baseline(results.get("baseline"), folder),
        "tree": _baseline(results.get("tree"), folder),
        "no_baseline_reason": results.get("explain", {}).get("no_baseline_reason"),
        "audit": audit_view(results.get("audit"), folder),
        "robustness": robustness_view(results.get("explain", {}).get("robustness")),
        "explain": explain_view(results.get("explain"), folder),
        "footprint": footprint_view(receipts, folder=folder),
        "receipts": [str(path) for path in receipt_paths(receipts, folder)],
        "published": picked(results.get("publish"), PUBLISHED_KEYS),
        "settlement": picked(results.get("settle"), SETTLEMENT_KEYS),
        "ledger": picked_all(transactions, TRANSACTION_KEYS),
        "report": absolute(results.get("report", {}).get("path"), folder),
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
    train = picked(result, TRAIN_KEYS)
    if train is None:
        return None
    train["model_path"] = absolute(train["model_path"], folder)
    train["privacy"] = picked(train["privacy"], PRIVACY_KEYS)
    train["notices"] = picked_all(train["notices"], NOTICE_KEYS)
    train["curve"] = picked_all(train["curve"], CURVE_KEYS)
    return train


def _baseline(result: Mapping[str, Any] | None, folder: Path) -> dict[str, Any] | None:
    baseline = picked(result, BASELINE_KEYS)
    if baseline is not None:
        baseline["interval"] = picked(baseline["interval"], INTERVAL_KEYS)
        baseline["coefficients"] = picked_all(baseline["coefficients"], COEFFICIENT_KEYS)
        baseline["images"] = picked_all(baseline["images"], WEIGHT_IMAGE_KEYS)
        for one in baseline["images"]:
            one["image"] = absolute(one["image"], folder)
    return baseline


def _plan(result: Mapping[str, Any] | None) -> dict[str, Any] | None:
    plan = picked(result, PLAN_KEYS)
    if plan is None:
        return None
    plan["rows"] = picked_all(plan["rows"], PLAN_ROW_KEYS)
    plan["alternatives"] = picked_all(plan["alternatives"], ALTERNATIVE_KEYS)
    return plan
