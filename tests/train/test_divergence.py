from pathlib import Path

import numpy as np
import pytest

from ayni.train.checkpoint import Checkpoint, load_latest, save_checkpoint
from ayni.train.divergence import DivergedError, DivergenceGuard


def save(folder: Path, round_: int, value: float) -> None:
    groups = {"parameters": {"w": np.full(3, value, np.float32)}}
    save_checkpoint(folder / "checkpoints", Checkpoint(round=round_, fingerprint="f", groups=groups))


def test_a_loss_within_the_factor_is_no_divergence_and_one_beyond_is(tmp_path: Path) -> None:
    guard = DivergenceGuard(tmp_path, 2.0)
    for round_, loss in ((1, 1.0), (2, 1.9)):
        save(tmp_path, round_, 0.0)
        assert not guard.has_diverged(round_, loss)

    save(tmp_path, 3, 0.0)

    assert guard.has_diverged(3, 2.1)


def test_a_negative_loss_diverges_upwards_too(tmp_path: Path) -> None:
    guard = DivergenceGuard(tmp_path, 2.0)
    save(tmp_path, 1, 0.0)
    guard.has_diverged(1, -4.0)

    assert not guard.has_diverged(2, -1.0)
    assert guard.has_diverged(3, 0.5)


def test_going_back_gives_the_best_round_and_forgets_later_ones(tmp_path: Path) -> None:
    guard = DivergenceGuard(tmp_path, 2.0)
    for round_, loss in ((1, 3.0), (2, 1.0), (3, 1.5), (4, 1.6), (5, 9.0)):
        save(tmp_path, round_, float(round_))
        has_diverged = guard.has_diverged(round_, loss)
    arrays = {"w": np.full(3, 7.0, np.float32)}

    checkpoint = guard.go_back({"parameters": arrays})

    assert has_diverged
    assert checkpoint.round == 2
    assert arrays["w"].tolist() == [2.0, 2.0, 2.0]
    latest, _ = load_latest(tmp_path / "checkpoints")
    assert latest is not None and latest.round == 2


def test_it_gives_up_when_smaller_steps_do_not_help(tmp_path: Path) -> None:
    guard = DivergenceGuard(tmp_path, 1.5)
    save(tmp_path, 1, 0.0)
    guard.has_diverged(1, 1.0)
    for _ in range(5):
        assert guard.has_diverged(2, 9.0)

    with pytest.raises(DivergedError, match="rose to 9 again"):
        guard.has_diverged(2, 9.0)


def test_without_a_factor_nothing_is_a_divergence(tmp_path: Path) -> None:
    guard = DivergenceGuard(tmp_path, None)

    assert not guard.is_on
    save(tmp_path, 1, 0.0)
    assert not guard.has_diverged(1, 1.0)
    assert not guard.has_diverged(2, float("inf"))


def test_a_first_loss_that_is_not_finite_is_kept_as_nobodys_best(tmp_path: Path) -> None:
    guard = DivergenceGuard(tmp_path, 2.0)
    save(tmp_path, 1, 0.0)

    assert not guard.has_diverged(1, float("inf"))
    assert not guard.has_diverged(1, 3.0)
    assert guard.has_diverged(1, float("inf"))
