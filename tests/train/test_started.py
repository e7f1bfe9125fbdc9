from pathlib import Path

from ayni.train.accepted import AcceptedUpdate, append_accepted
from ayni.train.started import append_started, count_lost


def begin(folder: Path, session: str, round_: int) -> None:
    append_started(folder, session=session, round_=round_, learner=0, attempt=1)


def accept(folder: Path, round_: int) -> None:
    start = (round_ - 1) * 8
    update = AcceptedUpdate(round=round_, learner=0, attempt=1, num_examples=10, start=start, num_samples=8)
    append_accepted(folder, [update])


def test_what_was_begun_and_not_accepted_is_lost(tmp_path: Path) -> None:
    begin(tmp_path, "killed", 1)
    begin(tmp_path, "second try", 1)
    accept(tmp_path, 1)
    begin(tmp_path, "second try", 2)
    accept(tmp_path, 2)

    assert count_lost(tmp_path) == 1


def test_nothing_begun_is_nothing_lost(tmp_path: Path) -> None:
    assert count_lost(tmp_path) == 0
