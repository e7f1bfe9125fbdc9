from collections.abc import Callable
from typing import Any

from ayni.footprint.sums.kept_footprints import KeptFootprint
from ayni.footprint.sums.third_party import ImportedFile
from ayni.reports.sustainability.headline import imported_strip, lede, metered_strip, title
from ayni.reports.sustainability.inputs import Period, ReportInputs
from ayni.reports.sustainability.view import sustainability_view

Kept = Callable[..., KeptFootprint]
Inputs = Callable[..., ReportInputs]


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def strip(view: dict[str, Any]) -> dict[str, str]:
    return {one.name: plain(f"{one.value} | {one.note}") for one in metered_strip(view)}


def test_the_title_says_what_when_and_how_much(inputs: Inputs) -> None:
    view = sustainability_view(inputs())

    assert plain(title(view)) == "Footprint, Mar 2026: 1.0 kWh, 480 g CO2e"


def test_the_title_names_the_period_and_the_member_that_were_asked_for(kept: Kept, inputs: Inputs) -> None:
    view = sustainability_view(inputs(period=Period(first="2026-01", last="2026-12"), member="lab-a"))

    assert plain(title(view)).startswith("Footprint of lab-a, Jan 2026 to Dec 2026: ")


def test_a_sum_with_unknown_parts_is_at_least_that(
    kept: Kept, inputs: Inputs, unknown: dict[str, Any]
) -> None:
    view = sustainability_view(inputs(kept("a", {}, unknown)))

    assert plain(title(view)).endswith(": at least 1.0 kWh, at least 480 g CO2e")
    assert strip(view)["Cost"] == "unknown | 0.4400 credits known, machines 0.0800 credits"


def test_carbon_of_several_bases_is_not_one_number_in_the_title(kept: Kept, inputs: Inputs) -> None:
    first = kept("a")
    direct = {**first.receipts[0]["carbon"], "basis": "average, location-based, direct"}
    view = sustainability_view(inputs(first, kept("b", carbon=direct)))

    assert plain(title(view)).endswith("2.0 kWh, carbon on 2 bases")
    assert [one.note for one in metered_strip(view) if one.name.startswith("Operational")] == [
        "(240\N{EN DASH}960), average, location-based, direct",
        "(240\N{EN DASH}960), average, location-based, life-cycle",
    ]


def test_the_strip_has_every_kind_of_sum(inputs: Inputs) -> None:
    found = strip(sustainability_view(inputs()))

    assert found["Energy of the machines"] == "1.0 kWh | (0.50\N{EN DASH}2.0), 3.6 MJ"
    assert found["Energy of the facility"] == "1.2 kWh | times PUE"
    assert found["Embodied carbon, CO2e"] == "45 g | (22\N{EN DASH}90), making of machines"
    assert found["Cost"] == "0.4000 credits | machines 0.0400 credits"
    assert found["Metered time"] == "2 h 00 min | 1 receipt"


def test_the_first_sentences_say_whose_word_it_is(inputs: Inputs, imported: ImportedFile) -> None:
    own = " ".join(lede(sustainability_view(inputs())))
    strange = " ".join(lede(sustainability_view(inputs(public_key="another", imports=[imported]))))

    assert own == (
        "1 signed receipt of 1 run, 1 job and 1 member. The least certain figures are of tier W3. "
        "All of them are as their keys signed them."
    )
    assert "1 receipt signed by other keys than this home's." in strange
    assert "What other tools measured is below by itself" in strange


def test_nothing_metered_is_said_and_no_zero_shown(inputs: Inputs) -> None:
    view = sustainability_view(inputs(period=Period(last="2020-01")))

    assert title(view).endswith("nothing metered")
    assert metered_strip(view) == []
    assert imported_strip(view) == []


def test_imports_have_a_strip_without_intervals(inputs: Inputs, imported: ImportedFile) -> None:
    found = imported_strip(sustainability_view(inputs(imports=[imported])))

    assert [plain(one.value) for one in found] == ["2.0 kWh", "3.0 kWh", "1.2 kg", "2"]
