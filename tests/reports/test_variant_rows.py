from typing import Any

from ayni.reports import formats
from ayni.reports.variant_rows import Row, doubtful_latencies, has_break_even, rows


def row(view: dict[str, Any], name: str) -> Row:
    shown, folded = rows(view)
    return next(each for each in (*shown, *folded) if each.variant["name"] == name)


def texts(remarks: Any) -> list[str]:
    return [remark.text.replace(formats.NO_BREAK_SPACE, " ") for remark in remarks]


def test_a_row_compares_with_the_original_and_with_the_same_model_in_the_runtime(
    view: dict[str, Any],
) -> None:
    int8 = row(view, "int8")

    assert texts(int8.latency) == ["5.1\u00d7 faster than full", "2.4\u00d7 faster than full-onnx"]
    assert texts(int8.size) == ["8.0 % of full", "in memory 3.15 MB"]
    assert int8.break_even == "31,000 (14,000 to 86,000)"
    assert texts(row(view, "full-onnx").latency) == ["2.2\u00d7 faster than full"]
    assert row(view, "full").latency == row(view, "full").size == []


def test_a_slower_variant_is_called_slower_than_the_original(view: dict[str, Any]) -> None:
    view["variants"][-1]["latency_p50_seconds"] = 0.00082

    int8 = row(view, "int8")

    assert "slower than the original" in [badge.text for badge in int8.badges if badge.is_bad]
    first = int8.latency[0]
    assert (first.text, first.is_bad) == ("2.0\u00d7 slower than full", True)
    assert "slower than the original" not in texts(row(view, "distilled").badges)


def test_an_original_that_the_runtime_makes_slower_is_no_variant_that_is(view: dict[str, Any]) -> None:
    view["variants"][1]["latency_p50_seconds"] = 0.00082

    assert "slower than the original" not in texts(row(view, "full-onnx").badges)


def test_a_hidden_loss_is_a_badge_and_is_named(view: dict[str, Any]) -> None:
    int8 = row(view, "int8")

    assert texts(int8.badges) == ["chosen", "hidden loss"]
    assert texts(int8.beside) == ["ONNX Runtime", "class 8 lost 8.0 pt"]


def test_of_many_hidden_losses_some_are_named_and_the_others_counted(view: dict[str, Any]) -> None:
    groups = view["variants"][-1]["changes"]["groups"]
    lost = next(group for group in groups if group["is_hidden_loss"])
    groups.extend({**lost, "name": str(index), "drop": 0.03} for index in range(4))

    assert texts(row(view, "int8").beside)[1].endswith("class 1 lost 3.0 pt and 2 more")


def test_a_doubtful_latency_is_said_in_the_row_and_explained_once(view: dict[str, Any]) -> None:
    assert doubtful_latencies(view) == []
    view["variants"][-1]["latency_problem"] = "9 of 10 calls waited"

    # A ratio of times that are not to be quoted would be quoted.
    assert texts(row(view, "int8").latency) == ["not to be quoted"]
    assert texts(doubtful_latencies(view)) == ["int8: 9 of 10 calls waited"]


def test_break_even_is_never_or_unknown_in_words_and_nothing_for_the_full_model(
    view: dict[str, Any], old_view: dict[str, Any]
) -> None:
    view["variants"][-1]["break_even"].update(low="never", best="never", high="never")
    view["variants"][-2]["break_even"] = None

    assert row(view, "int8").break_even == "never"
    assert row(view, "distilled").break_even == "unknown"
    assert row(view, "full").break_even == ""
    assert has_break_even(view)
    assert not has_break_even(old_view)


def test_rows_of_an_old_run_say_what_is_known(old_view: dict[str, Any]) -> None:
    int8 = row(old_view, "int8")

    assert texts(int8.badges) == ["chosen"]
    assert texts(int8.latency) == ["5.1\u00d7 faster than full", "2.4\u00d7 faster than full-onnx"]


def test_unknown_numbers_give_no_comparison(view: dict[str, Any]) -> None:
    view["variants"][-1].update(stored_bytes=None, latency_p50_seconds=None, peak_memory_bytes=None)

    assert row(view, "int8").size == row(view, "int8").latency == []
