"""What changed between two models: flips, classes, slices, calibration."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ayni.compress.evidence.changes import (
    NO_ANSWER,
    Answers,
    Changes,
    expected_calibration_error,
    find_changes,
)
from ayni.compress.evidence.paired import UnpairedError, mcnemar_p_value

LABELS = np.repeat(np.arange(4), 100)


def answers(*wrong: range) -> Answers:
    """Right everywhere but in these ranges of indices, where the next class is answered."""
    classes = LABELS.copy()
    for indices in wrong:
        classes[list(indices)] = (classes[list(indices)] + 1) % 4
    return Answers.from_classes(classes)


def test_a_loss_on_one_class_is_found_behind_a_mean_that_did_not_move() -> None:
    # Before, ten wrong in each class; after, class 0 lost 12 more and the others won 4 each.
    before = answers(range(10), range(100, 110), range(200, 210), range(300, 310))
    after = answers(range(22), range(104, 110), range(204, 210), range(304, 310))

    changes = find_changes(before, after, LABELS, max_drop=0.01)

    assert changes.accuracy.difference == pytest.approx(0)
    assert [group.name for group in changes.hidden_losses] == ["0"]
    assert changes.hidden_losses[0].drop == pytest.approx(0.12)
    assert changes.hidden_losses[0].p_value == pytest.approx(4 * 0.5**12)
    assert [group.verdict for group in changes.groups] == ["lost", "kept", "kept", "kept"]
    worst = changes.worst("class")
    assert worst is not None
    assert (worst.name, worst.num_lost, worst.num_won) == ("0", 12, 0)


def test_flips_both_ways_are_no_loss() -> None:
    # Class 0 loses 6 and wins 4: that happens by chance.
    changes = find_changes(answers(range(10)), answers(range(4, 16)), LABELS, max_drop=0.01)

    assert changes.lost == tuple(range(10, 16))
    assert changes.won == tuple(range(4))
    assert changes.flip_rate == pytest.approx(10 / 400)
    assert changes.groups[0].verdict == "unclear"
    assert changes.hidden_losses == ()


def test_a_loss_that_all_classes_share_is_no_hidden_one() -> None:
    after = answers(*(range(start, start + 20) for start in (0, 100, 200, 300)))

    changes = find_changes(answers(), after, LABELS)

    assert {group.verdict for group in changes.groups} == {"lost"}
    assert changes.hidden_losses == ()


def test_a_class_of_three_examples_cannot_prove_anything() -> None:
    labels = np.array([0] * 50 + [1] * 3)
    after = np.zeros(53)

    changes = find_changes(Answers.from_classes(labels), Answers.from_classes(after), labels)

    assert changes.groups[1].drop == 1
    assert changes.groups[1].verdict == "unclear"


def test_a_wrong_answer_that_became_another_wrong_one_flipped_and_neither_was_lost_nor_won() -> None:
    changes = find_changes(Answers.from_classes([1, 0]), Answers.from_classes([2, 0]), [0, 0])

    assert (changes.flipped, changes.lost, changes.won) == ((0,), (), ())


def test_what_a_class_may_lose_is_declared() -> None:
    after = answers(range(20))

    strict, generous = (find_changes(answers(), after, LABELS, max_drop=drop) for drop in (0.05, 0.2))

    assert strict.groups[0].verdict == "lost"
    assert generous.groups[0].verdict == "kept"


def test_the_test_for_chance_pays_for_the_number_of_looks() -> None:
    after = answers(range(6))
    one_look = mcnemar_p_value(num_lost=6, num_won=0, one_sided=True)
    few = find_changes(answers(), after, LABELS)
    many = find_changes(
        answers(), after, LABELS, slices={f"slice {index}": LABELS == 3 for index in range(20)}
    )

    assert few.groups[0].p_value == pytest.approx(4 * one_look)
    assert many.groups[0].p_value == pytest.approx(24 * one_look)
    assert (few.groups[0].verdict, many.groups[0].verdict) == ("unclear", "unclear")


def test_slices_cut_across_classes() -> None:
    is_dark = np.arange(400) % 2 == 0
    after = Answers.from_classes(np.where(is_dark & (np.arange(400) % 4 == 0), NO_ANSWER, LABELS))

    changes = find_changes(
        answers(), after, LABELS, slices={"dark": torch.from_numpy(is_dark), "bright": ~is_dark}
    )

    dark, bright = changes.groups[4:]
    assert (dark.name, dark.kind, dark.num_examples, dark.drop) == ("dark", "slice", 200, 0.5)
    assert (bright.drop, bright.verdict) == (0, "kept")
    assert changes.num_without_answer == 100
    worst = changes.worst("slice")
    assert worst is not None and worst.name == "dark"
    # Every class lost a quarter, as the whole did.
    assert [group.name for group in changes.hidden_losses] == ["dark"]


def test_a_class_without_examples_says_so() -> None:
    changes = find_changes(
        Answers.from_classes([0, 1]), Answers.from_classes([0, 1]), [0, 1], class_names=["cat", "dog", "eel"]
    )

    eel = changes.groups[2]
    assert [group.name for group in changes.groups] == ["cat", "dog", "eel"]
    assert (eel.num_examples, eel.accuracy, eel.p_value, eel.drop, eel.verdict) == (
        0,
        None,
        None,
        None,
        "kept",
    )


def test_labels_beyond_the_names_are_called_by_their_number() -> None:
    one = Answers.from_classes([0, 7])

    assert [group.name for group in find_changes(one, one, [0, 7], class_names=["cat"]).groups] == [
        "cat",
        "7",
    ]


def test_without_slices_there_is_no_worst_slice() -> None:
    assert find_changes(answers(), answers(), LABELS).worst("slice") is None


def test_data_of_one_class_is_no_trouble() -> None:
    one = Answers.from_classes(np.zeros(5))
    changes = find_changes(one, one, np.zeros(5))

    assert [group.name for group in changes.groups] == ["0"]
    assert changes.flip_rate == 0


def test_logits_become_answers_with_confidence() -> None:
    found = Answers.from_logits(torch.tensor([[0.0, math.log(3)], [1000.0, -1000.0]], dtype=torch.float64))

    assert list(found.classes) == [1, 0]
    assert found.confidences is not None
    assert found.confidences == pytest.approx([0.75, 1.0])


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_one_logit_is_a_choice_of_two(shape: tuple[int, ...]) -> None:
    found = Answers.from_logits(torch.tensor([math.log(3), -math.log(3)]).to(torch.float64).reshape(shape))

    assert list(found.classes) == [1, 0]
    assert found.confidences == pytest.approx([0.75, 0.75])


def test_an_output_that_is_no_number_is_never_right() -> None:
    logits = torch.tensor([[math.nan, 0.0], [math.inf, 0.0], [0.0, 1.0]], dtype=torch.bfloat16)

    changes = find_changes(Answers.from_classes([0, 0, 1]), Answers.from_logits(logits), [0, 0, 1])

    assert changes.num_without_answer == 2
    assert changes.lost == (0, 1)
    assert changes.calibration_before is None
    assert changes.calibration_after is not None


def test_calibration_by_hand() -> None:
    # Two bins: (0.6 right, 0.7 wrong) 0.15 too sure; (1.0 right, 1.0 wrong) 0.5 too sure.
    error = expected_calibration_error([0.6, 0.7, 1.0, 1.0], [True, False, True, False], num_bins=4)

    assert error == pytest.approx(0.5 * 0.15 + 0.5 * 0.5)


def test_a_bin_is_closed_above() -> None:
    # 0.5 belongs to (0, 0.5] of two bins, 0 joins it: one bin, error |1/2 - 1/4|.
    assert expected_calibration_error([0.5, 0.0], [True, False], num_bins=2) == pytest.approx(0.25)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60), st.integers(1, 20))
def test_the_calibration_error_is_what_the_definition_says(
    pairs: list[tuple[float, bool]], num_bins: int
) -> None:
    expected = 0.0
    for number in range(num_bins):
        inside = [pair for pair in pairs if max(math.ceil(pair[0] * num_bins) - 1, 0) == number]
        if inside:
            confidence = sum(pair[0] for pair in inside) / len(inside)
            accuracy = sum(pair[1] for pair in inside) / len(inside)
            expected += len(inside) / len(pairs) * abs(accuracy - confidence)

    error = expected_calibration_error(
        [pair[0] for pair in pairs], [pair[1] for pair in pairs], num_bins=num_bins
    )

    assert error == pytest.approx(expected, abs=1e-9)
    assert 0 <= error <= 1


@pytest.mark.parametrize(
    ("confidences", "right"), [([], []), ([1.2], [True]), ([math.nan], [True]), ([0.5], [True, False])]
)
def test_confidences_that_are_none_are_refused(confidences: Any, right: Any) -> None:
    with pytest.raises(UnpairedError):
        expected_calibration_error(confidences, right)


@pytest.mark.parametrize(
    ("labels", "slices", "reason"),
    [
        ([0], None, "2 answers were given for 1 labels"),
        ([], None, "finite class number"),
        ([0, math.nan], None, "finite class number"),
        ([0, -100], None, "1 labels are negative"),
        ([0, 1], {"odd": [True]}, "slice 'odd'"),
        ([0, 1], {"odd": [0.5, 1]}, "slice 'odd'"),
    ],
)
def test_answers_that_do_not_fit_the_labels_are_refused(labels: Any, slices: Any, reason: str) -> None:
    two = Answers.from_classes([0, 1])

    with pytest.raises(UnpairedError, match=reason):
        find_changes(two, two, labels, slices=slices)


def test_what_is_no_list_of_answers_is_refused() -> None:
    with pytest.raises(UnpairedError, match="shape"):
        Answers.from_logits(torch.zeros(2, 3, 4))
    with pytest.raises(UnpairedError, match="shape"):
        Answers.from_classes([[0, 1]])
    with pytest.raises(ValueError, match="max_drop"):
        find_changes(answers(), answers(), LABELS, max_drop=math.nan)


@given(st.data())
def test_counts_add_up(data: st.DataObject) -> None:
    num = data.draw(st.integers(1, 40))
    lists = st.lists(st.integers(0, 3), min_size=num, max_size=num)
    labels, before, after = (data.draw(lists) for _ in range(3))

    changes = find_changes(Answers.from_classes(before), Answers.from_classes(after), labels)

    assert sum(group.num_examples for group in changes.groups) == num
    assert sum(group.num_lost for group in changes.groups) == len(changes.lost)
    assert sum(group.num_won for group in changes.groups) == len(changes.won)
    assert set(changes.lost) | set(changes.won) <= set(changes.flipped)
    assert changes.accuracy.difference == pytest.approx((len(changes.won) - len(changes.lost)) / num)


def test_the_json_is_plain_and_tells_how_much_was_left_out() -> None:
    logits = torch.eye(4)[torch.from_numpy(LABELS)]
    changes = find_changes(Answers.from_logits(logits), answers(range(30)), LABELS)

    plain = json.loads(json.dumps(changes.to_json(max_indices=5)))

    assert plain["lost"] == [0, 1, 2, 3, 4]
    assert plain["num_lost"] == 30
    assert plain["hidden_losses"] == ["0"]
    assert plain["groups"][0]["drop"] == pytest.approx(0.3)


def test_changes_come_back_from_their_json() -> None:
    logits = torch.eye(4)[torch.from_numpy(LABELS)]
    changes = find_changes(
        Answers.from_logits(logits),
        answers(range(30)),
        LABELS,
        class_names=["a", "b", "c", "d", "none"],
        slices={"dark": LABELS == 0, "empty": np.zeros(400)},
    )

    back = Changes.from_json(json.loads(json.dumps(changes.to_json())))

    assert back == changes


def test_changes_with_cut_indices_keep_their_counts() -> None:
    changes = find_changes(answers(), answers(range(30)), LABELS)

    back = Changes.from_json(json.loads(json.dumps(changes.to_json(max_indices=5))))

    assert (back.flipped, back.num_flipped, back.num_lost, back.num_won) == ((0, 1, 2, 3, 4), 30, 30, 0)
    assert back.flip_rate == pytest.approx(30 / 400)
    assert back.to_json(max_indices=2)["num_lost"] == 30
    assert Changes.from_json(changes.to_json(max_indices=0)).flipped == ()
    with pytest.raises(ValueError, match="max_indices"):
        changes.to_json(max_indices=-1)


def test_a_table_finds_the_worst_of_each_kind() -> None:
    changes = find_changes(answers(), answers(range(30)), LABELS, slices={"late": LABELS > 1})

    assert changes.worst_class is not None and changes.worst_slice is not None
    assert (changes.worst_class.accuracy_before, changes.worst_class.accuracy_after) == (1.0, 0.7)
    assert (changes.worst_slice.name, changes.worst_slice.drop) == ("late", 0)
    assert (changes.to_json()["worst_class"], changes.to_json()["worst_slice"]) == ("0", "late")
    assert find_changes(answers(), answers(), LABELS).to_json()["worst_slice"] is None


def test_indices_are_moved_into_the_list_that_the_examples_came_from() -> None:
    changes = find_changes(Answers.from_classes([0, 1, 1]), Answers.from_classes([0, 2, 0]), [0, 1, 0])

    moved = changes.of_examples([10, 20, 30])

    assert (moved.flipped, moved.lost, moved.won) == ((20, 30), (20,), (30,))
    assert moved.num_flipped == 2


def test_probabilities_become_answers_that_are_as_sure_as_they_say() -> None:
    found = Answers.from_probabilities(
        torch.tensor([[0.2, 0.7, 0.1], [0.5, 0.3, 1.2], [math.nan, 1.0, 0.0]], dtype=torch.float64)
    )

    assert found.classes.tolist() == [1, 2, NO_ANSWER]
    assert found.confidences == pytest.approx([0.7, 1.0, 0.0])


@given(st.lists(st.lists(st.floats(-20, 20), min_size=3, max_size=3), min_size=1, max_size=10))
def test_logits_and_their_softmax_give_the_same_answers(rows: list[list[float]]) -> None:
    logits = torch.tensor(rows, dtype=torch.float64)

    one, other = Answers.from_logits(logits), Answers.from_probabilities(logits.softmax(1))

    assert one.confidences == pytest.approx(other.confidences)
    # Where two classes are equally likely, rounding decides.
    top_two = logits.softmax(1).topk(2).values
    is_clear = (top_two[:, 0] - top_two[:, 1] > 1e-9).numpy()
    assert (one.classes == other.classes)[is_clear].all()


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_one_probability_is_a_choice_of_two(shape: tuple[int, ...]) -> None:
    found = Answers.from_probabilities(np.array([0.75, 0.25]).reshape(shape))

    assert found.classes.tolist() == [1, 0]
    assert found.confidences == pytest.approx([0.75, 0.75])
