from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ayni.footprint.sums.kept_footprints import KeptFootprint
from ayni.footprint.sums.third_party import ImportedFile
from ayni.reports.sustainability.inputs import ReportInputs, select
from ayni.reports.sustainability.not_covered import ALWAYS, not_covered, problems

Kept = Callable[..., KeptFootprint]
Inputs = Callable[..., ReportInputs]


def told(inputs: ReportInputs) -> str:
    return "\n".join(not_covered(inputs, select(inputs))).replace("\N{NO-BREAK SPACE}", " ")


def test_what_no_report_covers_is_always_said(inputs: Inputs) -> None:
    assert not_covered(inputs(), select(inputs()))[-len(ALWAYS) :] == list(ALWAYS)
    assert "certificates" in told(inputs())


def test_what_meters_count_is_named_with_its_tier(inputs: Inputs) -> None:
    assert "Counted are: processor and memory (W3)." in told(inputs())


def test_unknown_figures_are_counted(kept: Kept, inputs: Inputs, unknown: dict[str, Any]) -> None:
    text = told(inputs(kept("a", {}, unknown)))

    assert "The energy of 1 of 2 receipts is unknown, and in no sum." in text
    assert "The cost of electricity of 1 of 2 receipts is unknown" in text
    assert "embodied carbon of" not in text


def test_interruptions_are_added_up(kept: Kept, inputs: Inputs) -> None:
    assert "At most 12.0 s of work" in told(inputs(kept("a", {}, {}, unmetered_seconds_at_most=6.0)))


def test_nested_overlapping_and_crossing_receipts_are_told(kept: Kept, inputs: Inputs) -> None:
    inner = kept("inner", within={"run": "outer"})
    crossing = {"started_at": "2026-03-31T23:00:00+00:00", "ended_at": "2026-04-01T01:00:00+00:00"}

    text = told(inputs(kept("outer"), inner, kept("beside"), kept("late", **crossing)))

    assert "1 receipts lie within another run" in text
    assert "2 receipts overlap others in time" in text
    assert "1 receipts reach into another month" in text


def test_imports_are_told_with_what_they_lack(inputs: Inputs, imported: ImportedFile) -> None:
    text = told(inputs(imports=[imported, imported]))

    assert "2 figures were imported from other tools" in text
    assert "2 imported figures stand elsewhere as well and count once" in text


def test_files_that_could_not_be_read_are_listed_whatever_the_period(kept: Kept, inputs: Inputs) -> None:
    damaged = replace(kept("a"), problems=("0002-train.json is gone",))

    assert problems(inputs(damaged, import_problems=["an import is damaged"])) == [
        "0002-train.json is gone",
        "an import is damaged",
    ]
