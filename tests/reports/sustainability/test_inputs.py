from collections.abc import Callable

import pytest

from ayni.footprint.sums.kept_footprints import KeptFootprint
from ayni.footprint.sums.third_party import ImportedFile
from ayni.reports.sustainability.inputs import Period, PeriodError, ReportInputs, select

Kept = Callable[..., KeptFootprint]
Inputs = Callable[..., ReportInputs]
MARCH, APRIL = "2026-03-31T23:30:00+00:00", "2026-04-01T00:30:00+00:00"


def test_a_period_takes_what_began_in_its_months_both_ends_included(kept: Kept, inputs: Inputs) -> None:
    given = inputs(kept("a", started_at=MARCH, ended_at=APRIL), kept("b", started_at=APRIL, ended_at=APRIL))

    def runs(**period: str) -> list[str]:
        return [entry.run for entry in select(inputs(*given.kept, period=Period(**period))).counted]

    assert runs() == ["a", "b"]
    assert runs(last="2026-03") == ["a"]
    assert runs(first="2026-04") == ["b"]
    assert runs(first="2026-03", last="2026-04") == ["a", "b"]
    assert runs(first="2026-05") == []


@pytest.mark.parametrize("month", ["2026", "2026-13", "2026-00", "2026-3", "March", "2026-03-01"])
def test_what_is_no_month_is_refused(month: str) -> None:
    with pytest.raises(PeriodError, match="is not a month"):
        Period(first=month)


def test_a_period_does_not_end_before_it_begins() -> None:
    with pytest.raises(PeriodError, match="begins in 2026-04, after it ends in 2026-03"):
        Period(first="2026-04", last="2026-03")


def test_a_report_may_be_of_one_member(kept: Kept, inputs: Inputs) -> None:
    given = inputs(kept("a", member="lab-a"), kept("b", member="lab-b"), member="lab-b")

    assert [entry.run for entry in select(given).counted] == ["b"]


def test_a_nested_receipt_is_one_also_when_its_outer_run_began_in_another_month(
    kept: Kept, inputs: Inputs
) -> None:
    outer = kept("outer", started_at=MARCH, ended_at=APRIL)
    inner = kept("inner", started_at=APRIL, ended_at=APRIL, within={"run": "outer"})

    selection = select(inputs(outer, inner, period=Period(first="2026-04")))

    assert selection.counted == []
    assert [entry.run for entry in selection.nested] == ["inner"]


def test_a_run_that_stands_in_two_imports_counts_once(inputs: Inputs, imported: ImportedFile) -> None:
    selection = select(inputs(imports=[imported, imported]))

    assert [entry.run for entry in selection.imported] == ["run-1", "run-2"]
    assert selection.num_repeats == 2


def test_the_model_of_an_entry_is_what_its_run_published(kept: Kept, inputs: Inputs) -> None:
    given = inputs(kept("a"), kept("b"), models={"a": "me/digits"})

    assert [entry.model for entry in select(given).counted] == ["me/digits", None]
