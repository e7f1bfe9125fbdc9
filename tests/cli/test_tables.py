"""Tables fit 80 columns and say the same as the report."""

import io
from typing import Any

import pytest
from rich.console import Console, RenderableType

from ayni.cli import tables


def drawn(part: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(part, markup=False, soft_wrap=isinstance(part, str))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().replace("\N{NO-BREAK SPACE}", " ")


def variant(name: str, accuracy: float, **values: Any) -> dict[str, Any]:
    return {
        "name": name,
        "metrics": {"accuracy": accuracy},
        "interval": {"low": accuracy - 0.011, "high": accuracy + 0.008, "level": 0.95, "method": "wilson"},
        "num_parameters": 421_642,
        "stored_bytes": 1_690_000,
        "latency_p50_seconds": 0.00032,
        "energy_joules_per_1000": 0.71,
        "energy_low_joules_per_1000": 0.36,
        "energy_high_joules_per_1000": 1.6,
        "score": 0.4,
        **values,
    }


@pytest.fixture
def view() -> dict[str, Any]:
    return {
        "run": "20261122-120000-125-digits",
        "status": "finished",
        "error": None,
        "metric": {"name": "accuracy", "better": "higher"},
        "plan": None,
        "variants": [
            variant("full", 0.981),
            variant("distilled", 0.978),
            variant("int8", 0.977, score=0.893),
        ],
        "chosen": "int8",
        "reason": "the best score",
        "baseline": {
            "name": "logistic regression",
            "metrics": {"accuracy": 0.902},
            "interval": {"low": 0.88, "high": 0.92},
        },
        "footprint": {
            "energy_joules": 1830.0,
            "energy_tier": "W3",
            "grams_co2e": 0.21,
            "cost_microcredits": 1893,
        },
        "published": {"repository": "me/digits", "revision": "0123456789abcdef"},
        "report": "/home/report.html",
    }


def test_the_result_has_a_line_for_each_variant_and_the_baseline(view: dict[str, Any]) -> None:
    lines = drawn(tables.result_table(view)).splitlines()

    assert len(lines) == 2 + 4
    assert "98.1 % (97.0\N{EN DASH}98.9)" in lines[2]
    assert lines[5].split()[:2] == ["baseline", "90.2"]


def test_the_chosen_variant_alone_is_marked(view: dict[str, Any]) -> None:
    lines = drawn(tables.result_table(view)).splitlines()

    assert [line for line in lines if line.startswith("*")] == [lines[4]]
    assert lines[4].startswith("* int8")


def test_the_path_of_the_report_is_the_last_line(view: dict[str, Any]) -> None:
    text = "".join(drawn(part) for part in tables.run_parts(view))

    assert text.splitlines()[-1] == "Report: /home/report.html"
    assert "Published: me/digits at 0123456789ab\n" in text
    assert "* chosen: the best score\n  baseline: logistic regression\n" in text


def test_no_variant_that_qualifies_is_a_result(view: dict[str, Any]) -> None:
    view |= {"chosen": None, "reason": "each loses more than 1 point"}

    text = "".join(drawn(part) for part in tables.run_parts(view))

    assert "No variant was chosen: each loses more than 1 point" in text


def test_unknown_numbers_are_called_unknown_and_not_zero(view: dict[str, Any]) -> None:
    view["variants"] = [{"name": "full", "metrics": {"accuracy": 0.9}}]

    line = drawn(tables.result_table(view)).splitlines()[2]

    assert line.split() == ["full", "90.0", "%", *["unknown"] * 5]


def test_an_unfinished_run_says_how_to_go_on() -> None:
    view = {"run": "20261122-120000-125-digits", "status": "interrupted", "error": None}

    lines = [drawn(part).strip() for part in tables.run_parts(view)]

    assert lines == [
        "Run 20261122-120000-125-digits: interrupted",
        "Go on with: ayni resume 20261122-120000-125-digits",
    ]


def test_markup_in_names_is_shown_as_it_is(view: dict[str, Any]) -> None:
    view["reason"] = "[red]not a colour[/red]"

    assert "[red]not a colour[/red]" in "".join(drawn(part) for part in tables.run_parts(view))


ROW = {
    "step": "train",
    "site": "own",
    "start": "2026-11-22T12:00:00+00:00",
    "end": "2026-11-22T12:01:05+00:00",
    "energy_joules": 1200.0,
    "low_joules": 500.0,
    "high_joules": 3300.0,
    "grams_co2e": 0.13,
    "cost_microcredits": 3300,
}
VIOLATION = {
    "limit": "carbon_grams",
    "unit": "g CO2e",
    "allowed": 0.1,
    "estimated": 0.13,
    "high": 0.5,
}


def test_a_plan_says_where_when_and_what_it_takes() -> None:
    totals = {key: ROW[key] for key in ("energy_joules", "low_joules", "high_joules", "grams_co2e")}
    plan = {"rows": [ROW], "totals": {"seconds": 65.0, "cost_microcredits": 3300, **totals}}

    lines = drawn(tables.plan_table(plan)).splitlines()

    assert lines[2].split()[:2] == ["train", "own"]
    assert "12:00:00  1 min 05 s  1.2 kJ (0.50\N{EN DASH}3.3)  130 mg  0.0033" in lines[2]
    assert lines[-1].split()[:4] == ["total", "1", "min", "05"]


def test_what_a_plan_did_not_take_is_named_with_the_reason_once_for_each_reason() -> None:
    unknown = {
        "site": "lab",
        "machine_class": "v100",
        "source": "member",
        "dated": None,
        "zone": "DE",
        "start": None,
        "end": None,
        "price_microcredits": None,
        "grams_co2e": None,
        "reason": "nobody knows",
    }
    known = {
        **unknown,
        "site": "gcp-x",
        "source": "cloud:gcp",
        "dated": "2026-07-01",
        "start": "2026-11-22T12:00:00+00:00",
        "end": "2026-11-22T13:00:00+00:00",
        "price_microcredits": 3_500_000,
        "grams_co2e": 120.0,
        "reason": "3 credits dearer",
    }

    lines = str(tables.alternatives_text({"alternatives": [unknown, {**unknown, "site": "attic"}, known]}))

    assert lines.replace("\u00a0", " ").splitlines() == [
        "Looked at and not taken:",
        "  lab, v100; attic, v100: nobody knows",
        "  gcp-x, v100 (prices of 2026-07-01), from 11-22 12:00 for 3.50 credits and 120 g CO2e: "
        "3 credits dearer",
    ]
    assert str(tables.alternatives_text({"alternatives": []})) == ""


def test_a_plan_names_the_limits_that_it_exceeds_and_those_at_risk() -> None:
    line = "  carbon_grams: about 0.13 g CO2e (up to 0.5), allowed 0.1"

    exceeded = tables.violations_text({"violations": [VIOLATION], "risks": []}).plain
    at_risk = tables.violations_text({"violations": [], "risks": [VIOLATION]}).plain
    within = tables.violations_text({"violations": [], "risks": []}).plain

    assert exceeded == f"The plan exceeds limits of the job:\n{line}"
    assert at_risk == f"Within the limits of the job, but the high end of the estimate is not:\n{line}"
    assert within == "Within the limits of the job."


def test_the_list_of_runs_shows_a_damaged_one() -> None:
    summaries = [
        {"run": "b", "status": "finished", "created_at": "2026-11-22T12:00:00", "finished_steps": ["plan"]},
        {"run": "a", "status": "damaged", "created_at": None, "finished_steps": []},
    ]

    lines = drawn(tables.runs_table(summaries)).splitlines()

    assert lines[2].split() == ["b", "finished", "2026-11-22", "12:00", "plan"]
    assert lines[3].split() == ["a", "damaged", "-", "-"]


@pytest.mark.parametrize(
    "probabilities",
    [{"7": 0.993, "1": 0.004}, [0.993, 0.004], [{"label": "7", "probability": 0.993}]],
)
def test_a_prediction_shows_its_label_and_probability(probabilities: Any) -> None:
    found = [{"file": "seven.png", "prediction": 7, "label": "seven", "probabilities": probabilities}]

    assert drawn(tables.predictions_table(found)).splitlines()[2].split() == ["seven.png", "seven", "99.3%"]


def test_a_prediction_without_classes_shows_the_output() -> None:
    found = [{"file": "x.npy", "prediction": [0.5], "label": None, "probabilities": None}]

    assert drawn(tables.predictions_table(found)).splitlines()[2].split() == ["x.npy", "[0.5]", "-"]


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(view: dict[str, Any], width: int) -> None:
    text = drawn(tables.result_table(view), width)

    assert max(len(line) for line in text.splitlines()) <= width


def test_the_data_are_named_and_splits_that_share_examples_are_warned_about(view: dict[str, Any]) -> None:
    view["data"] = {"name": "MNIST", "note": "5,000 images", "splits": {"num_shared": {"train-test": 3}}}

    shown = "".join(drawn(part) for part in tables.run_parts(view))

    assert "Data: MNIST. 5,000 images" in shown
    assert "WARNING" in shown and "train-test 3" in shown


def test_the_plan_is_shown_beside_each_limit_of_the_job() -> None:
    totals = {"cost_microcredits": 1_000_000, "energy_joules": 36_000.0, "grams_co2e": 2.0, "seconds": 60.0}
    plan = {"limits": {"credits": 5, "energy_kwh": None, "carbon_grams": 20}, "totals": totals}

    shown = str(tables.violations_text(plan))

    assert shown == "Within the limits of the job: 1 of 5 credits, 2 of 20 g CO2e."


def test_a_baseline_that_does_better_is_said_below_the_table(view: dict[str, Any]) -> None:
    view["baseline"]["metrics"]["accuracy"] = 0.99

    shown = "".join(drawn(part) for part in tables.run_parts(view))

    assert "WARNING: logistic regression does better" in shown
