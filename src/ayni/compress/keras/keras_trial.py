"""Try the steps of a job on an untrained Keras model, before anybody trains one.

Whether LiteRT has kernels for a model, and Keras layers to quantize, is a matter of its form and not of its
weights. So the refusals that compression would bring after the training come before it.

Not covered: how good the variants are; a search, which leaves out what is impossible by itself.
"""

from pathlib import Path
from typing import Any

from ayni.compress.config import CompressConfig
from ayni.compress.keras.keras_forms import forms_of
from ayni.compress.keras.keras_inputs import keras_inputs
from ayni.compress.keras.keras_quantize import quantize_keras
from ayni.compress.keras.litert import LiteRtForm
from ayni.compress.keras.litert_conversion import CannotConvertError, convert_keras
from ayni.task import Task
from ayni.train.learner import build_model

NUM_EXAMPLES = 8


def try_keras_steps(task: Task, config: CompressConfig, *, seed: int, folder: Path) -> None:
    """Make every form once, from a model without training and a handful of examples.

    Cost: some ten CPU seconds if there is a form of LiteRT, most of them for starting its converter.

    Args:
        task: gives the model and the examples.
        config: the steps.
        seed: of the model's weights.
        folder: receives files that nobody needs afterwards.

    Raises:
        CannotCompressError: a step that models of Keras cannot have.
        TaskFailedError: the task raised.
        UserError: a form is impossible for this model.
    """
    if config.search is not None:
        return
    forms = forms_of([entry.step for entry in config.steps])
    targets: dict[LiteRtForm, Path] = {
        form.litert: folder / f"{form.name}.tflite" for form in forms if form.litert is not None
    }
    for mode in {form.mode for form in forms if form.mode is not None}:
        quantize_keras(_built(task, seed), mode)
    if not targets:
        return
    model = _built(task, seed)

    def inputs(split: str) -> list[Any]:
        return keras_inputs(task, model, split=split, num_examples=NUM_EXAMPLES)

    calibration = inputs("train") if "int8" in targets else ()
    done = convert_keras(
        model, task.example_input(), targets, calibration=calibration, shown=inputs("validation")
    )
    for form, reason in done.refused.items():
        raise CannotConvertError(f"as {form}: {reason}")


def _built(task: Task, seed: int) -> Any:
    """With weights, which many models of Keras have only when they have seen an input."""
    model = build_model(task, seed=seed)
    model(task.example_input(), training=False)
    return model
