import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ayni.files import append_json_line
from ayni.train.curve import append_notice, append_round
from ayni.train.started import append_started
from ayni.train.status import TrainingStatus, read_status

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def add_round(folder: Path, round_: int, **values: Any) -> None:
    """A round of two learners that took 10 seconds, of which 9 were computing."""
    line = {
        "round": round_,
        "num_rounds": 8,
        "samples": 100 * round_,
        "train_loss": 2.0 / round_,
        "metrics": {"accuracy": 0.5},
        "samples_per_second": 10.0,
        "bytes_sent": 30,
        "bytes_up": 10,
        "bytes_down": 20,
        "compute_seconds": 18.0,
        "utilisation": 0.9,
        "wall_seconds": 10.0 * round_,
        "learners_alive": 2,
        "num_updates": 2,
        "num_dropped": 0,
    }
    append_round(folder, {**line, **values})
    os.utime(folder / "rounds.jsonl", (NOON.timestamp(), NOON.timestamp()))


def status_of(folder: Path, *, later_seconds: float = 0.0) -> TrainingStatus:
    return read_status(folder, num_rounds=8, now=NOON + timedelta(seconds=later_seconds))


def test_a_training_that_has_not_begun_has_a_status(tmp_path: Path) -> None:
    status = status_of(tmp_path / "train")

    assert (status.round, status.num_rounds, status.samples) == (0, 8, 0)
    assert status.train_loss is status.utilisation is status.seconds_left is status.last_round_at is None
    assert status.learners == status.notices == status.curve == []
    assert (status.bytes_sent, status.num_updates) == (0, 0)


def test_sums_are_over_all_rounds_and_values_of_the_last(tmp_path: Path) -> None:
    add_round(tmp_path, 1)
    add_round(tmp_path, 2, num_dropped=1, metrics={"accuracy": 0.75}, learners_alive=1)

    status = status_of(tmp_path)

    assert (status.bytes_sent, status.bytes_up, status.bytes_down) == (60, 20, 40)
    assert (status.num_updates, status.num_dropped) == (4, 1)
    assert (status.train_loss, status.metrics, status.learners_alive) == (1.0, {"accuracy": 0.75}, 1)
    assert status.last_round_at == "2026-11-22T12:00:00+00:00"


def test_utilisation_is_weighted_by_the_length_of_the_rounds(tmp_path: Path) -> None:
    add_round(tmp_path, 1, utilisation=0.5, wall_seconds=10.0)
    add_round(tmp_path, 2, utilisation=0.9, wall_seconds=40.0)

    assert status_of(tmp_path).utilisation == pytest.approx((0.5 * 10 + 0.9 * 30) / 40)


def test_a_sum_with_an_unknown_part_is_unknown(tmp_path: Path) -> None:
    add_round(tmp_path, 1, bytes_up=None)
    add_round(tmp_path, 2)

    assert status_of(tmp_path).bytes_up is None
    assert status_of(tmp_path).bytes_sent == 60


def test_the_time_left_follows_the_last_five_rounds(tmp_path: Path) -> None:
    for round_, wall_seconds in enumerate([100.0, 104.0, 106.0, 110.0, 118.0, 120.0], start=1):
        add_round(tmp_path, round_, wall_seconds=wall_seconds)

    assert status_of(tmp_path).seconds_per_round == 4.0
    assert status_of(tmp_path).seconds_left == 8.0


def test_the_time_left_shrinks_within_a_round_and_then_waits(tmp_path: Path) -> None:
    add_round(tmp_path, 6, wall_seconds=10.0)

    left = [status_of(tmp_path, later_seconds=later).seconds_left for later in (0, 4, 10, 500)]

    assert left == [20.0, 16.0, 10.0, 10.0]


def test_a_training_that_is_done_has_no_time_left(tmp_path: Path) -> None:
    add_round(tmp_path, 8)

    assert status_of(tmp_path).seconds_left == 0.0


def test_each_learner_has_what_it_began_and_what_was_accepted(tmp_path: Path) -> None:
    for learner, attempt in ((0, 1), (1, 1), (1, 2)):
        append_started(tmp_path, session="s", round_=1, learner=learner, attempt=attempt)
    append_json_line(tmp_path / "accepted.jsonl", {"round": 1, "learner": 0, "attempt": 1, "num_samples": 64})

    first, second = status_of(tmp_path).learners

    assert (first.learner, first.num_updates, first.num_attempts, first.samples) == (0, 1, 1, 64)
    assert (second.num_updates, second.num_attempts, second.last_round, second.last_attempt) == (0, 2, 1, 2)


def test_notices_are_part_of_the_status(tmp_path: Path) -> None:
    append_notice(tmp_path, "learner 1 was lost", now=NOON)

    assert [notice["message"] for notice in status_of(tmp_path).notices] == ["learner 1 was lost"]


def test_lines_of_an_older_ayni_and_torn_ones_do_not_stop_the_status(tmp_path: Path) -> None:
    old = {"round": 1, "samples": 5, "train_loss": 1.0, "metrics": {}, "wall_seconds": 2.0, "bytes_sent": 7}
    (tmp_path / "rounds.jsonl").write_text(json.dumps(old) + '\n{"round": 2, "sam')
    (tmp_path / "started.jsonl").write_text('{"sess')

    status = status_of(tmp_path)

    assert (status.round, status.bytes_sent, status.bytes_up, status.utilisation) == (1, 7, None, None)


def test_looking_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'distributed', 'pydantic'}"
    code = f"import sys, ayni.train.status; print(sorted({heavy} & set(sys.modules)))"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"
