from typing import Any

from ayni.reports import comparison, formats


def test_each_step_shows_its_plan_beside_what_was_metered(view: dict[str, Any]) -> None:
    plan, train = comparison.planned_steps(view)

    assert (plan["step"], train["step"]) == ("plan", "train")
    assert train["planned"]["seconds"] == 35.0
    assert train["real"]["wall_seconds"] == 36.2


def test_a_step_that_was_not_planned_is_shown_without_a_plan(view: dict[str, Any]) -> None:
    view["plan"]["rows"] = view["plan"]["rows"][:1]

    assert comparison.planned_steps(view)[1]["planned"] is None


def test_a_planned_step_that_never_ran_is_shown_as_not_metered(view: dict[str, Any]) -> None:
    view["footprint"] = None

    assert all(row["real"] is None for row in comparison.planned_steps(view))


def test_limits_show_what_was_used_of_them_in_the_same_unit(view: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in comparison.limits(view)}

    assert list(rows) == ["Credits", "Energy", "Carbon, CO2e", "Time"]
    assert rows["Energy"]["allowed"] == f"180{formats.NO_BREAK_SPACE}kJ"
    assert rows["Time"]["share"] == f"0.5{formats.NO_BREAK_SPACE}%"


def test_a_limit_that_was_not_declared_is_not_shown(view: dict[str, Any]) -> None:
    view["plan"]["limits"] = {
        "credits": None,
        "energy_kwh": None,
        "carbon_grams": 20.0,
        "deadline_seconds": None,
    }

    assert [row["name"] for row in comparison.limits(view)] == ["Carbon, CO2e"]
