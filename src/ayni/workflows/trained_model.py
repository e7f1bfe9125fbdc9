"""The model that a run trained, with its weights: a torch module on the CPU, or a Keras model."""

from typing import Any

from ayni.compress.artefacts import load_full_model
from ayni.jobs.runs import Run
from ayni.keras_weights import is_keras, load_weights
from ayni.task import Task
from ayni.train.learner import build_model
from ayni.train.result import TrainResult


def load_trained(run: Run, task: Task, trained: TrainResult) -> Any:
    """The full model of a run, in evaluation mode.

    Raises:
        TaskFailedError: build_model raised.
        ModelFileError, DamagedKerasFileError: the file is not that of the model which the task builds.
    """
    file = run.folder / trained.model_path
    model: Any = build_model(task, seed=run.job.spec.seed)
    if not is_keras(model):
        return load_full_model(task, file)
    load_weights(model, file, example=task.example_input())
    return model
