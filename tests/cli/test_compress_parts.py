"""The variants of a run in a terminal of 80 columns."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console, RenderableType

from ayni.cli.comparison_parts import comparison_parts
from ayni.cli.compress_parts import (
    break_even_text,
    changes_lines,
    cost_table,
    latency_text,
    quality_table,
    search_lines,
    variants_parts,
)
from ayni.reports.compress_view import comparison_view
from ayni.reports.compress_view import compress_view as arranged

Json = dict[str, Any]
DASH = "\N{EN DASH}"


@pytest.fixture
def run(compress_view: Callable[..., Json]) -> Json:
    """The object of a run."""
    return compress_view()


@pytest.fixture
def view(run: Json) -> Json:
    return arranged(run)


def drawn(part: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(part, markup=False, soft_wrap=isinstance(part, str))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().replace("\N{NO-BREAK SPACE}", " ")


def shown(parts: list[RenderableType]) -> str:
    return "".join(drawn(part) for part in parts)


def line(text: str, name: str) -> str:
    (found,) = (each for each in text.splitlines() if each[2:].startswith(f"{name} "))
    return found


def test_a_row_has_quality_with_its_interval_size_and_front(view: Json) -> None:
    text = drawn(quality_table(view))

    assert line(text, "int8").split() == [
        *("*", "int8", "97.5", "%", f"(96.5{DASH}98.5)", "0.50", "pt", "1.00", "MB", "25", "%", "front")
    ]
    assert line(text, "full").split()[:4] == ["full", "98.0", "%", f"(97.0{DASH}99.0)"]
    assert "4.0 pt!" in line(text, "int4")


def test_a_row_has_its_speed_against_both_originals_and_when_it_is_paid_back(view: Json) -> None:
    text = drawn(cost_table(view))

    # 20 J to make, 15 mJ saved by each inference; the interval is that of two readings of one meter.
    best = view["variants"][2]["break_even"]["best"]
    assert best == 1334
    assert line(text, "int8").split()[:8] == ["*", "int8", "500", "µs", "±10%", "4.0", "2.0", "5.0"]
    assert "1.3k (" in line(text, "int8")
    assert line(text, "full").split()[-1] == "-"


def test_a_row_slower_than_the_original_says_so_and_one_not_to_be_quoted_has_a_mark(view: Json) -> None:
    text = shown(variants_parts(view))

    assert "? int3: 40 of 100 calls waited" in text
    table = drawn(cost_table(view))
    assert line(table, "int4").split()[1:] == [
        "4.00",
        "ms",
        "±10%",
        "0.50",
        "slower",
        "0.25",
        "40",
        "J",
        "never",
    ]
    assert line(table, "int3").split()[1:] == ["4.00", "ms", "±10%?", "-", "-", "40", "J", "never"]


def test_below_stand_the_reason_what_it_pays_and_what_the_search_did(view: Json) -> None:
    text = shown(variants_parts(view))

    assert f"* chosen: {view['reason']}\n" in text
    assert f"{view['pays']}\n" in text
    assert "Search: 2 pipelines measured in 19.0 s, 300 J. Ended: 20 s of 20 s are used up.\n" in text
    assert "  - pruned0: it loses 0.1 on the proxy measure\n" in text
    assert "  - and 2 more, which --json names\n" in text
    assert "\nWARNING" not in text


def test_a_warning_of_the_model_is_shown(view: Json) -> None:
    assert "\nWARNING: quantized before" in shown(variants_parts({**view, "warning": "quantized before"}))


def test_what_changed_is_said_as_in_the_report_with_a_warning_of_hidden_losses(view: Json) -> None:
    text = "\n".join(changes_lines(view)).replace("\N{NO-BREAK SPACE}", " ")

    assert text.startswith(
        "What changed with int8:\n  12 of 100 test examples (12 %) are answered differently"
    )
    assert "The class that lost most is dog: 100.0 % before, 70.0 % after (30 pt)." in text
    assert "Expected calibration error" in text
    assert "  WARNING: int8 loses 12 pt in all, and more than that in parts, beyond chance: class dog" in text


def test_answers_that_are_no_classes_are_said_to_be_unknown_with_the_reason(view: Json) -> None:
    view["variants"][2] |= {"changes": None, "no_changes_reason": "labels are texts"}

    assert changes_lines(view) == [
        "What changed with int8:",
        "  Not compared answer by answer: labels are texts.",
    ]


def test_no_variant_that_qualifies_is_a_result(view: Json) -> None:
    text = shown(variants_parts({**view, "chosen": None, "reason": "each loses too much", "pays": ""}))

    assert "No variant was chosen: each loses too much" in text
    assert "What changed" not in text


def test_named_steps_show_no_search() -> None:
    assert search_lines(None) == []


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (None, "unknown"),
        ({"low": "never", "best": "never", "high": "never"}, "never"),
        ({"low": 800, "best": 1_280, "high": "never"}, f"1.3k (800{DASH}never)"),
        ({"low": 8_000_000, "best": 12_300_000, "high": 25_000_000_000}, f"12M (8.0M{DASH}25G)"),
    ],
)
def test_break_even_is_short(found: Json | None, text: str) -> None:
    assert break_even_text(found) == text


def test_a_spread_beyond_measure_is_no_number() -> None:
    latency = {"p25_seconds": 0.001, "p50_seconds": 0.001, "p75_seconds": 0.9, "problem": None}

    assert latency_text(latency).replace("\N{NO-BREAK SPACE}", " ") == "1.00 ms ±>99%"


def test_runs_from_before_there_was_more_to_tell_are_shown(view: Json) -> None:
    for variant in view["variants"]:
        new = ("changes", "no_changes_reason", "making", "break_even", "break_even_text", "is_on_front")
        variant |= {**dict.fromkeys(new), "latencies": []}
    view |= dict.fromkeys(("inferences", "pays", "search", "warning"))

    text = shown(variants_parts(view))

    assert line(drawn(cost_table(view)), "int8").split()[2:4] == ["500", "µs"]
    assert "* chosen" in text and "Search" not in text


def test_two_variants_stand_side_by_side(run: Json) -> None:
    text = shown(comparison_parts(comparison_view(run, "full", run, "int8")))

    assert text.startswith("A: full of run-1\nB: int8 (chosen) of run-1\n")
    assert "stored" in text and "25 %" in text
    assert "1 x 32" in text
    assert "dog" in text and "30 pt" in text


def test_variants_without_classes_say_why(run: Json) -> None:
    text = shown(comparison_parts(comparison_view(run, "full-onnx", run, "int3")))

    assert "Classes are not compared: nobody looked." in text
    assert "Not to be quoted, B with 1 x 1: 40 of 100 calls waited" in text


@pytest.mark.parametrize("name", ["int8", "pruned50-distilled-low-rank35-distilled-int8-stored"])
def test_no_line_of_a_table_is_wider_than_the_terminal(view: Json, name: str) -> None:
    view["variants"][2]["name"] = view["chosen"] = name

    for table in (quality_table(view), cost_table(view)):
        assert max(len(line) for line in drawn(table).splitlines()) <= 80
        # A cell that was folded would make a line of its own without a name.
        assert len(drawn(table).splitlines()) <= 2 + 5 + name.count("-") // 2
