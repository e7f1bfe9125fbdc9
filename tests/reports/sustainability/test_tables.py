from collections.abc import Callable
from typing import Any

from ayni.footprint.sums.kept_footprints import KeptFootprint
from ayni.footprint.sums.third_party import ImportedFile
from ayni.reports.sustainability.inputs import ReportInputs
from ayni.reports.sustainability.tables import Line, imports_table, receipts_table
from ayni.reports.sustainability.view import sustainability_view

Kept = Callable[..., KeptFootprint]
Inputs = Callable[..., ReportInputs]


def plain(line: Line) -> dict[str, str]:
    cells = {cell.label: " / ".join([cell.text, *(r.text for r in cell.remarks)]) for cell in line.cells}
    return {label: text.replace("\N{NO-BREAK SPACE}", " ") for label, text in cells.items()}


def test_a_row_has_every_sum_with_its_interval_in_the_units_of_its_column(kept: Kept, inputs: Inputs) -> None:
    view = sustainability_view(inputs(kept("a")))

    table = receipts_table("Month", "month", view["by_month"], view["totals"])

    assert table.total is None
    assert table.lines[0].name == "Mar\N{NO-BREAK SPACE}2026"
    assert plain(table.lines[0]) == {
        "Receipts": "1",
        "Energy of the machines": "1.0 kWh (0.50\N{EN DASH}2.0)",
        "Energy of the facility": "1.2 kWh",
        "Carbon, CO2e": "480 g (240\N{EN DASH}960)",
        "Embodied, CO2e": "45 g (22\N{EN DASH}90)",
        "Water": "2.4 l (0.60\N{EN DASH}7.2) / on site 1.8 l",
        "Cost": "0.4000 credits",
        "Tier": "W3",
    }


def test_what_is_known_of_a_sum_says_so(kept: Kept, inputs: Inputs, unknown: dict[str, Any]) -> None:
    view = sustainability_view(inputs(kept("a", {}, unknown), kept("b", unknown, member="lab-b")))

    table = receipts_table("Member", "member", view["by_member"], view["totals"])

    partly, wholly = (plain(line) for line in table.lines)
    assert partly["Energy of the machines"].startswith("\N{GREATER-THAN OR EQUAL TO}1.0 kWh")
    assert partly["Energy of the machines"].endswith("/ 1 of 2 unknown")
    assert partly["Cost"] == "0.4400 credits / 1 unknown"
    assert (wholly["Energy of the machines"], wholly["Carbon, CO2e"]) == ("unknown", "unknown")
    assert table.total is not None
    assert plain(table.total)["Energy of the machines"].endswith("2 of 3 unknown")


def test_each_basis_has_a_column_and_who_has_none_of_it_a_dash(kept: Kept, inputs: Inputs) -> None:
    first = kept("a")
    direct = {**first.receipts[0]["carbon"], "basis": "average, location-based, direct"}
    view = sustainability_view(inputs(first, kept("b", member="lab-b", carbon=direct)))

    table = receipts_table("Member", "member", view["by_member"], view["totals"])

    columns = [name for name in table.columns if name.startswith("Carbon")]
    assert columns == [
        "Carbon, CO2e: average, location-based, direct",
        "Carbon, CO2e: average, location-based, life-cycle",
    ]
    assert plain(table.lines[0])[columns[0]] == "\N{EN DASH}"


def test_the_tier_of_a_tier_is_not_said_twice(inputs: Inputs) -> None:
    view = sustainability_view(inputs())

    assert receipts_table("Tier", "tier", view["by_tier"], view["totals"]).columns[-1] == "Cost"


def test_imported_figures_have_no_intervals(inputs: Inputs, imported: ImportedFile) -> None:
    found = sustainability_view(inputs(imports=[imported]))["imported"]

    table = imports_table("Month", "month", found["by_month"], found["totals"])

    assert plain(table.lines[0]) == {
        "Figures": "1",
        "Energy of the machines": "1.0 kWh",
        "Energy of the facility": "1.5 kWh",
        "Carbon, CO2e": "600 g",
    }


def test_a_run_without_a_published_model_is_said_to_have_none(inputs: Inputs) -> None:
    view = sustainability_view(inputs())

    assert receipts_table("Model", "model", view["by_model"], view["totals"]).lines[0].name == "not published"
