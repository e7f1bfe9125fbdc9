"""Try a task for a second before a job is planned: how long a step takes, and what is wrong with it.

Finds before any work is spent: empty or too little data, a task that raises, a loss that is not a
scalar or not finite on the first batch, metrics that are not named numbers, a missing accelerator,
weights to start from that do not fit.

Not covered: how much slower a step gets when all cores are busy, and data whose first examples are
not like the others.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayni.task import Task, TaskFailedError
from ayni.train.config import TrainConfig
from ayni.train.learner import load_dataset, make_replica
from ayni.train.local import one_thread
from ayni.train.randomness import seeded
from ayni.train.replica import Replica
from ayni.train.stream import EmptyDatasetError, check_data_suffices
from ayni.train.torch_replica import TorchReplica

_STEP_SECONDS, _EVALUATE_SECONDS = 0.6, 0.3
_MAX_STEPS, _MAX_EVALUATIONS = 20, 5
_NUM_EVALUATED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a short trial of a task says.

    Attributes:
        step_seconds: Median wall time of one optimizer step of one learner with one thread.
        evaluate_seconds_per_example: Of the validation split, in batches, with one thread.
        metrics: Of a few examples of the validation split, after the steps that were timed.
        uses_keras: The model is one of Keras, and not of torch.
    """

    step_seconds: float
    evaluate_seconds_per_example: float
    num_parameters: int
    num_train_examples: int
    num_validation_examples: int
    metrics: Mapping[str, float]
    uses_keras: bool = False


def probe(task: Task, config: TrainConfig, *, init_path: Path | None = None, trains: bool = True) -> Probe:
    """Measure a task on this machine; about a second after its data is loaded.

    Args:
        task: What is asked for.
        config: How it is trained.
        init_path: The safetensors file that `config.init_from` names; whoever calls finds it.
        trains: Whether steps are timed; without them `step_seconds` is that of three evaluations.

    Raises:
        EmptyDatasetError, TooFewExamplesError: not enough data; without training only validation is needed.
        TaskFailedError, LossShapeError, NonFiniteLossError: by the task's doing.
        NoSuchDeviceError, AdapterError, UnsupportedByKerasError: what is asked for cannot be here.
        InitialWeightsError: nothing in `init_path` fits the model.
    """
    train = load_dataset(task, "train", seed=0)
    validation = load_dataset(task, "validation", seed=0)
    if trains:
        check_data_suffices(
            num_examples=len(train), num_learners=config.learners, batch_size=config.batch_size
        )
    if len(validation) == 0:
        raise EmptyDatasetError("validation")
    with seeded(0, "probe"), one_thread():
        replica = make_replica(task, config, seed=0, init_path=init_path)
        step_seconds = _time_steps(replica, _first_batch(replica, train, config), config) if trains else 0.0
        shown = [validation[index] for index in range(min(len(validation), _NUM_EVALUATED))]
        metrics = replica.evaluate(shown)
        evaluate_seconds = _median_seconds(
            lambda: replica.evaluate(shown), _EVALUATE_SECONDS, _MAX_EVALUATIONS
        )
    if not trains:
        # Forward and backward pass of a batch take about as long as three forward passes.
        step_seconds = 3 * evaluate_seconds / len(shown) * config.batch_size
    return Probe(
        step_seconds=step_seconds,
        evaluate_seconds_per_example=evaluate_seconds / len(shown),
        num_parameters=replica.num_parameters,
        num_train_examples=len(train),
        num_validation_examples=len(validation),
        metrics=metrics,
        uses_keras=not isinstance(replica, TorchReplica),
    )


def _first_batch(replica: Replica, dataset: Sequence[Any], config: TrainConfig) -> Any:
    try:
        examples = [dataset[index] for index in range(config.batch_size)]
    except Exception as error:
        raise TaskFailedError(method="dataset('train')[index]", cause=error) from error
    return replica.batch(examples)


def _time_steps(replica: Replica, batch: Any, config: TrainConfig) -> float:
    def step() -> None:
        replica.step(batch, learning_rate=config.learning_rate, where="the first batch")

    return _median_seconds(step, _STEP_SECONDS, _MAX_STEPS)


def _median_seconds(function: Callable[[], object], budget_seconds: float, max_calls: int) -> float:
    """Median time of a call; the first is not counted, because it also allocates and compiles."""
    begun = time.perf_counter()
    function()
    durations: list[float] = []
    while not durations or (len(durations) < max_calls and time.perf_counter() - begun < budget_seconds):
        started = time.perf_counter()
        function()
        durations.append(time.perf_counter() - started)
    return sorted(durations)[len(durations) // 2]
