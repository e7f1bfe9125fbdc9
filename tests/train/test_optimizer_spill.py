from pathlib import Path

import torch
from torch import nn

from ayni.train.local import make_optimizer
from ayni.train.optimizer_spill import restore, spill


def stepped() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = make_optimizer(model, learning_rate=0.1, weight_decay=0.0)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return model, optimizer


def test_a_restored_optimizer_takes_the_same_next_step(tmp_path: Path) -> None:
    model, optimizer = stepped()
    spill(tmp_path, optimizer, learner=0, round_=1, fingerprint="f")
    twin, other = stepped()
    other = make_optimizer(twin, learning_rate=0.1, weight_decay=0.0)

    found = restore(tmp_path, other, learner=0, round_=1, fingerprint="f")
    optimizer.step()
    other.step()

    assert found
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_a_state_of_another_round_learner_or_job_is_not_taken(tmp_path: Path) -> None:
    _, optimizer = stepped()
    spill(tmp_path, optimizer, learner=0, round_=1, fingerprint="f")

    assert not restore(tmp_path, optimizer, learner=0, round_=2, fingerprint="f")
    assert not restore(tmp_path, optimizer, learner=1, round_=1, fingerprint="f")
    assert not restore(tmp_path, optimizer, learner=0, round_=1, fingerprint="g")


def test_a_torn_file_is_not_taken(tmp_path: Path) -> None:
    _, optimizer = stepped()
    spill(tmp_path, optimizer, learner=0, round_=1, fingerprint="f")
    path = next(tmp_path.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-4])

    assert not restore(tmp_path, optimizer, learner=0, round_=1, fingerprint="f")


def test_a_state_of_another_model_is_not_taken(tmp_path: Path) -> None:
    _, optimizer = stepped()
    spill(tmp_path, optimizer, learner=0, round_=1, fingerprint="f")
    other = make_optimizer(nn.Linear(4, 2), learning_rate=0.1, weight_decay=0.0)

    assert not restore(tmp_path, other, learner=0, round_=1, fingerprint="f")


def test_old_rounds_are_removed(tmp_path: Path) -> None:
    _, optimizer = stepped()

    for round_ in range(1, 7):
        spill(tmp_path, optimizer, learner=0, round_=round_, fingerprint="f")

    assert len(list(tmp_path.iterdir())) == 3
