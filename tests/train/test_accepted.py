from dataclasses import replace
from pathlib import Path

import pytest

from ayni.train.accepted import (
    ACCEPTED_FILE,
    AcceptedUpdate,
    append_accepted,
    check_samples,
    read_accepted,
    reconcile_accepted,
)

SHARD_SIZE = 10


def accepted(round_: int, learner: int = 0, *, start: int | None = None, num: int = 8) -> AcceptedUpdate:
    start = (round_ - 1) * 8 if start is None else start
    return AcceptedUpdate(
        round=round_,
        learner=learner,
        attempt=1,
        num_learners=2,
        shard_size=SHARD_SIZE,
        start_epoch=start // SHARD_SIZE,
        start_position=start % SHARD_SIZE,
        end_epoch=(start + num) // SHARD_SIZE,
        end_position=(start + num) % SHARD_SIZE,
        num_samples=num,
    )


def whole(num_rounds: int = 3) -> list[AcceptedUpdate]:
    return [accepted(r, learner) for r in range(1, num_rounds + 1) for learner in (0, 1)]


def test_contiguous_intervals_are_fine(tmp_path: Path) -> None:
    append_accepted(tmp_path, whole())

    assert check_samples(tmp_path) == []


@pytest.mark.parametrize(
    ("updates", "problem"),
    [
        ([*whole(), accepted(3, 1)], "8 examples were used before"),
        ([*whole(2), accepted(3, 0, start=14), accepted(3, 1)], "2 examples were used before"),
        ([*whole(2), accepted(3, 0, start=18), accepted(3, 1)], "2 examples were skipped"),
        ([*whole(2), accepted(3, 0)], "different numbers of accepted updates"),
        ([u for u in whole() if u.learner == 0], "expected 2 learners"),
        ([replace(u, num_samples=7) for u in whole()], "says 7 examples"),
        ([replace(u, round=u.round + 1) for u in whole()], "expected round 1"),
        ([], "names no accepted update"),
    ],
)
def test_each_defect_is_found(tmp_path: Path, updates: list[AcceptedUpdate], problem: str) -> None:
    append_accepted(tmp_path, updates)

    assert problem in " | ".join(check_samples(tmp_path))


def test_a_line_with_a_wrong_type_is_a_problem_and_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / ACCEPTED_FILE).write_text('{"round": "one"}\n')

    assert "damaged" in check_samples(tmp_path)[0]


def test_the_checkpoint_adds_lines_that_a_crash_kept_back(tmp_path: Path) -> None:
    append_accepted(tmp_path, whole(2)[:-1])

    reconcile_accepted(tmp_path, last_round=2, last_updates=whole(2)[2:])

    assert read_accepted(tmp_path) == whole(2)


def test_an_older_checkpoint_takes_lines_back(tmp_path: Path) -> None:
    append_accepted(tmp_path, whole(3))

    reconcile_accepted(tmp_path, last_round=2, last_updates=whole(2)[2:])

    assert read_accepted(tmp_path) == whole(2)
