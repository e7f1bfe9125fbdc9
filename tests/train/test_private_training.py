"""Whole trainings with privacy: what is counted, what a resume keeps, what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ayni.files import read_json_lines
from ayni.task import TaskReference
from ayni.train.accepted import check_samples
from ayni.train.in_process_engine import InProcessEngine
from ayni.train.privacy_accounting import PrivacyBudgetUsedError, PrivacySpent
from ayni.train.privacy_config import PrivacyConfig
from ayni.train.result import RoundProgress, SilentObserver, TrainResult
from ayni.train.strategy_config import AdapterConfig
from ayni.train.training import train

pytest.importorskip("opacus")

from ayni.train.privacy_checks import UnsafeLayerError

pytestmark = pytest.mark.slow
TASKS = Path(__file__).with_name("private_tasks.py")
Config = Callable[..., object]


class StopAfter(SilentObserver):
    """Stops a training after a round, as Ctrl-C would."""

    def __init__(self, round_: int) -> None:
        super().__init__()
        self._round = round_

    def round_finished(self, progress: RoundProgress) -> None:
        if progress.round == self._round:
            raise KeyboardInterrupt


@pytest.fixture
def train_privately(tmp_path: Path, config: Config) -> Callable[..., TrainResult]:
    def run(
        task: str = "Apart",
        *,
        folder: Path | None = None,
        observer: SilentObserver | None = None,
        epsilon: float = 8.0,
        spare_attempts: int = 1,
        **changes: object,
    ) -> TrainResult:
        privacy = PrivacyConfig(epsilon=epsilon, delta=1e-3, spare_attempts=spare_attempts)
        folder = folder or tmp_path / "train"
        return train(
            TaskReference(module_path=TASKS, object_name=task),
            config(privacy=privacy, **changes),  # type: ignore[arg-type]
            seed=3,
            folder=folder,
            spill_folder=folder / "spill",
            engine=InProcessEngine(),
            observer=observer or SilentObserver(),
        )

    return run


Train = Callable[..., TrainResult]


@pytest.mark.parametrize("strategy", ["diloco", "sync"])
def test_a_private_training_learns_and_says_what_it_promises(
    train_privately: Train, tmp_path: Path, strategy: str
) -> None:
    result = train_privately(strategy=strategy, rounds=10, learning_rate=0.05, epsilon=20.0, batch_size=24)

    assert result.metrics["accuracy"] >= 0.65
    spent = PrivacySpent.from_json(result.privacy or {})
    assert 0 < spent.epsilon <= 20.0
    assert (spent.steps, spent.learners, spent.lost_attempts) == (10 * 2 * 4, 2, 0)
    assert (spent.sampling, spent.sample_rate, spent.delta) == ("Poisson", 0.25, 1e-3)
    assert check_samples(tmp_path / "train") == []
    assert TrainResult.from_json(result.to_json()) == result


def test_a_training_without_privacy_promises_nothing(train_tiny: Train) -> None:
    assert train_tiny().privacy is None


def test_equal_seeds_give_other_models_for_noise_is_secret(train_privately: Train, tmp_path: Path) -> None:
    models = [
        safetensors.torch.load_file(train_privately(folder=tmp_path / name).model_path)
        for name in ("one", "two")
    ]

    assert not torch.equal(models[0]["0.weight"], models[1]["0.weight"])


def test_a_resume_goes_on_with_the_account_of_what_was_begun(train_privately: Train, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        train_privately(folder=folder, observer=StopAfter(2), learners=1, rounds=4)
    num_begun = len(read_json_lines(folder / "started.jsonl"))

    result = train_privately(folder=folder, learners=1, rounds=4)

    # The third round was under way when the training was stopped, and began twice.
    assert num_begun == 3
    spent = PrivacySpent.from_json(result.privacy or {})
    assert (spent.steps, spent.lost_attempts) == (5 * 4, 1)
    unbroken = train_privately(folder=tmp_path / "unbroken", learners=1, rounds=4).privacy or {}
    assert unbroken["epsilon"] < spent.epsilon <= 8.0


def test_attempts_beyond_what_the_noise_was_made_for_are_refused(
    train_privately: Train, tmp_path: Path
) -> None:
    folder = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        train_privately(folder=folder, observer=StopAfter(2), learners=1, rounds=4, spare_attempts=0)

    with pytest.raises(PrivacyBudgetUsedError, match="has begun 4 attempts") as caught:
        train_privately(folder=folder, learners=1, rounds=4, spare_attempts=0)

    assert caught.value.num_begun == 4
    assert "spare_attempts" in str(caught.value)


def test_a_model_with_batch_norm_is_refused_before_any_work(train_privately: Train, tmp_path: Path) -> None:
    with pytest.raises(UnsafeLayerError, match=r"1 \(BatchNorm1d\)"):
        train_privately("Tiny")

    assert not (tmp_path / "train" / "started.jsonl").exists()


def test_frozen_layers_stay_as_they_were(train_privately: Train) -> None:
    found = safetensors.torch.load_file(train_privately("HalfFrozen").model_path)
    from ayni.train.learner import build_model

    untrained = build_model(TaskReference(module_path=TASKS, object_name="HalfFrozen").load(), seed=3)

    assert torch.equal(found["0.weight"], untrained.state_dict()["0.weight"])
    assert not torch.equal(found["2.weight"], untrained.state_dict()["2.weight"])


def test_an_adapter_is_trained_privately(train_privately: Train) -> None:
    pytest.importorskip("peft")

    result = train_privately("Plain", adapter=AdapterConfig(rank=2))

    assert 0 < (result.privacy or {})["epsilon"] <= 8.0
