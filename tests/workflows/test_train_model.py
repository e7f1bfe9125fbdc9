"""What a training says on the terminal; whole trainings are in test_run_job.py and tests/train."""

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from ayni.cli.terminal import PlainProgress
from ayni.errors import AyniError
from ayni.jobs.runs import Run
from ayni.train.config import TrainConfig
from ayni.train.curve import append_round
from ayni.train.engine import Engine
from ayni.train.result import RoundProgress, TrainResult
from ayni.workflows.house import House
from ayni.workflows.run_job import run_job
from ayni.workflows.train_model import text_of, text_of_round

NewRun = Callable[..., Run]

PROGRESS = {
    "round": 3,
    "num_rounds": 12,
    "samples": 15360,
    "train_loss": 0.56453,
    "metrics": {"accuracy": 0.9},
    "samples_per_second": 1845.3,
    "bytes_sent": 3_310_752,
    "bytes_up": 827_688,
    "bytes_down": 2_483_064,
    "compute_seconds": 5.2,
    "utilisation": 0.934,
    "wall_seconds": 8.7,
    "learners_alive": 2,
    "num_updates": 2,
    "num_dropped": 0,
}
RESULT = {
    "model_path": "train/model.safetensors",
    "strategy": "diloco",
    "num_learners": 2,
    "rounds": 12,
    "samples": 61440,
    "wall_seconds": 34.8,
    "compute_seconds": 62.4,
    "bytes_sent": 39_729_024,
    "metrics": {"accuracy": 0.984},
    "num_parameters": 206_922,
    "num_lost_updates": 1,
    "num_optimizer_resets": 0,
    "curve": [],
}


def test_a_round_is_told_with_loss_pace_utilisation_learners_and_bytes() -> None:
    assert text_of_round(RoundProgress(**PROGRESS)) == (
        "loss 0.565, accuracy 0.9, 1,845 samples/s, utilisation 93%, 2 learners, 3.3 MB sent"
    )


def test_dropped_updates_are_told_and_an_unknown_utilisation_is_not() -> None:
    progress = RoundProgress(**{**PROGRESS, "utilisation": None, "num_dropped": 2})

    assert text_of_round(progress).endswith("samples/s, 2 learners, 3.3 MB sent, 2 dropped")


def test_a_result_is_told_in_a_line() -> None:
    assert text_of(TrainResult(**RESULT)) == (
        "accuracy 0.984 on validation; 61,440 samples, 39.7 MB exchanged"
    )
    assert text_of(TrainResult(**RESULT, utilisation=0.9)).endswith("39.7 MB exchanged, utilisation 90%")


def test_a_few_bytes_are_told_in_kilobytes() -> None:
    assert "0.9 kB sent" in text_of_round(RoundProgress(**{**PROGRESS, "bytes_sent": 880}))


class NoWorkerYetError(AyniError):
    """The cluster of these tests."""


def said_before_the_engine_is_there(run: Run, house: House) -> list[str]:
    """What a plain terminal shows of the training until somebody waits for the cluster."""
    stream, said = io.StringIO(), []

    @contextlib.contextmanager
    def make_engine(_config: TrainConfig) -> Iterator[Engine]:
        said.extend(stream.getvalue().splitlines())
        raise NoWorkerYetError("no worker yet")
        yield

    with run.lock(), pytest.raises(NoWorkerYetError):
        run_job(
            run,
            replace(house, make_engine=make_engine),
            progress=PlainProgress(stream),
            approve=None,
            yes=False,
        )
    return [line for line in said if line.startswith("train: ")]


def test_whoever_waits_for_a_cluster_is_told_so_first(house: House, new_run: NewRun) -> None:
    run = new_run("train.engine=tcp://10.0.0.1:8786")

    assert said_before_the_engine_is_there(run, house) == [
        "train: started",
        "train: 0 of 3  waiting for the workers of tcp://10.0.0.1:8786",
    ]


def test_the_wait_of_a_resumed_run_does_not_forget_its_rounds(house: House, new_run: NewRun) -> None:
    run = new_run("train.engine=tcp://10.0.0.1:8786")
    said_before_the_engine_is_there(run, house)
    append_round(run.folder / "train", PROGRESS | {"round": 2})

    said = said_before_the_engine_is_there(run, house)

    assert said[-1] == "train: 2 of 3  waiting for the workers of tcp://10.0.0.1:8786"


def test_workers_of_this_machine_are_not_waited_for(house: House, new_run: NewRun) -> None:
    assert said_before_the_engine_is_there(new_run(), house) == ["train: started"]
