from typing import Any

import pytest

from ayni.reports import comparison, formats


def baseline_of(view: dict[str, Any], value: float, interval: tuple[float, float] | None = None) -> None:
    view["baseline"]["metrics"] = {view["metric"]["name"]: value}
    view["baseline"]["interval"] = interval and {"low": interval[0], "high": interval[1]}


def remark(view: dict[str, Any]) -> str | None:
    text = comparison.baseline_remark(view)
    return text and text.replace(formats.NO_BREAK_SPACE, " ")


def test_a_baseline_that_is_better_is_remarked_with_both_numbers(view: dict[str, Any]) -> None:
    baseline_of(view, 0.994, (0.99, 0.998))

    assert remark(view) == "logistic regression does better: 99.4 % against 97.8 %"


def test_intervals_that_overlap_are_part_of_the_remark(view: dict[str, Any]) -> None:
    baseline_of(view, 0.982, (0.97, 0.99))

    assert remark(view) == (
        "logistic regression does better: 98.2 % against 97.8 %, with intervals that overlap"
    )


def test_without_a_chosen_variant_the_full_model_is_compared(view: dict[str, Any]) -> None:
    baseline_of(view, 0.982)
    view["chosen"] = None

    assert remark(view) is None


@pytest.mark.parametrize(("value", "is_better"), [(2.0, True), (3.0, False)])
def test_for_a_metric_that_should_be_low_better_means_lower(
    view: dict[str, Any], value: float, is_better: bool
) -> None:
    view["metric"] = {"name": "bits", "better": "lower"}
    for variant in view["variants"]:
        variant.update(metrics={"bits": 2.5}, interval=None)
    baseline_of(view, value)

    assert (remark(view) is not None) is is_better


@pytest.mark.parametrize("value", [0.978, 0.97801, 0.9, None])
def test_a_baseline_that_reads_the_same_is_worse_or_is_unknown_gets_no_remark(
    view: dict[str, Any], value: Any
) -> None:
    baseline_of(view, value)

    assert remark(view) is None


def test_without_baseline_or_variants_there_is_nothing_to_remark(
    view: dict[str, Any], unfinished_view: dict[str, Any]
) -> None:
    view["variants"], view["chosen"] = [], None

    assert remark(view) is None
    assert remark(unfinished_view) is None


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
