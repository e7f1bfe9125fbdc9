import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ayni.footprint.sums.kept_footprints import KeptFootprint
from ayni.footprint.sums.third_party import ImportedFile
from ayni.reports.sustainability.inputs import Period, ReportInputs
from ayni.reports.sustainability.view import sustainability_view
from ayni.signing import load_or_create_key

Kept = Callable[..., KeptFootprint]
Inputs = Callable[..., ReportInputs]
KWH = 3_600_000_000_000
APRIL = {"started_at": "2026-04-02T12:00:00+00:00", "ended_at": "2026-04-02T14:00:00+00:00"}
DIRECT = "average, location-based, direct"


@pytest.fixture
def carbon() -> dict[str, Any]:
    golden = Path(__file__).parent.parent.parent / "footprint" / "golden" / "receipt_2.json"
    return dict(json.loads(golden.read_text())["carbon"])


def test_groups_add_up_to_the_total_in_whole_microjoules(kept: Kept, inputs: Inputs) -> None:
    view = sustainability_view(
        inputs(kept("a", {}, APRIL, member="lab-a"), kept("b", member="lab-b"), models={"a": "lab-a/digits"})
    )

    assert view["totals"]["energy_microjoules"]["value"] == 3 * KWH
    for by in ("month", "member", "job", "model", "tier", "zone"):
        assert sum(group["energy_microjoules"]["value"] for group in view[f"by_{by}"]) == 3 * KWH
    assert [(group["month"], group["entries"]) for group in view["by_month"]] == [
        ("2026-03", 2),
        ("2026-04", 1),
    ]
    assert [group["model"] for group in view["by_model"]] == ["lab-a/digits", None]


def test_different_bases_have_separate_sums_everywhere(
    kept: Kept, inputs: Inputs, carbon: dict[str, Any]
) -> None:
    view = sustainability_view(inputs(kept("a"), kept("b", carbon={**carbon, "basis": DIRECT})))

    for group in (view["totals"], *view["by_month"], *view["by_member"]):
        assert [each["grams_co2e"]["value"] for each in group["carbon"]] == [480.0, 480.0]
        assert [each["basis"] for each in group["carbon"]] == [DIRECT, "average, location-based, life-cycle"]


def test_an_unknown_step_leaves_sums_null_with_what_is_known_beside(
    kept: Kept, inputs: Inputs, unknown: dict[str, Any]
) -> None:
    totals = sustainability_view(inputs(kept("a", {}, unknown)))["totals"]

    assert totals["energy_microjoules"]["value"] is None
    assert totals["energy_microjoules"]["known"]["value"] == KWH
    assert totals["energy_microjoules"]["num_unknown"] == 1
    assert totals["cost"]["total_microcredits"] is None
    assert totals["embodied_grams_co2e"]["value"] == 90.0


def test_imported_figures_stand_apart_and_are_in_no_sum(inputs: Inputs, imported: ImportedFile) -> None:
    view = sustainability_view(inputs(imports=[imported]))

    assert view["totals"]["energy_microjoules"]["value"] == KWH
    assert view["imported"]["totals"]["energy_microjoules"] == {
        "value": 2 * KWH,
        "low": None,
        "high": None,
        "known": {"value": 2 * KWH, "low": None, "high": None},
        "num_known": 2,
        "num_unknown": 0,
    }
    assert view["imported"]["totals"]["tier"] == "third-party"
    assert view["imported"]["totals"]["carbon"][0]["basis"] == "not declared"
    (statement,) = view["imported"]["statements"]
    assert (statement["imported_by"], statement["entries"]) == ("maria", 2)
    assert {entry["tier"] for entry in view["imported_entries"]} == {"third-party"}


def test_an_import_of_another_period_is_not_named(inputs: Inputs, imported: ImportedFile) -> None:
    view = sustainability_view(inputs(imports=[imported], period=Period(first="2026-05")))

    assert view["imported"]["statements"] == []


def test_a_nested_receipt_is_shown_and_counts_once(kept: Kept, inputs: Inputs) -> None:
    view = sustainability_view(inputs(kept("outer"), kept("inner", within={"run": "outer"})))

    assert view["totals"]["energy_microjoules"]["value"] == KWH
    assert [entry["run"] for entry in view["nested"]] == ["inner"]


def test_signatures_and_chains_are_checked_and_keys_are_named(
    kept: Kept, inputs: Inputs, tmp_path: Path
) -> None:
    other = load_or_create_key(tmp_path / "other.pem")

    checks = sustainability_view(inputs(kept("a", {}, {}), kept("b", by=other)))["checks"]

    assert (checks["receipts"], checks["chains"], checks["chains_ok"], checks["problems"]) == (3, 2, 2, [])
    assert {(each["receipts"], each["is_of_this_home"]) for each in checks["keys"]} == {(2, True), (1, False)}


def test_a_receipt_that_was_changed_is_found(kept: Kept, inputs: Inputs) -> None:
    run = kept("a", {}, {})
    run.receipts[0]["energy_microjoules"] += 1

    checks = sustainability_view(inputs(run))["checks"]

    assert checks["chains_ok"] == 0
    assert checks["problems"][0].startswith("a: The content does not fit its hash")


def test_a_chain_with_a_receipt_missing_has_a_hole(kept: Kept, inputs: Inputs) -> None:
    run = kept("a", {}, {})
    cut = replace(run, entries=run.entries[1:], receipts=run.receipts[1:])
    told = replace(cut, problems=("0001-plan.json does not hold a receipt",))

    assert "missing" in sustainability_view(inputs(cut))["checks"]["problems"][0]
    assert sustainability_view(inputs(told))["checks"]["problems"] == [
        "a: a receipt of this chain cannot be added up, so that the chain has a hole"
    ]
    assert sustainability_view(inputs(told))["left_out"] == ["0001-plan.json does not hold a receipt"]


def test_a_home_without_receipts_has_a_report(inputs: Inputs) -> None:
    view = sustainability_view(inputs(period=Period(first="2030-01")))

    assert (view["entries"], view["by_month"], view["totals"]["entries"]) == ([], [], 0)
    assert view["period"]["first_month"] is None


def test_the_object_is_json(kept: Kept, inputs: Inputs, imported: ImportedFile, unknown: dict) -> None:
    view = sustainability_view(inputs(kept("a", {}, unknown), imports=[imported]))

    assert json.loads(json.dumps(view, allow_nan=False)) == view


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**14)), min_size=1, max_size=6))
def test_whatever_the_energies_members_add_up_to_the_total(
    kept: Kept, inputs: Inputs, drawn: list[tuple[str, int]]
) -> None:
    runs = [
        kept(
            f"run-{index}",
            member=member,
            energy_microjoules=energy,
            energy_low_microjoules=energy // 2,
            energy_high_microjoules=2 * energy,
        )
        for index, (member, energy) in enumerate(drawn)
    ]

    view = sustainability_view(inputs(*runs))

    assert view["totals"]["energy_microjoules"]["value"] == sum(energy for _, energy in drawn)
    assert sum(each["energy_microjoules"]["value"] for each in view["by_member"]) == sum(
        energy for _, energy in drawn
    )
