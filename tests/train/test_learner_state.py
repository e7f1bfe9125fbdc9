import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ayni.files import NotWritableError
from ayni.task import TaskReference
from ayni.train.config import TrainConfig
from ayni.train.engine import Session
from ayni.train.learner_state import LearnerState
from ayni.train.torch_replica import TorchReplica


class WideTask:
    """A layer whose optimizer state is spilled in the background, or one that is small."""

    def __init__(self, width: int) -> None:
        self.width = width

    def build_model(self) -> nn.Module:
        torch.manual_seed(0)
        return nn.Linear(self.width, 500)

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        return model(batch).square().mean()


def make(
    folder: Path, *, width: int = 4, learner: int = 0, **changes: Any
) -> tuple[LearnerState, TorchReplica]:
    task: Any = WideTask(width)
    config = TrainConfig(**{"codec": "int2", **changes})
    reference = TaskReference(module_path=Path(__file__), object_name="WideTask")
    session = Session(
        session_id="s", fingerprint="f", task=reference, config=config, seed=0, spill_folder=folder
    )
    replica = TorchReplica(task, task.build_model(), config, seed=0)
    return LearnerState(session, replica, learner=learner), replica


def take_step(replica: TorchReplica, width: int = 4) -> None:
    replica.step(torch.ones(2, width), learning_rate=0.1, where="here")


@pytest.mark.parametrize("width", [4, 600])
def test_what_is_kept_can_be_found_by_the_next_process(tmp_path: Path, width: int) -> None:
    state, replica = make(tmp_path, width=width)
    state.find(1, in_gang=False)
    take_step(replica, width)
    state.residual["bias"][:] = 0.25
    state.keep(1)
    expected = {name: array.copy() for name, array in replica.optimizer_arrays().items()}
    kept = state.find(2, in_gang=False)

    other, twin = make(tmp_path, width=width)
    restored = other.find(2, in_gang=False)

    assert (kept, restored) == ("kept", "restored")
    assert all(np.array_equal(array, twin.optimizer_arrays()[name]) for name, array in expected.items())
    assert other.residual["bias"].tolist() == [0.25] * 500
    assert not any(thread.name.startswith("ayni-spill") and thread.daemon for thread in threading.enumerate())


def test_a_large_state_that_could_not_be_written_is_said_at_the_next_order(tmp_path: Path) -> None:
    (tmp_path / "learner-0000-round-000001.safetensors").mkdir()
    state, replica = make(tmp_path, width=600)
    state.find(1, in_gang=False)
    take_step(replica, 600)
    state.keep(1)

    with pytest.raises(NotWritableError):
        state.find(2, in_gang=False)


def test_after_a_round_that_broke_off_memory_is_not_trusted(tmp_path: Path) -> None:
    state, replica = make(tmp_path)
    state.find(1, in_gang=False)
    take_step(replica)
    state.keep(1)
    state.find(2, in_gang=False)
    take_step(replica)

    found = state.find(2, in_gang=False)

    assert found == "restored"
    assert replica.optimizer_arrays()["0.step"] == 1


def test_a_gang_takes_the_very_round_before_from_any_member_or_nothing(tmp_path: Path) -> None:
    state, replica = make(tmp_path, strategy="sync", learner=1)
    state.find(1, in_gang=True)
    take_step(replica)
    state.keep(1)

    from_another, _ = make(tmp_path, strategy="sync", learner=0)
    too_late, _ = make(tmp_path, strategy="sync", learner=0)

    assert from_another.find(2, in_gang=True) == "restored"
    assert too_late.find(3, in_gang=True) == "reset"


def test_what_was_lost_from_some_arrays_can_be_forgotten(tmp_path: Path) -> None:
    state, _ = make(tmp_path)
    state.find(1, in_gang=False)
    for residual in state.residual.values():
        residual.fill(0.5)

    state.forget_residual(frozenset({"bias", "unknown"}))

    assert not state.residual["bias"].any()
    assert state.residual["weight"].all()


def test_without_error_feedback_nothing_is_kept_for_it(tmp_path: Path) -> None:
    state, _ = make(tmp_path, codec="int8")

    assert state.find(1, in_gang=False) == "new"
    assert state.residual == {}
