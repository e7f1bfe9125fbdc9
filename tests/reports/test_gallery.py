from typing import Any

from ayni.reports import formats, gallery

TEXT = {"input_image": None, "attribution_image": None, "features": None, "kind": "sample"}


def test_symbols_carry_sign_and_strength_and_weak_ones_stay_plain() -> None:
    parts = gallery.text_parts(["a", "b", "c", "d"], [0.5, -0.25, 0.01, 0.0])

    assert [part.sign for part in parts] == ["for", "against", "none", "none"]
    assert [part.strength for part in parts] == [1.0, 0.5, 0.02, 0.0]
    assert [part.written for part in parts] == ["+0.50", f"{formats.MINUS}0.25", "+0.010", "0"]


def test_blanks_and_line_ends_can_be_seen() -> None:
    parts = gallery.text_parts([" ", "\n", "the "], [0.0, 0.0, 0.0])

    assert [part.text for part in parts] == ["\u2423", "\u21b5", "the\u2423"]
    assert [part.is_line_end for part in parts] == [False, True, False]


def test_an_attribution_of_zeros_marks_nothing() -> None:
    parts = gallery.text_parts(["a", "b"], [0.0, 0.0])

    assert {part.sign for part in parts} == {"none"}
    assert gallery.told(parts) == "no part speaks for or against it"


def test_the_strongest_parts_are_told_in_words() -> None:
    parts = gallery.text_parts(["a", "b", "c", "d"], [0.1, -0.9, 0.5, 0.2])

    assert gallery.told(parts) == f"b {formats.MINUS}0.90, c +0.50, d +0.20"


def test_features_show_their_value_and_even_weak_ones_their_side() -> None:
    first, second = gallery.feature_parts(
        [
            {"name": "age", "value": 41.0, "attribution": -2.0},
            {"name": "height", "value": 1.75, "attribution": 0.02},
        ]
    )

    assert (first.text, first.value, first.sign, first.strength) == ("age", "41.0", "against", 1.0)
    assert (second.sign, second.strength) == ("for", 0.01)


def test_the_legend_explains_only_what_is_shown(view: dict[str, Any]) -> None:
    items = view["explain"]["items"]

    view["explain"]["items"] = items[:2]
    assert gallery.legend(view) == "Red speaks for the answer, blue against it."
    view["explain"]["items"] = items[2:]
    assert "Bars to the right" in str(gallery.legend(view))
    view["explain"]["items"] = [{**TEXT, "tokens": ["a"], "values": [1.0]}]
    assert "underlined" in str(gallery.legend(view))
    view["explain"]["items"] = []
    assert gallery.legend(view) is None


def test_words_stand_apart_letters_do_not_and_padding_is_left_out() -> None:
    words = gallery.text_parts(["good", "", "food"], [0.5, 0.9, -0.2])
    letters = gallery.text_parts(["a", "b"], [0.5, 0.1])
    pieces = gallery.text_parts([" good", " food"], [0.5, 0.1])

    assert [(part.text, part.is_apart) for part in words] == [("good", True), ("food", True)]
    assert not any(part.is_apart for part in [*letters, *pieces])
