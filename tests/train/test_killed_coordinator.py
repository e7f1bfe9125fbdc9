"""What is left when the coordinator dies by SIGKILL, again and again, at moments nobody chose."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ayni.files import read_json_lines
from ayni.train.accepted import check_samples
from ayni.train.result import TrainResult

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SCRIPT = Path(__file__).with_name("coordinator_process.py")
NUM_ROUNDS = 8


def begin(strategy: str, folder: Path) -> "subprocess.Popen[bytes]":
    folder.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, SCRIPT, "Slow", strategy, folder])


def num_rounds_done(folder: Path) -> int:
    return len(read_json_lines(folder / "rounds.jsonl"))


def wait_for(is_true: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_true()


@pytest.mark.parametrize("strategy", ["diloco", "sync"])
def test_a_training_killed_again_and_again_ends_at_the_same_bits(
    train_tiny: Callable[..., TrainResult], tmp_path: Path, strategy: str
) -> None:
    expected = train_tiny(task="Slow", strategy=strategy, rounds=NUM_ROUNDS, folder=tmp_path / "unbroken")
    folder = tmp_path / "killed"
    rng = random.Random(strategy)
    num_kills = 0

    for _ in range(4):
        done = num_rounds_done(folder)
        coordinator = begin(strategy, folder)
        assert wait_for(lambda: num_rounds_done(folder) > done or coordinator.poll() is not None)  # noqa: B023
        time.sleep(rng.uniform(0.0, 0.4))
        num_kills += coordinator.poll() is None
        coordinator.kill()
        coordinator.wait()
    assert begin(strategy, folder).wait() == 0

    model, wanted = (
        safetensors.torch.load_file(path) for path in (folder / "model.safetensors", expected.model_path)
    )
    assert num_kills >= 2
    assert all(torch.equal(model[name], wanted[name]) for name in wanted)
    assert check_samples(folder) == []
    assert [line["round"] for line in read_json_lines(folder / "rounds.jsonl")] == list(range(1, 9))


def test_the_workers_of_a_killed_coordinator_end_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    coordinator = begin("diloco", folder)
    assert wait_for(lambda: num_rounds_done(folder) > 0)
    workers = [int(word) for word in (folder / "workers").read_text().split()]

    coordinator.kill()
    coordinator.wait()

    # A worker that lived on could overwrite the optimizer state of the resumed run.
    assert wait_for(lambda: not any(is_alive(pid) for pid in workers), seconds=10)


def test_ctrl_c_ends_all_processes_without_a_traceback_of_a_worker(tmp_path: Path) -> None:
    folder = tmp_path / "interrupted"
    folder.mkdir()
    command = [sys.executable, SCRIPT, "Slow", "diloco", folder]
    coordinator = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
    assert wait_for(lambda: num_rounds_done(folder) > 0)
    workers = [int(word) for word in (folder / "workers").read_text().split()]

    # A terminal sends Ctrl-C to the whole process group, workers included.
    os.killpg(coordinator.pid, signal.SIGINT)
    _, complaints = coordinator.communicate(timeout=60)

    assert complaints.count(b"KeyboardInterrupt") == 1
    assert b"nanny" not in complaints
    assert not any(is_alive(pid) for pid in workers)


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
