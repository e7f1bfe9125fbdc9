import time
from pathlib import Path

import numpy as np
import pytest

from ayni.errors import AyniError
from ayni.train.accepted import AcceptedUpdate, read_accepted
from ayni.train.checkpoint import Checkpoint, load_latest
from ayni.train.checkpoint_writer import CheckpointWriter


def checkpoint(round_: int) -> Checkpoint:
    update = AcceptedUpdate(round=round_, learner=0, attempt=1, num_examples=9, start=0, num_samples=3)
    groups = {"parameters": {"w": np.arange(5, dtype=np.float32)}}
    return Checkpoint(round=round_, fingerprint="f", groups=groups, last_updates=[update])


def wait_for(writer: CheckpointWriter) -> int | None:
    while writer.is_busy:
        if (round_ := writer.finished()) is not None:
            return round_
        time.sleep(0.001)
    return None


def test_a_checkpoint_is_on_disk_when_it_is_reported_and_reported_once(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path)

    writer.begin(checkpoint(4))

    assert wait_for(writer) == 4
    assert writer.finished() is None
    found, _ = load_latest(tmp_path / "checkpoints")
    assert found is not None and found.round == 4
    assert [update.round for update in read_accepted(tmp_path)] == [4]
    writer.close()


def test_closing_waits_for_what_is_being_written(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path)
    writer.begin(checkpoint(1))

    writer.close()

    assert load_latest(tmp_path / "checkpoints")[0] is not None


def test_a_disk_that_takes_nothing_is_an_error_when_the_end_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    writer = CheckpointWriter(tmp_path)
    writer.begin(checkpoint(1))

    with pytest.raises(AyniError):
        wait_for(writer)
    writer.close()
