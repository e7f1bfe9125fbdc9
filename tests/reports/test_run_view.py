import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ayni.compress.variants import CompressResult
from ayni.market.offers import Limits
from ayni.market.own_machine import own_machine_offer
from ayni.market.planning import StepEstimate, make_plan
from ayni.reports.compress_keys import (
    BREAK_EVEN_KEYS,
    CHANGES_KEYS,
    DIFFERENCE_KEYS,
    GROUP_KEYS,
    LATENCY_KEYS,
    SEARCH_KEYS,
    VARIANT_KEYS,
)
from ayni.reports.run_view import PLAN_ROW_KEYS, run_view

GOLDEN = Path(__file__).parent / "golden" / "run_object.json"
DOCUMENT = Path(__file__).parents[2] / "docs" / "run-object.md"
FOLDER = Path("/runs/one")


def test_the_object_of_a_known_run_is_the_golden_one(view: dict[str, Any]) -> None:
    # A change of this file is a change of a promise: document it, and keep old keys.
    assert view == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ("Top level", ""),
        ("Metric", "metric"),
        ("Data", "data"),
        ("Plan", "plan"),
        ("Plan row", "plan.rows.0"),
        ("Alternative", "plan.alternatives.0"),
        ("Train", "train"),
        ("Privacy", "train.privacy"),
        ("Notice", "train.notices.0"),
        ("Curve point", "train.curve.0"),
        ("Variant", "variants.0"),
        ("Latency", "variants.0.latencies.0"),
        ("Making", "variants.4.making"),
        ("Making", "variants.4.break_even.saved"),
        ("Break-even", "variants.4.break_even"),
        ("Changes", "variants.4.changes"),
        ("Group", "variants.4.changes.groups.0"),
        ("Difference", "variants.4.changes.accuracy"),
        ("Difference", "variants.4.changes.groups.0.accuracy"),
        ("Search", "search"),
        ("Interval", "variants.0.interval"),
        ("Baseline", "baseline"),
        ("Baseline", "tree"),
        ("Coefficient", "baseline.coefficients.0"),
        ("Weight image", "baseline.images.0"),
        ("Robustness", "robustness"),
        ("Model on corrupted images", "robustness.models.0"),
        ("Audit", "audit"),
        ("Verdict", "audit.verdict"),
        ("Attack", "audit.attack"),
        ("Interval of a share", "audit.attack.auc"),
        ("Exposed example", "audit.exposed.0"),
        ("Explain", "explain"),
        ("Sanity checks", "explain.checks"),
        ("Curve of a check", "explain.checks.deletion"),
        ("Curve of a check", "explain.checks.insertion"),
        ("What the compression changed", "explain.changed"),
        ("Importance", "explain.importance.0"),
        ("Important feature", "explain.importance.0.features.0"),
        ("Deletion check", "explain.deletion"),
        ("Explained example", "explain.items.0"),
        ("Feature", "explain.items.2.features.0"),
        ("Footprint", "footprint"),
        ("Receipt in short", "footprint.steps.0"),
        ("Node", "footprint.node"),
        ("Published", "published"),
        ("Settlement", "settlement"),
        ("Transaction", "ledger.0"),
    ],
)
def test_every_key_is_documented_and_no_other(view: dict[str, Any], section: str, path: str) -> None:
    found = _at(view, path)

    assert list(found) == _documented_keys(section)


def test_every_object_of_the_document_is_checked() -> None:
    sections = re.findall(r"^## (.+)$", DOCUMENT.read_text(), flags=re.MULTILINE)

    tested = test_every_key_is_documented_and_no_other.pytestmark[0].args[1]
    assert set(sections) - {"Not in the object"} == {section for section, _ in tested}


def test_a_step_that_did_not_run_is_null_and_its_key_is_there(
    view: dict[str, Any], unfinished_view: dict[str, Any]
) -> None:
    assert list(unfinished_view) == list(view)
    for key in (
        "plan",
        "train",
        "chosen",
        "baseline",
        "audit",
        "robustness",
        "explain",
        "footprint",
        "published",
        "report",
    ):
        assert unfinished_view[key] is None
    assert unfinished_view["variants"] == unfinished_view["receipts"] == unfinished_view["ledger"] == []


def test_a_field_that_a_step_did_not_write_is_null_not_zero(run_inputs: dict[str, Any]) -> None:
    del run_inputs["results"]["train"]["bytes_sent"]

    assert run_view(**run_inputs, folder=FOLDER)["train"]["bytes_sent"] is None


def test_a_run_from_before_bytes_were_told_apart_has_the_new_keys_as_null(run_inputs: dict[str, Any]) -> None:
    train = run_inputs["results"]["train"]
    for key in ("codec", "bytes_up", "bytes_down", "utilisation", "num_dropped", "notices"):
        for old in (train, *train["curve"]):
            old.pop(key, None)

    found = run_view(**run_inputs, folder=FOLDER)["train"]

    assert found["bytes_up"] is found["utilisation"] is found["curve"][0]["num_dropped"] is None
    assert found["notices"] == []
    assert found["bytes_sent"] > 0


def test_a_run_from_before_there_were_curves_keeps_its_one_deletion(run_inputs: dict[str, Any]) -> None:
    explained = run_inputs["results"]["explain"]
    for key in ("checks", "changed", "importance", "method_key"):
        del explained[key]
    explained["deletion"] = {"num_examples": 64, "fraction": 0.2, "probability_after_top": 0.3}

    found = run_view(**run_inputs, folder=FOLDER)["explain"]

    assert found["checks"] is found["changed"] is found["importance"] is None
    assert (found["deletion"]["num_examples"], found["deletion"]["probability_after_top"]) == (64, 0.3)


