"""Begin with a model that is trained already: it takes the place of the training.

Its weights are copied into the run, so that the run stands by itself. Every name and shape must be the
model's own: a layer that kept random weights would be measured as if it were trained.

Not covered: models of Keras.
"""

import shutil
from pathlib import Path

from ayni.compress.artefacts import load_full_model
from ayni.compress.deploy.runtimes import TorchRuntime
from ayni.compress.evidence.evaluate import evaluate_split
from ayni.compress.structure.channels import count_parameters
from ayni.errors import UserError
from ayni.files import explain_os_errors, make_folder
from ayni.jobs.runs import Run
from ayni.keras_weights import is_keras
from ayni.train.learner import build_model
from ayni.train.local import one_thread
from ayni.train.result import TrainResult
from ayni.train.training import MODEL_FILE
from ayni.workflows.house import House
from ayni.workflows.initial_weights import find_model

# What the result of a training says of its strategy when there was no training.
NO_STRATEGY = "none"


class CannotAdoptError(UserError):
    """The job begins with a model of a kind that can only be trained here."""

    def __init__(self) -> None:
        super().__init__(
            "The job begins with a trained model (`model:`), and its task builds one of Keras, which can "
            "only be trained here. Remove `model` from the job, or build the model with torch."
        )


def adopt_model(run: Run, house: House) -> TrainResult:
    """The model that the job names, as the result of a training without rounds.

    Raises:
        CannotAdoptError: the task's model is one of Keras.
        ModelFileError: the weights are not those of the task's model.
        UserError: there are no weights, see `find_model`.
    """
    spec, task = run.job.spec, run.job.task.load()
    path = find_model(run.job, house.hub)
    model = build_model(task, seed=spec.seed)
    if is_keras(model):
        raise CannotAdoptError
    if path is not None:
        model = load_full_model(task, path)
    target = run.folder / "train" / MODEL_FILE
    make_folder(target.parent)
    with one_thread():
        metrics = evaluate_split(task, TorchRuntime(model), "validation", is_reference=True)
    _keep(model, path, target)
    return TrainResult(
        model_path=str(target),
        strategy=NO_STRATEGY,
        num_learners=0,
        rounds=0,
        samples=0,
        wall_seconds=0.0,
        compute_seconds=0.0,
        bytes_sent=0,
        metrics=metrics,
        num_parameters=count_parameters(model),
        num_lost_updates=0,
        num_optimizer_resets=0,
        curve=[],
    )


def text_of(result: TrainResult) -> str:
    """The result in a few words."""
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in result.metrics.items())
    return f"begins with a trained model: {metrics} on validation"


def _keep(model: object, path: Path | None, target: Path) -> None:
    """The weights in the run's own folder, whole or not at all."""
    from safetensors.torch import save_model

    temporary = target.with_name(f".{target.name}.tmp")
    with explain_os_errors(target):
        if path is None:
            save_model(model, str(temporary))  # type: ignore[arg-type]
        else:
            shutil.copyfile(path, temporary)
        temporary.replace(target)
