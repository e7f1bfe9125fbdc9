"""Which records shadow models get."""

import numpy as np
import pytest

from ayni.data.audit.shadows import (
    Predict,
    TooFewRecordsError,
    ask_shadows,
    draw_audited,
    draw_halves,
    right_probabilities,
)
from ayni.data.records import Records, RecordsError


def make(values: list[float]) -> Records:
    return Records(
        inputs=np.array(values, dtype=np.float32)[:, None], labels=np.zeros(len(values), dtype=np.int64)
    )


def test_as_many_of_each_side_are_drawn_and_the_other_members_are_the_base() -> None:
    audited, is_member, base = draw_audited(make(list(range(10))), make(list(range(20, 24))), most=3, seed=0)

    assert base is not None and len(base) == 7
    assert is_member.tolist() == [True] * 3 + [False] * 3
    assert set(audited.inputs[:3, 0]) | set(base.inputs[:, 0]) == set(range(10))
    assert (audited.inputs[3:, 0] >= 20).all()


def test_records_on_both_sides_are_not_audited_and_without_others_there_is_no_audit() -> None:
    audited, _, _ = draw_audited(make([1, 2, 3, 3]), make([2, 8, 9]), most=9, seed=0)

    assert audited.inputs[:, 0].tolist()[0] == 1
    assert sorted(audited.inputs[:, 0].tolist())[0] == 1 and len(audited) == 2
    with pytest.raises(TooFewRecordsError, match="Of 2 members 0"):
        draw_audited(make([1, 2]), make([1, 2]), most=9, seed=0)


def test_each_record_is_in_half_of_the_models_and_each_model_has_half_of_the_records() -> None:
    halves = draw_halves(10, 6, seed=3)

    assert (halves.sum(axis=0) == 3).all()
    assert (halves.sum(axis=1) == 5).all()
    assert (draw_halves(10, 6, seed=4) != halves).any()


@pytest.mark.parametrize("count", [0, 2, 5])
def test_few_and_odd_numbers_of_models_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="even number of 4"):
        draw_halves(10, count, seed=0)


def test_shadow_models_get_the_base_and_their_half_and_a_seed_of_their_own() -> None:
    seen = []

    def train(records: Records, *, seed: int) -> Predict:
        seen.append((sorted(records.inputs[:, 0].tolist()), seed))
        return lambda inputs: np.full((len(inputs), 2), 0.5)

    flags = np.array([[True, False], [False, True]])
    answers = ask_shadows(make([1, 2]), make([7]), flags, train, seed=40)

    assert seen == [([1, 7], 41), ([2, 7], 42)]
    assert answers.shape == (2, 2, 2)


def test_a_label_beyond_the_models_classes_is_named() -> None:
    with pytest.raises(RecordsError, match="audited record 1 is 5"):
        right_probabilities(np.full((2, 3), 1 / 3), np.array([0, 5]))
