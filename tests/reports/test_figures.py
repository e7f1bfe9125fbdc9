from typing import Any

import pytest

from ayni.reports import figures, formats
from ayni.reports.plot_marks import FRONT, PALE, RING, WHISKER


def trade_offs(view: dict[str, Any]) -> figures.TradeOffs:
    found = figures.trade_offs(view)
    assert found is not None
    return found


def of_size(view: dict[str, Any]) -> str:
    return str(trade_offs(view).plots[0])


def key(view: dict[str, Any]) -> str:
    return " ".join(entry.meaning for entry in trade_offs(view).reading)


def plain(text: str) -> str:
    return text.replace(formats.NO_BREAK_SPACE, " ")


def test_what_is_lost_is_drawn_against_size_latency_and_energy(view: dict[str, Any]) -> None:
    titles = [str(plot).split("</title>")[0].rpartition(">")[2] for plot in trade_offs(view).plots]

    assert titles == [
        "Accuracy lost against full, by size on disk",
        "Accuracy lost against full, by latency, one thread",
        "Accuracy lost against full, by energy per 1,000 inferences",
    ]


def test_every_variant_is_in_the_words_for_those_who_cannot_see_the_plot(view: dict[str, Any]) -> None:
    words = plain(of_size(view).split("<desc")[1].split("</desc>")[0])

    assert "int8 (chosen): 0.50 pt at 66.8 kB" in words
    assert all(f"{variant['name']}" in words for variant in view["variants"])


def test_a_metric_that_should_be_low_is_above_that_of_the_full_model(view: dict[str, Any]) -> None:
    view["metric"] = {"name": "perplexity", "better": "lower"}
    view["baseline"] = None

    assert "Perplexity above full (less is better)" in of_size(view)


def test_the_front_is_joined_and_explained(view: dict[str, Any]) -> None:
    assert FRONT in of_size(view)
    assert "The front" in key(view)


def test_a_front_of_one_point_is_not_drawn_and_not_explained(view: dict[str, Any]) -> None:
    for variant in view["variants"]:
        variant.update(test_drop=0.0, changes=None)

    assert FRONT not in of_size(view)
    assert "The front" not in key(view)


def test_marks_that_are_not_there_are_not_explained(old_view: dict[str, Any]) -> None:
    old_view["chosen"] = None

    assert "chosen" not in key(old_view)
    assert "intervals" not in key(old_view)


def test_variants_at_one_place_are_a_ring(view: dict[str, Any]) -> None:
    chosen, other = view["variants"][-1], view["variants"][0]
    view["variants"] = [{**other, "stored_bytes": 10 * chosen["stored_bytes"]}, chosen]
    assert RING not in of_size(view)

    view["variants"][0].update(stored_bytes=chosen["stored_bytes"], test_drop=chosen["test_drop"])

    assert RING in of_size(view)


def test_bars_are_the_interval_of_answers_compared_one_by_one(view: dict[str, Any]) -> None:
    assert of_size(view).count(WHISKER) == 3

    view["variants"][-1]["changes"]["accuracy"]["difference"] = -0.02

    # The task's own accuracy says -0.005: it is another metric, and its interval is not known.
    assert of_size(view).count(WHISKER) == 2


def test_bars_of_shares_of_right_answers_do_not_stand_at_another_metric(view: dict[str, Any]) -> None:
    view["metric"]["name"] = "f1"

    assert WHISKER not in of_size(view)


def test_of_many_variants_those_that_others_beat_are_pale_and_have_no_name(
    searched_view: dict[str, Any],
) -> None:
    drawn = of_size(searched_view)
    marks = drawn.split("</desc>")[1]

    assert PALE in drawn
    assert all(f">{name}</text>" in marks for name in ("int8", "distilled", "full-onnx"))
    assert "low-rank75-recovered-1" in marks
    assert "int4-stored-2" not in marks
    assert "6 more, from" in marks


def test_of_few_variants_each_has_its_name(view: dict[str, Any]) -> None:
    assert PALE in of_size(view)
    assert ">full</text>" in of_size(view)


def test_a_single_variant_is_no_trade_off(view: dict[str, Any]) -> None:
    del view["variants"][1:]

    assert figures.trade_offs(view) is None


@pytest.mark.parametrize("key", ["test_drop", "energy_joules_per_1000"])
def test_what_is_unknown_is_not_drawn(view: dict[str, Any], key: str) -> None:
    for variant in view["variants"]:
        variant[key] = None

    found = figures.trade_offs(view)

    assert (None if found is None else len(found.plots)) == (None if key == "test_drop" else 2)
