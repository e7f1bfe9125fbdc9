from typing import Any

import pytest

from ayni.reports import formats
from ayni.reports.what_changed import MAX_GROUPS, WhatChanged, hidden_loss_warning, what_changed


def plain(text: str) -> str:
    return text.replace(formats.NO_BREAK_SPACE, " ").replace(formats.MINUS, "-")


def changed(view: dict[str, Any]) -> WhatChanged:
    found = what_changed(view)
    assert found is not None
    return found


def changes(view: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = view["variants"][-1]["changes"]
    return found


def test_flips_losses_and_calibration_are_told_in_sentences(view: dict[str, Any]) -> None:
    text = plain(" ".join(changed(view).sentences))

    assert (
        "13 of 1,000 test examples (1.3 %) are answered differently: 8 became wrong, 3 became right, 2 are "
        "wrong in another way." in text
    )
    assert "98.3 % before, 97.8 % after, a loss of 0.5 pt (-0.2 to 1.3)." in text
    assert "The class that lost most is 8: 99.0 % before, 91.0 % after (8.0 pt)." in text
    assert "The slice that lost most is slanted" in text
    assert text.endswith("right): 4.3 % before, 0.8 % after.")


def test_a_gain_is_no_loss_below_zero(view: dict[str, Any]) -> None:
    changes(view)["accuracy"].update(difference=0.002, low=-0.005, high=0.01)

    assert "a gain of 0.2 pt (-0.5 to 1.0)" in plain(" ".join(changed(view).sentences))


def test_where_no_answer_changed_that_is_all(view: dict[str, Any]) -> None:
    changes(view).update(num_flipped=0, num_lost=0, num_won=0, lost=[], groups=[])

    found = changed(view)

    assert found.sentences[0] == "All 1,000 test examples are answered as before."
    assert (found.legend, found.indices, list(found.groups)) == ("", "", [])


def test_the_groups_that_lost_most_come_first_with_their_verdict(view: dict[str, Any]) -> None:
    first, *_, last = changed(view).groups

    assert (first.name, plain(first.lost)) == ("8", "8.0 pt (2.3 to 15.2)")
    assert (first.verdict.text, first.verdict.is_bad) == ("lost, hidden by the mean", True)
    assert (last.verdict.text, last.verdict.is_bad) == ("kept", False)
    assert "no more than 1.0 pt" in plain(changed(view).legend)


def test_of_many_groups_the_rest_is_folded_away(view: dict[str, Any]) -> None:
    group = changes(view)["groups"][0]
    changes(view)["groups"] = [{**group, "name": str(index), "drop": index / 1000} for index in range(100)]

    found = changed(view)

    assert [each.name for each in found.groups] == [str(99 - index) for index in range(MAX_GROUPS)]
    assert len(found.more_groups) == 100 - MAX_GROUPS


def test_a_group_without_examples_is_unknown_and_last(view: dict[str, Any]) -> None:
    empty = {**changes(view)["groups"][0], "name": "none", "num_examples": 0, "accuracy": None, "drop": None}
    changes(view)["groups"].insert(0, empty)

    last = [*changed(view).groups, *changed(view).more_groups][-1]

    assert (last.name, last.before, last.lost) == ("none", "unknown", "unknown")


def test_examples_that_became_wrong_are_listed_and_the_rest_counted(view: dict[str, Any]) -> None:
    changes(view).update(lost=list(range(30)), num_lost=45)

    assert changed(view).indices.endswith("18, 19 and 25 more")


def test_answers_without_confidences_say_nothing_of_calibration(view: dict[str, Any]) -> None:
    changes(view)["calibration_before"] = None

    assert "calibration" not in " ".join(changed(view).sentences)


def test_examples_without_an_answer_are_counted(view: dict[str, Any]) -> None:
    changes(view)["num_without_answer"] = 3

    assert "3 got no finite number for an answer" in " ".join(changed(view).sentences)


def test_why_nothing_was_compared_is_said(view: dict[str, Any]) -> None:
    view["variants"][-1].update(changes=None, no_changes_reason="the task's labels are no classes")

    assert changed(view).sentences == ["Not compared answer by answer: the task's labels are no classes."]


@pytest.mark.parametrize("chosen", [None, "full"])
def test_without_a_variant_nothing_changed(view: dict[str, Any], chosen: str | None) -> None:
    view["chosen"] = chosen

    assert what_changed(view) is None
    assert hidden_loss_warning(view) is None


def test_an_old_run_does_not_tell(old_view: dict[str, Any]) -> None:
    assert what_changed(old_view) is None
    assert hidden_loss_warning(old_view) is None


def test_the_warning_names_each_class_with_both_accuracies(view: dict[str, Any]) -> None:
    warning = hidden_loss_warning(view)

    assert warning is not None
    assert plain(warning) == (
        "int8 loses 0.50 pt in all, and more than that in parts, beyond chance: class 8 lost 8.0 pt "
        "(from 99.0 % to 91.0 %)."
    )
