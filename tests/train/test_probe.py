from collections.abc import Callable

import pytest

from ayni.errors import UserError
from ayni.task import TaskFailedError, TaskReference
from ayni.train.config import TrainConfig
from ayni.train.local import LossShapeError, NonFiniteLossError
from ayni.train.probe import probe
from ayni.train.stream import EmptyDatasetError, TooFewExamplesError

Reference = Callable[..., TaskReference]
Config = Callable[..., TrainConfig]


def test_a_probe_measures_and_counts(task_reference: Reference, config: Config) -> None:
    found = probe(task_reference().load(), config())

    assert (found.num_train_examples, found.num_validation_examples) == (96, 40)
    assert found.num_parameters == 4 * 8 + 8 + 16 + 8 * 2 + 2
    assert found.step_seconds > 0
    assert found.evaluate_seconds_per_example > 0
    assert 0 <= found.metrics["accuracy"] <= 1


@pytest.mark.parametrize(
    ("task", "error"),
    [
        ("Empty", EmptyDatasetError),
        ("Exploding", NonFiniteLossError),
        ("Raising", TaskFailedError),
        ("Vector", LossShapeError),
        ("Constant", LossShapeError),
        ("BadMetrics", TaskFailedError),
    ],
)
def test_what_would_fail_later_fails_now(
    task: str, error: type[UserError], task_reference: Reference, config: Config
) -> None:
    with pytest.raises(error):
        probe(task_reference(task).load(), config())


def test_more_than_there_is_data_for_is_refused(task_reference: Reference, config: Config) -> None:
    with pytest.raises(TooFewExamplesError, match="96 training examples"):
        probe(task_reference().load(), config(batch_size=64))


def test_a_model_that_is_not_trained_needs_no_batch_of_training_examples(
    task_reference: Reference, config: Config
) -> None:
    found = probe(task_reference().load(), config(batch_size=64), trains=False)

    assert found.step_seconds > 0
