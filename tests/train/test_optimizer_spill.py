from pathlib import Path

import numpy as np
import pytest

from ayni.files import NotWritableError
from ayni.train.named_arrays import NamedArrays
from ayni.train.optimizer_spill import restore, spill

MOMENTS = {"0.exp_avg": np.arange(5000, dtype=np.float32), "0.step": np.array(3, np.float32)}
LOST = {"weight": np.full((2, 3), 0.5, np.float32)}


def keep(folder: Path, *, round_: int = 1, learner: int = 0, moments: NamedArrays = MOMENTS) -> Path:
    groups = {"optimizer": moments, "residual": LOST}
    spill(folder, groups, learner=learner, round_=round_, fingerprint="f")
    return folder / f"learner-{learner:04d}-round-{round_:06d}.safetensors"


def test_what_was_kept_comes_back_in_its_groups(tmp_path: Path) -> None:
    keep(tmp_path)

    found = restore(tmp_path, learner=0, fingerprint="f", before_round=2)

    assert found is not None
    assert found.round == 1
    assert found.groups["optimizer"].keys() == MOMENTS.keys()
    assert all(np.array_equal(found.groups["optimizer"][name], MOMENTS[name]) for name in MOMENTS)
    assert np.array_equal(found.groups["residual"]["weight"], LOST["weight"])


def test_an_array_that_lies_in_memory_another_way_comes_back_as_it_was(tmp_path: Path) -> None:
    channels_last = np.arange(48, dtype=np.float32).reshape(2, 4, 6, 1).transpose(0, 3, 1, 2)
    keep(tmp_path, moments={"0.exp_avg": channels_last})

    found = restore(tmp_path, learner=0, fingerprint="f", before_round=2)

    assert found is not None
    assert np.array_equal(found.groups["optimizer"]["0.exp_avg"], channels_last)


def test_the_rounds_of_the_last_checkpoints_are_kept_however_seldom_these_are(tmp_path: Path) -> None:
    for round_ in range(1, 15):
        spill(
            tmp_path,
            {"optimizer": MOMENTS},
            learner=0,
            round_=round_,
            fingerprint="f",
            checkpoint_every=5,
        )

    assert sorted(int(path.stem[-6:]) for path in tmp_path.iterdir()) == [5, 10, 12, 13, 14]


def test_the_last_round_before_counts_or_the_very_one_before(tmp_path: Path) -> None:
    keep(tmp_path, round_=1)
    keep(tmp_path, round_=2)

    last = restore(tmp_path, learner=0, fingerprint="f", before_round=5)
    none = restore(tmp_path, learner=0, fingerprint="f", before_round=5, only_last=True)
    first = restore(tmp_path, learner=0, fingerprint="f", before_round=2, only_last=True)

    assert (last and last.round, none, first and first.round) == (2, None, 1)


def test_a_state_of_a_later_round_another_learner_or_another_job_is_not_taken(tmp_path: Path) -> None:
    keep(tmp_path)

    assert restore(tmp_path, learner=0, fingerprint="f", before_round=1) is None
    assert restore(tmp_path, learner=1, fingerprint="f", before_round=2) is None
    assert restore(tmp_path, learner=0, fingerprint="g", before_round=2) is None


def test_a_torn_file_is_not_taken_but_the_one_before_it(tmp_path: Path) -> None:
    keep(tmp_path, round_=1)
    path = keep(tmp_path, round_=2)
    path.write_bytes(path.read_bytes()[:-4])

    found = restore(tmp_path, learner=0, fingerprint="f", before_round=3)

    assert found is not None
    assert found.round == 1


def test_a_page_that_a_power_failure_took_is_noticed(tmp_path: Path) -> None:
    path = keep(tmp_path)
    content = bytearray(path.read_bytes())
    content[8192:12288] = bytes(4096)
    path.write_bytes(bytes(content))

    assert restore(tmp_path, learner=0, fingerprint="f", before_round=2) is None


def test_three_rounds_are_kept_and_none_of_a_future_that_was_rolled_back(tmp_path: Path) -> None:
    for round_ in range(1, 7):
        keep(tmp_path, round_=round_)
    after_six = sorted(path.name[-18:-12] for path in tmp_path.iterdir())
    keep(tmp_path, round_=5)

    assert after_six == ["000004", "000005", "000006"]
    assert sorted(path.name[-18:-12] for path in tmp_path.iterdir()) == ["000004", "000005"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "spill"
    folder.mkdir()
    (folder / "learner-0000-round-000001.safetensors").mkdir()

    with pytest.raises(NotWritableError, match="learner-0000-round-000001"):
        keep(folder)