def test_the_deletion_of_a_run_is_the_point_of_its_curve_at_a_fifth(view: dict[str, Any]) -> None:
    curve, point = view["explain"]["checks"]["deletion"], view["explain"]["deletion"]

    assert curve["fractions"][2] == point["fraction"] == 0.2
    assert (curve["attributed"][2], curve["random"][2]) == (
        point["probability_after_top"],
        point["probability_after_random"],
    )


def test_a_run_from_before_changes_and_break_even_has_the_new_keys_as_null(old_view: dict[str, Any]) -> None:
    chosen = old_view["variants"][-1]

    assert old_view["pays"] is old_view["search"] is old_view["warning"] is old_view["inferences"] is None
    assert chosen["changes"] is chosen["break_even"] is chosen["is_on_front"] is chosen["making"] is None
    assert chosen["latencies"] == chosen["steps"] == chosen["companions"] == []
    assert chosen["latency_p50_seconds"] > 0


def test_what_compression_writes_is_what_is_picked_from(run_inputs: dict[str, Any]) -> None:
    written = run_inputs["results"]["compress"]

    again = CompressResult.from_json(written).to_json()

    assert again.keys() == written.keys()
    picked = set(VARIANT_KEYS)
    assert all(picked <= variant.keys() for variant in again["variants"])
    int8 = again["variants"][-1]
    assert set(LATENCY_KEYS) == set(int8["latencies"][0])
    assert set(BREAK_EVEN_KEYS) == set(int8["break_even"])
    assert set(CHANGES_KEYS) <= set(int8["changes"])
    assert set(GROUP_KEYS) == set(int8["changes"]["groups"][0])
    assert set(DIFFERENCE_KEYS) == set(int8["changes"]["accuracy"])
    assert set(SEARCH_KEYS) == set(again["search"])


def test_the_object_is_plain_json(view: dict[str, Any]) -> None:
    assert json.loads(json.dumps(view, allow_nan=False)) == view


def test_paths_inside_the_run_become_absolute(run_inputs: dict[str, Any]) -> None:
    view = run_view(**run_inputs, folder=FOLDER)

    assert view["receipts"][1] == "/runs/one/receipts/0002-train.json"
    assert view["train"]["model_path"] == "/runs/one/train/model.safetensors"
    assert view["report"] == "/runs/one/report/report.html"


def test_the_receipts_of_a_run_are_added_up(view: dict[str, Any], run_inputs: dict[str, Any]) -> None:
    microjoules = [receipt["energy_microjoules"] for receipt in run_inputs["receipts"]]

    assert view["footprint"]["energy_joules"] == pytest.approx(sum(microjoules) / 1e6)
    assert view["footprint"]["cost_microcredits"] == sum(
        receipt["cost"]["total_microcredits"] for receipt in run_inputs["receipts"]
    )


def test_one_receipt_of_unknown_energy_makes_the_sum_unknown(run_inputs: dict[str, Any]) -> None:
    run_inputs["receipts"][1]["energy_microjoules"] = None

    footprint = run_view(**run_inputs, folder=FOLDER)["footprint"]

    assert footprint["energy_joules"] is None
    assert footprint["steps"][0]["energy_joules"] is not None


def test_the_tier_of_a_sum_is_that_of_its_worst_part(run_inputs: dict[str, Any]) -> None:
    run_inputs["receipts"][0]["tier"], run_inputs["receipts"][1]["tier"] = "W1", "W4"

    assert run_view(**run_inputs, folder=FOLDER)["footprint"]["energy_tier"] == "W4"


def test_the_node_account_adds_up_to_the_microjoule(view: dict[str, Any]) -> None:
    node = dict(view["footprint"]["node"])

    assert node.pop("node_microjoules") == sum(node.values())


def test_a_plan_as_the_market_writes_it_leaves_no_key_unknown(run_inputs: dict[str, Any]) -> None:
    run_inputs["results"]["plan"] = _real_plan()

    plan = run_view(**run_inputs, folder=FOLDER)["plan"]

    assert all(plan[key] is not None for key in plan)
    assert all(plan["rows"][0][key] is not None for key in PLAN_ROW_KEYS)


class _Intensity:
    grams_co2e_per_kwh, low, high = 350.0, 200.0, 600.0


def _real_plan() -> dict[str, Any]:
    offer = own_machine_offer(
        site="own",
        member="me",
        num_cores=2,
        memory_bytes=10**9,
        zone="DE",
        pue=1.2,
        ask_credits_per_core_hour=0.01,
        electricity_credits_per_kwh=0.3,
    )
    step = StepEstimate(
        step="train",
        wall_seconds=30,
        num_cores=2,
        energy_joules=300,
        low_joules=100,
        high_joules=900,
        tier="W3",
    )
    now = datetime(2026, 11, 22, tzinfo=UTC)
    plan = make_plan([step], offer=offer, limits=Limits(credits=5), now=now, carbon_intensity=_Intensity())
    return plan.to_json()


def _documented_keys(section: str) -> list[str]:
    text = DOCUMENT.read_text().split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)


def _at(value: Any, path: str) -> Any:
    for part in path.split(".") if path else []:
        value = value[int(part)] if part.isdigit() else value[part]
    return value
