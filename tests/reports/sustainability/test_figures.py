from collections.abc import Callable
from typing import Any

from ayni.footprint.sums.kept_footprints import KeptFootprint
from ayni.footprint.sums.third_party import ImportedFile
from ayni.reports.sustainability.figures import month_figures, ranked_figures
from ayni.reports.sustainability.inputs import ReportInputs
from ayni.reports.sustainability.view import sustainability_view

Kept = Callable[..., KeptFootprint]
Inputs = Callable[..., ReportInputs]


def test_months_have_a_plot_of_energy_and_one_of_carbon_with_intervals(inputs: Inputs) -> None:
    figures = month_figures(sustainability_view(inputs())["by_month"])

    assert ["Energy of the machines by month" in f.plot for f in figures] == [True, False]
    assert "Operational carbon by month" in figures[1].plot
    assert all(figure.caption == "Lines are 90 % intervals." for figure in figures)
    assert all('class="interval"' in figure.plot for figure in figures)


def test_each_basis_has_a_plot_of_its_own(kept: Kept, inputs: Inputs) -> None:
    first = kept("a")
    direct = {**first.receipts[0]["carbon"], "basis": "average, location-based, direct"}

    figures = month_figures(sustainability_view(inputs(first, kept("b", carbon=direct)))["by_month"])

    assert len(figures) == 3
    assert len({figure.plot for figure in figures}) == 3
    assert "Operational carbon by month, average, location-based, direct" in figures[1].plot


def test_a_ranking_of_one_is_none(kept: Kept, inputs: Inputs) -> None:
    alone = sustainability_view(inputs(kept("a")))["by_member"]
    two = sustainability_view(inputs(kept("a"), kept("b", member="lab-b")))["by_member"]

    assert ranked_figures("member", alone) == []
    assert len(ranked_figures("member", two)) == 2


def test_unknown_sums_are_not_drawn_and_partly_known_ones_are_explained(
    kept: Kept, inputs: Inputs, unknown: dict[str, Any]
) -> None:
    nothing = sustainability_view(inputs(kept("a", unknown)))["by_month"]
    partly = sustainability_view(inputs(kept("a", {}, unknown)))["by_month"]

    assert month_figures(nothing) == []
    assert "A hollow bar is what is known" in month_figures(partly)[0].caption


def test_imported_figures_are_drawn_by_themselves_and_say_so(inputs: Inputs, imported: ImportedFile) -> None:
    figures = month_figures(
        sustainability_view(inputs(imports=[imported]))["imported"]["by_month"], is_imported=True
    )

    assert "Imported: energy of the machines by month" in figures[0].plot
    assert figures[0].caption == "No interval is known."


def test_more_names_than_fit_are_told(kept: Kept, inputs: Inputs) -> None:
    runs = [kept(f"run-{number}", member=f"lab-{number}") for number in range(14)]

    figures = ranked_figures("member", sustainability_view(inputs(*runs))["by_member"])

    assert figures[0].caption.startswith("The 12 largest of 14.")
