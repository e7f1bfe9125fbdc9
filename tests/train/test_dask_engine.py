import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ayni.train.accepted import check_samples
from ayni.train.dask_engine import DaskEngine
from ayni.train.engine import LearnersLostError
from ayni.train.local import NonFiniteLossError
from ayni.train.result import RoundProgress, SilentObserver, TrainResult

pytestmark = pytest.mark.cluster

Train = Callable[..., TrainResult]


@pytest.fixture(scope="module")
def engine() -> Iterator[DaskEngine]:
    with DaskEngine(2) as started:
        yield started


class Signalling:
    """Sends a signal to a worker once, a moment after a round was finished: in the middle of the next."""

    def __init__(self, engine: DaskEngine, signal_: signal.Signals, *, after_round: int, worker: int) -> None:
        self._engine = engine
        self._signal = signal_
        self._after_round = after_round
        self._worker = worker
        self.notices: list[str] = []
        self.victim: int | None = None

    def round_finished(self, progress: RoundProgress) -> None:
        if progress.round == self._after_round:
            time.sleep(0.1)
            self.victim = self._engine.worker_process_ids()[self._worker]
            os.kill(self.victim, self._signal)

    def noticed(self, message: str) -> None:
        self.notices.append(message)


def assert_same_model(one: TrainResult, other: TrainResult) -> None:
    a, b = (safetensors.torch.load_file(result.model_path) for result in (one, other))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("strategy", ["diloco", "sync"])
def test_processes_give_the_same_bits_as_one_process(
    train_tiny: Train, tmp_path: Path, engine: DaskEngine, strategy: str
) -> None:
    expected = train_tiny(strategy=strategy, folder=tmp_path / "in-process")

    result = train_tiny(strategy=strategy, folder=tmp_path / "processes", engine=engine)

    assert_same_model(result, expected)
    assert result.bytes_sent == expected.bytes_sent
    assert check_samples(tmp_path / "processes") == []


def test_what_is_too_large_to_be_sent_at_once_arrives_in_pieces(
    train_tiny: Train, tmp_path: Path, engine: DaskEngine
) -> None:
    changes = {"task": "Large", "codec": "fp32", "rounds": 2, "local_steps": 1}
    expected = train_tiny(**changes, folder=tmp_path / "in-process")

    result = train_tiny(**changes, folder=tmp_path / "processes", engine=engine)

    assert_same_model(result, expected)
    assert result.bytes_up == expected.bytes_up > 2 * 2 * 36_000_000


@pytest.mark.parametrize("strategy", ["diloco", "sync"])
def test_a_worker_killed_in_the_middle_of_a_round_costs_an_attempt_and_nothing_else(
    train_tiny: Train, tmp_path: Path, engine: DaskEngine, strategy: str
) -> None:
    expected = train_tiny(task="Slow", strategy=strategy, folder=tmp_path / "unbroken")
    observer = Signalling(engine, signal.SIGKILL, after_round=1, worker=1)

    result = train_tiny(
        task="Slow", strategy=strategy, folder=tmp_path / "killed", engine=engine, observer=observer
    )

    assert_same_model(result, expected)
    assert result.num_lost_updates >= 1
    assert result.num_optimizer_resets == 0
    assert any("learner 1 was lost in round 2" in notice for notice in observer.notices)
    assert observer.victim not in engine.worker_process_ids()
    assert check_samples(tmp_path / "killed") == []


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced_at_the_deadline(
    train_tiny: Train, tmp_path: Path, engine: DaskEngine
) -> None:
    expected = train_tiny(task="Slow", folder=tmp_path / "unbroken")
    observer = Signalling(engine, signal.SIGSTOP, after_round=2, worker=0)

    result = train_tiny(
        task="Slow",
        folder=tmp_path / "hung",
        engine=engine,
        observer=observer,
        round_deadline_seconds=6.0,
        # Deadlines also count while a worker is being restarted, which takes long on a loaded machine.
        max_attempts=20,
    )

    assert_same_model(result, expected)
    assert any("took longer than 6 s" in notice for notice in observer.notices)


def test_learners_that_are_long_in_the_building_are_named(
    train_tiny: Train, tmp_path: Path, engine: DaskEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ayni.train.dask_engine._REMIND_SECONDS", 0.5)
    observer = SilentObserver()

    train_tiny(task="SlowToBuild", rounds=1, folder=tmp_path, engine=engine, observer=observer)

    assert any("learner 1 is still building its model and data" in notice for notice in observer.notices)


def test_more_learners_than_cores_are_told(
    train_tiny: Train, tmp_path: Path, engine: DaskEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process_id: {0})
    observer = SilentObserver()

    train_tiny(rounds=1, folder=tmp_path, engine=engine, observer=observer)

    assert any("2 learners share 1 cores" in notice for notice in observer.notices)


def test_more_learners_than_workers_take_turns(train_tiny: Train, tmp_path: Path, engine: DaskEngine) -> None:
    expected = train_tiny(learners=3, folder=tmp_path / "in-process")

    result = train_tiny(learners=3, folder=tmp_path / "processes", engine=engine)

    assert_same_model(result, expected)


def test_the_tasks_own_error_arrives_whole_and_the_engine_stays_usable(
    train_tiny: Train, tmp_path: Path, engine: DaskEngine
) -> None:
    with pytest.raises(NonFiniteLossError, match="round 1, learner") as caught:
        train_tiny(task="Exploding", folder=tmp_path / "nan", engine=engine)

    assert caught.value.exit_code == 2
    assert train_tiny(folder=tmp_path / "next", engine=engine).rounds == 3


def test_a_task_that_kills_its_worker_ends_the_training(
    train_tiny: Train, tmp_path: Path, engine: DaskEngine
) -> None:
    with pytest.raises(LearnersLostError, match="in 2 attempts; the last time: its worker process died"):
        train_tiny(task="Killing", engine=engine, max_attempts=2)

    assert train_tiny(folder=tmp_path / "next", engine=engine).rounds == 3


@pytest.mark.skipif(sys.platform != "linux", reason="the task finds out by /proc that it is in a worker")
def test_a_task_that_kills_its_worker_while_it_loads_ends_the_training(
    train_tiny: Train, engine: DaskEngine
) -> None:
    with pytest.raises(LearnersLostError, match="building the model and the data"):
        train_tiny(task="KillingData", engine=engine)


def test_an_interrupted_training_goes_on_in_the_same_cluster(
    train_tiny: Train, tmp_path: Path, engine: DaskEngine
) -> None:
    class Stop(SilentObserver):
        def round_finished(self, progress: RoundProgress) -> None:
            raise KeyboardInterrupt

    expected = train_tiny(folder=tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        train_tiny(folder=tmp_path / "broken", engine=engine, observer=Stop())

    resumed = train_tiny(folder=tmp_path / "broken", engine=engine)

    assert_same_model(resumed, expected)


def test_a_closed_engine_leaves_no_process_behind() -> None:
    with DaskEngine(1) as started:
        process_ids = started.worker_process_ids()

    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in process_ids) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert len(process_ids) == 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in process_ids)
