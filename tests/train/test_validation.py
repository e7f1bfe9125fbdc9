import math
from collections.abc import Callable

import numpy as np
import pytest

from ayni.task import TaskReference
from ayni.train.config import TrainConfig
from ayni.train.learner import make_replica
from ayni.train.validation import Validator


@pytest.fixture
def validator(task_reference: Callable[..., TaskReference]) -> Callable[..., Validator]:
    def make(name: str = "Plain") -> Validator:
        task = task_reference(name).load()
        replica = make_replica(task, TrainConfig(), seed=3)
        return Validator(replica=replica, dataset=task.dataset("validation"))

    return make


def test_metrics_that_are_no_numbers_are_told_apart(validator: Callable[..., Validator]) -> None:
    judge = validator("HalfUndefined")

    metrics, undefined = judge.metrics_of(judge.replica.arrays())

    assert list(metrics) == ["accuracy"]
    assert list(undefined) == ["f1"] and math.isnan(undefined["f1"])


def test_the_loss_is_that_of_the_given_parameters(validator: Callable[..., Validator]) -> None:
    judge = validator()
    zeros = {name: np.zeros_like(array) for name, array in judge.replica.arrays().items()}

    # Equal scores for two classes: the cross-entropy is that of a coin.
    assert judge.loss_of(zeros) == pytest.approx(math.log(2), rel=1e-6)


def test_a_loss_that_is_not_a_number_is_infinite(validator: Callable[..., Validator]) -> None:
    judge = validator("Exploding")

    assert judge.loss_of(judge.replica.arrays()) == math.inf
