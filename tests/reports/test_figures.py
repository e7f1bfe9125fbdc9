from typing import Any

from ayni.reports import figures
from ayni.reports.plots import has_front


def of_size(view: dict[str, Any]) -> figures.TradeOff:
    return figures.trade_offs(view)[0]


def test_the_staircase_is_explained_where_one_is_drawn(view: dict[str, Any]) -> None:
    drawn = of_size(view)

    assert has_front(drawn.plot)
    assert "staircase" in drawn.caption


def test_a_front_of_one_point_has_no_staircase_and_no_word_of_it(view: dict[str, Any]) -> None:
    for variant in view["variants"]:
        variant["metrics"]["accuracy"] = 0.98

    drawn = of_size(view)

    assert not has_front(drawn.plot)
    assert "staircase" not in drawn.caption


def test_marks_that_are_not_there_are_not_explained(view: dict[str, Any]) -> None:
    view["chosen"] = None
    for variant in view["variants"]:
        variant["interval"] = None

    assert "diamond" not in of_size(view).caption
    assert "Bars" not in of_size(view).caption


def test_variants_at_one_place_are_a_ring_and_the_caption_says_so(view: dict[str, Any]) -> None:
    chosen = next(variant for variant in view["variants"] if variant["name"] == view["chosen"])
    other = view["variants"][0]
    other.update(stored_bytes=chosen["stored_bytes"], metrics=chosen["metrics"])

    assert "A ring is a variant" in of_size(view).caption
    view["variants"] = [chosen, {**other, "stored_bytes": 10 * chosen["stored_bytes"]}]
    assert "A ring is a variant" not in of_size(view).caption
