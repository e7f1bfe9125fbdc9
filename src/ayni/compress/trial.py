"""Try the steps of a job on an untrained model, before anybody trains one.

Whether a model can be pruned, exported, distilled and quantized is a matter of its form and not of its
weights, so that the refusals that compression would bring after the training come before it.

Not covered: how good the variants are; graphs that take another path with other weights.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from ayni.compress.artefacts import NUM_CHECK_EXAMPLES
from ayni.compress.calibration import model_inputs
from ayni.compress.config import CompressConfig, DistillStep, PruneStep, Step
from ayni.compress.deploy.export import export_onnx
from ayni.compress.deploy.onnx_quantize import quantize_onnx
from ayni.compress.deploy.runtimes import OnnxRuntime, torch_threads
from ayni.compress.inputs import ModelInputs
from ayni.compress.retrain.distill import check_distillable
from ayni.compress.structure.channels import prune_channels
from ayni.task import Task, TaskFailedError
from ayni.train.learner import build_model

NUM_CALIBRATION_EXAMPLES = 8


def try_steps(task: Task, config: CompressConfig, *, seed: int, folder: Path) -> None:
    """Do every step once, on a model without training and a handful of examples.

    Of distillation only one batch is looked at. Cost: what the exports take, about a second for a small
    network, and the import of the libraries, which compression needs anyway.

    Args:
        task: gives the model and the examples.
        config: the steps.
        seed: of the model's weights.
        folder: receives files that nobody needs afterwards.

    Raises:
        TaskFailedError: the task raised, or its example input does not fit its model.
        UserError: a step is impossible for this model; the message names the step to leave out.
    """
    with torch_threads(1):
        teacher, student = (build_model(task, seed=seed).eval() for _ in range(2))
        checks = model_inputs(
            task, teacher, split="validation", num_examples=NUM_CHECK_EXAMPLES, batch_size=3
        )
        file = folder / "full.onnx"
        export_onnx(student, checks, file)
        for number, entry in enumerate(config.steps):
            source, file = file, folder / f"{number}.onnx"
            _try_step(task, entry.step, student, teacher, checks=checks, source=source, target=file)


def _try_step(
    task: Task,
    step: Step,
    student: nn.Module,
    teacher: nn.Module,
    *,
    checks: Sequence[ModelInputs],
    source: Path,
    target: Path,
) -> None:
    if isinstance(step, PruneStep):
        prune_channels(student, _example_input(task, student), channels=step.channels)
        export_onnx(student, checks, target)
    elif isinstance(step, DistillStep):
        check_distillable(task, student=student, teacher=teacher, step=step)
        # Distilling changes no shape: the file of the model as it is serves the next step.
        export_onnx(student, checks, target)
    else:
        calibration = model_inputs(task, teacher, split="train", num_examples=NUM_CALIBRATION_EXAMPLES)
        quantize_onnx(source, target, step, calibration=calibration)
        checks[0].run(OnnxRuntime(target))


def _example_input(task: Task, model: nn.Module) -> torch.Tensor:
    try:
        example = task.example_input()
        with torch.no_grad():
            model.eval()(example)
    except Exception as error:
        raise TaskFailedError(method="example_input (or the model on it)", cause=error) from error
    return example
