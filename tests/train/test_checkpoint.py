import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ayni.train.accepted import AcceptedUpdate
from ayni.train.checkpoint import (
    BEST_FILE,
    Checkpoint,
    DamagedCheckpointError,
    OtherFormatError,
    Totals,
    best_of,
    forget_after,
    keep_best,
    load_best,
    load_latest,
    save_checkpoint,
)
from ayni.train.named_arrays import ChangedModelError, NamedArrays


def model(value: float) -> NamedArrays:
    return {"z.weight": np.full((2, 3), value, "float32"), "a.bias": np.full((), value, "float64")}


def checkpoint(round_: int) -> Checkpoint:
    return Checkpoint(
        round=round_,
        fingerprint="f",
        groups={"parameters": model(round_), "momentum": {"z.weight": np.ones((2, 3), "float32")}},
        totals=Totals(samples=round_ * 10),
    )


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    update = AcceptedUpdate(round=4, learner=1, attempt=2, num_examples=9, start=8, num_samples=8)
    saved = checkpoint(4)
    saved.version, saved.steps_done, saved.outer = 7, 160, {"num_taken": 2}
    saved.stream, saved.last_updates = {"committed": [[0, 16]]}, [update]
    saved.last_progress, saved.extra = {"round": 4}, {"speeds": {"1": 2.5}}

    save_checkpoint(tmp_path, saved)
    loaded, notices = load_latest(tmp_path)

    assert loaded is not None
    assert notices == []
    for name in ("round", "fingerprint", "version", "steps_done", "outer", "stream", "totals", "extra"):
        assert getattr(loaded, name) == getattr(saved, name)
    assert (loaded.last_updates, loaded.last_progress) == ([update], {"round": 4})
    # The order of names decides how both ends cut the model into chunks.
    assert list(loaded.groups["parameters"]) == ["z.weight", "a.bias"]
    for group, arrays in saved.groups.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(loaded.groups[group][name], array)
            assert loaded.groups[group][name].dtype == array.dtype


def test_numbers_as_keys_come_back_as_text(tmp_path: Path) -> None:
    saved = checkpoint(1)
    saved.extra = {"failures": {2: 1, 10: 3}}

    save_checkpoint(tmp_path, saved)
    loaded, _ = load_latest(tmp_path)

    assert loaded is not None
    assert loaded.extra == {"failures": {"2": 1, "10": 3}}


def test_arrays_that_are_there_are_written_over_in_place(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(3))
    here: dict[str, NamedArrays] = {
        "parameters": model(0),
        "momentum": {"a.bias": np.ones((), "float64")},
        "buffer": {"z.weight": np.ones((2, 3), "float32")},
    }
    weight = here["parameters"]["z.weight"]

    loaded, _ = load_latest(tmp_path, into=here)

    assert loaded is not None
    assert {group: loaded.groups[group] is here[group] for group in here} == dict.fromkeys(here, True)
    assert loaded.groups["parameters"]["z.weight"] is weight
    assert (weight == 3).all()
    # What the file does not know had not begun: it is zero, and what was not here is new.
    assert here["momentum"]["a.bias"] == 0
    assert (here["buffer"]["z.weight"] == 0).all()
    assert (here["momentum"]["z.weight"] == 1).all()


def test_another_model_is_refused_before_anything_is_written_over(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(3))
    here = {"parameters": {**model(0), "z.weight": np.zeros((3, 2), "float32")}}

    with pytest.raises(ChangedModelError, match=r"z\.weight"):
        load_latest(tmp_path, into=here)

    assert here["parameters"]["a.bias"] == 0


def test_neither_saving_nor_loading_copies_the_model(tmp_path: Path) -> None:
    names = [f"layer{number}" for number in range(8)]
    groups = {
        group: {name: np.zeros(2**18, "float32") for name in names} for group in ("parameters", "momentum")
    }
    model_bytes = 8 * 2**20

    tracemalloc.start()
    try:
        save_checkpoint(tmp_path, Checkpoint(round=1, fingerprint="f", groups=groups))
        load_latest(tmp_path, into=groups)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    # One array of eight is held, perhaps twice.
    assert peak_bytes < model_bytes / 2


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for round_ in range(1, 6):
        save_checkpoint(tmp_path, checkpoint(round_))

    names = sorted(path.name for path in tmp_path.iterdir())

    assert names == [f"round-{r:06d}.{e}" for r in (4, 5) for e in ("json", "safetensors")]


def test_the_best_one_is_kept_until_a_better_one_comes(tmp_path: Path) -> None:
    for round_ in range(1, 8):
        save_checkpoint(tmp_path, checkpoint(round_))
        if round_ in (2, 5):
            assert keep_best(tmp_path, round_=round_, loss=1 / round_)

    best = load_best(tmp_path)

    assert best is not None
    assert (best.round, best_of(tmp_path)) == (5, (5, 0.2))
    assert sorted(path.stem for path in tmp_path.glob("round-*.json")) == [
        f"round-{r:06d}" for r in (5, 6, 7)
    ]


def test_a_round_that_is_gone_cannot_become_the_best(tmp_path: Path) -> None:
    for round_ in range(1, 4):
        save_checkpoint(tmp_path, checkpoint(round_))

    assert not keep_best(tmp_path, round_=1, loss=0.5)
    assert (best_of(tmp_path), load_best(tmp_path)) == (None, None)


def test_after_a_roll_back_a_crash_does_not_bring_the_later_rounds_back(tmp_path: Path) -> None:
    for round_ in range(1, 5):
        save_checkpoint(tmp_path, checkpoint(round_))
        keep_best(tmp_path, round_=min(round_, 2), loss=1.0)

    forget_after(tmp_path, 2)

    loaded, _ = load_latest(tmp_path)
    assert loaded is not None
    assert loaded.round == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        BEST_FILE,
        "round-000002.json",
        "round-000002.safetensors",
    ]


def test_a_damaged_best_one_is_an_error(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    keep_best(tmp_path, round_=1, loss=0.5)
    (tmp_path / "round-000001.safetensors").write_bytes(b"")

    with pytest.raises(DamagedCheckpointError, match="round-000001, is damaged"):
        load_best(tmp_path)


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


def test_a_checkpoint_of_another_format_is_refused_by_its_number(tmp_path: Path) -> None:
    state: dict[str, Any] = {"format": 1, "round": 1}
    content = json.dumps(state, sort_keys=True).encode()
    state["state_sha256"] = hashlib.sha256(content).hexdigest()
    (tmp_path / "round-000001.json").write_text(json.dumps(state))

    with pytest.raises(OtherFormatError, match="has format 1, and this version of Ayni reads format 3"):
        load_latest(tmp_path)


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert load_latest(tmp_path / "absent") == (None, [])
