from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.train.accepted import (
    ACCEPTED_FILE,
    UNUSED_FILE,
    AcceptedUpdate,
    append_accepted,
    check_samples,
    read_accepted,
    read_unused,
    reconcile_accepted,
    write_unused,
)
from ayni.train.stream import Stream


def accepted(round_: int, learner: int = 0, *, start: int | None = None, num: int = 8) -> AcceptedUpdate:
    start = (2 * (round_ - 1) + learner) * 8 if start is None else start
    return AcceptedUpdate(
        round=round_, learner=learner, attempt=1, num_examples=10, start=start, num_samples=num
    )


def whole(num_rounds: int = 3) -> list[AcceptedUpdate]:
    return [accepted(r, learner) for r in range(1, num_rounds + 1) for learner in (0, 1)]


def test_blocks_without_overlap_and_gap_are_fine(tmp_path: Path) -> None:
    append_accepted(tmp_path, whole())

    assert check_samples(tmp_path) == []


def test_learners_of_different_speed_are_fine(tmp_path: Path) -> None:
    fast = [accepted(1, 0, start=0), accepted(1, 0, start=12), accepted(2, 0, start=20)]
    slow = accepted(2, 1, start=8, num=4)

    append_accepted(tmp_path, [*fast, slow])

    assert check_samples(tmp_path) == []


@pytest.mark.parametrize(
    ("updates", "problem"),
    [
        ([*whole(), accepted(3, 1)], "8 examples were used before"),
        ([*whole(2), accepted(3, 0, start=30)], "2 examples were used before"),
        ([accepted(1, 0, num=20), accepted(1, 1, start=2, num=4)], "4 examples were used before"),
        ([*whole(2), accepted(3, 0, start=34)], "[32, 34) of the stream were skipped"),
        ([u for u in whole() if u.learner == 0], "[8, 16) of the stream were skipped"),
        ([accepted(1, num=0)], "0 examples from position 0"),
        ([accepted(1, start=-8)], "8 examples from position -8"),
        ([*whole(1), replace(accepted(2), num_examples=11)], "of 11 examples, the first update says 10"),
        ([replace(u, num_examples=0) for u in whole()], "of 0 examples"),
        ([*whole(2), accepted(1, 0, start=32)], "learner 0, round 1: comes after round 2"),
        ([replace(accepted(1), round=0)], "comes after round 1"),
        ([], "names no accepted update"),
    ],
)
def test_each_defect_is_found(tmp_path: Path, updates: list[AcceptedUpdate], problem: str) -> None:
    append_accepted(tmp_path, updates)

    assert problem in " | ".join(check_samples(tmp_path))


def test_a_gap_is_not_one_while_a_learner_works_on_it(tmp_path: Path) -> None:
    append_accepted(tmp_path, [u for u in whole() if u.learner == 1])

    assert check_samples(tmp_path, is_over=False) == []
    assert check_samples(tmp_path / "not-begun", is_over=False) == []


def test_an_example_that_counts_twice_shows_at_once(tmp_path: Path) -> None:
    append_accepted(tmp_path, [accepted(1), accepted(1, 1, start=4)])

    assert "4 examples were used before" in check_samples(tmp_path, is_over=False)[0]


def test_a_declared_gap_is_fine_and_an_undeclared_one_is_not(tmp_path: Path) -> None:
    append_accepted(tmp_path, [u for u in whole() if (u.round, u.learner) != (3, 0)])

    before = check_samples(tmp_path)
    write_unused(tmp_path, [(32, 40)])

    assert before == ["examples [32, 40) of the stream were skipped"]
    assert check_samples(tmp_path) == []
    assert read_unused(tmp_path) == [(32, 40)]


def test_what_was_used_cannot_be_declared_unused(tmp_path: Path) -> None:
    append_accepted(tmp_path, whole())

    write_unused(tmp_path, [(0, 8)])

    assert check_samples(tmp_path) == [f"{UNUSED_FILE} names [0, 8), which is no gap"]


@pytest.mark.parametrize("content", ["[]", "{}", '{"intervals": [[1]]}', '{"intervals": [[1, 2.5]]}', "{"])
def test_a_damaged_list_of_gaps_is_a_problem_and_not_a_crash(tmp_path: Path, content: str) -> None:
    append_accepted(tmp_path, whole())
    (tmp_path / UNUSED_FILE).write_text(content)

    assert "damaged" in check_samples(tmp_path)[0]


@pytest.mark.parametrize("line", ['{"round": "one"}', "[1, 2]", '{"round": true}'])
def test_a_line_with_a_wrong_type_is_a_problem_and_not_a_crash(tmp_path: Path, line: str) -> None:
    (tmp_path / ACCEPTED_FILE).write_text(line + "\n")

    assert "damaged" in check_samples(tmp_path)[0]


def test_the_checkpoint_adds_lines_that_a_crash_kept_back(tmp_path: Path) -> None:
    append_accepted(tmp_path, whole(2)[:-1])

    reconcile_accepted(tmp_path, last_round=2, last_updates=whole(2)[2:])

    assert read_accepted(tmp_path) == whole(2)


def test_an_older_checkpoint_takes_lines_back(tmp_path: Path) -> None:
    append_accepted(tmp_path, whole(3))

    reconcile_accepted(tmp_path, last_round=2, last_updates=whole(2)[2:])

    assert read_accepted(tmp_path) == whole(2)


def test_a_checkpoint_of_several_rounds_brings_all_of_them(tmp_path: Path) -> None:
    append_accepted(tmp_path, whole(3)[:3])

    reconcile_accepted(tmp_path, last_round=3, last_updates=whole(3)[2:])

    assert read_accepted(tmp_path) == whole(3)


def test_without_a_checkpoint_nothing_was_accepted(tmp_path: Path) -> None:
    append_accepted(tmp_path, whole(1))

    reconcile_accepted(tmp_path, last_round=0, last_updates=[])

    assert read_accepted(tmp_path) == []


@given(answers=st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=15))
@settings(deadline=None, max_examples=15)
def test_whatever_attempts_answer_the_stream_hands_out_what_the_check_accepts(
    tmp_path_factory: pytest.TempPathFactory, answers: list[tuple[int, bool]]
) -> None:
    folder, stream, taken = tmp_path_factory.mktemp("train"), Stream(), []

    for round_, (num, is_accepted) in enumerate(answers, start=1):
        starts = {learner: stream.lease(num) for learner in (0, 1)}
        stream.commit(starts[1], num)
        (stream.commit if is_accepted else stream.give_back)(starts[0], num)
        learners = (0, 1) if is_accepted else (1,)
        taken += [accepted(round_, learner, start=starts[learner], num=num) for learner in learners]
    append_accepted(folder, taken)
    write_unused(folder, stream.holes)

    assert check_samples(folder) == []
