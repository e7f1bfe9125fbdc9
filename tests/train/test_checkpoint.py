from pathlib import Path

import numpy as np
import pytest

from ayni.train.checkpoint import (
    Checkpoint,
    DamagedCheckpointError,
    Totals,
    load_latest,
    save_checkpoint,
)
from ayni.train.diloco import OuterState


def checkpoint(round_: int) -> Checkpoint:
    outer = OuterState({"w": np.full(3, round_, dtype="float32")}, {"w": np.ones(3, dtype="float32")})
    return Checkpoint(round=round_, fingerprint="f", outer=outer, totals=Totals(samples=round_ * 10))


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(4))

    loaded, notices = load_latest(tmp_path)

    assert loaded is not None
    assert (loaded.round, loaded.totals.samples, notices) == (4, 40, [])
    np.testing.assert_array_equal(loaded.outer.parameters["w"], checkpoint(4).outer.parameters["w"])
    np.testing.assert_array_equal(loaded.outer.momentum["w"], np.ones(3))


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for round_ in range(1, 6):
        save_checkpoint(tmp_path, checkpoint(round_))

    names = sorted(path.name for path in tmp_path.iterdir())

    assert names == [f"round-{r:06d}.{e}" for r in (4, 5) for e in ("json", "safetensors")]


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize("damage", ["torn", "flipped", "empty", "gone"])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_used(
    tmp_path: Path, suffix: str, damage: str
) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    save_checkpoint(tmp_path, checkpoint(2))
    path = tmp_path / f"round-000002{suffix}"
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    path.write_bytes({"torn": content[:middle], "flipped": flipped, "empty": b"", "gone": b""}[damage])
    if damage == "gone":
        path.unlink()

    loaded, notices = load_latest(tmp_path)

    assert loaded is not None
    assert loaded.round == 1
    # Arrays without their JSON were never a checkpoint: that is a crash in the middle of writing.
    assert len(notices) == (0 if (damage, suffix) == ("gone", ".json") else 1)


def test_only_damaged_checkpoints_are_an_error(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    (tmp_path / "round-000001.json").write_text("{")

    with pytest.raises(DamagedCheckpointError, match="round-000001 is damaged"):
        load_latest(tmp_path)


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert load_latest(tmp_path / "absent") == (None, [])
