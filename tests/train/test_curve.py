import json
from datetime import UTC, datetime
from pathlib import Path

from ayni.train.curve import (
    append_notice,
    append_round,
    read_curve,
    read_notices,
    reconcile_curve,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def write_rounds(folder: Path, *rounds: int) -> None:
    for round_ in rounds:
        append_round(folder, {"round": round_, "train_loss": 1 / round_})


def test_a_training_that_has_not_begun_has_neither_rounds_nor_notices(tmp_path: Path) -> None:
    assert read_curve(tmp_path / "train") == []
    assert read_notices(tmp_path / "train") == []
    assert list(tmp_path.iterdir()) == []


def test_a_line_torn_by_a_crash_hides_no_other(tmp_path: Path) -> None:
    write_rounds(tmp_path, 1)
    with (tmp_path / "rounds.jsonl").open("a") as file:
        file.write('{"round": 2, "train')

    assert [line["round"] for line in read_curve(tmp_path)] == [1]

    write_rounds(tmp_path, 2)
    assert [line["round"] for line in read_curve(tmp_path)] == [1, 2]


def test_of_a_round_that_was_done_twice_the_last_counts(tmp_path: Path) -> None:
    write_rounds(tmp_path, 1, 2)
    append_round(tmp_path, {"round": 2, "train_loss": 0.25})

    assert [line["train_loss"] for line in read_curve(tmp_path)] == [1.0, 0.25]


def test_rounds_after_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    write_rounds(tmp_path, 1, 2, 3)

    assert reconcile_curve(tmp_path, last_round=2)
    assert [line["round"] for line in read_curve(tmp_path)] == [1, 2]
    assert not reconcile_curve(tmp_path, last_round=5)


def test_notices_keep_their_words_their_time_and_their_order(tmp_path: Path) -> None:
    append_notice(tmp_path / "train", "learner 1 was lost", now=NOON)
    append_notice(tmp_path / "train", "learner 1 is back\nwith a new state", now=NOON.replace(hour=13))

    assert read_notices(tmp_path / "train") == [
        {"at": "2026-11-22T12:00:00+00:00", "message": "learner 1 was lost"},
        {"at": "2026-11-22T13:00:00+00:00", "message": "learner 1 is back\nwith a new state"},
    ]
    assert len((tmp_path / "train" / "notices.jsonl").read_text().splitlines()) == 2


def test_notices_are_history_and_outlive_a_resume(tmp_path: Path) -> None:
    write_rounds(tmp_path, 1, 2)
    append_notice(tmp_path, "round 2 was slow", now=NOON)

    reconcile_curve(tmp_path, last_round=1)

    assert [notice["message"] for notice in read_notices(tmp_path)] == ["round 2 was slow"]


def test_the_files_are_json_lines(tmp_path: Path) -> None:
    write_rounds(tmp_path, 1)
    append_notice(tmp_path, "all is well", now=NOON)

    for name in ("rounds.jsonl", "notices.jsonl"):
        assert all(json.loads(line) for line in (tmp_path / name).read_text().splitlines())
