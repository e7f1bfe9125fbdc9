"""Try the steps of a job on an untrained model, before anybody trains one.

Whether a model can be cut, exported, distilled and quantized is a matter of its form and not of its
weights, so that the refusals that compression would bring after the training come before it. What takes long
(training, choosing weights by data) is only looked at.

Not covered: how good the variants are; graphs that take another path with other weights; a search, which
leaves out what is impossible by itself.
"""

from pathlib import Path

import torch

from ayni.compress.config import CompressConfig
from ayni.compress.deploy.export import export_onnx
from ayni.compress.deploy.openvino_variants import check_openvino
from ayni.compress.deploy.runtimes import OnnxRuntime, torch_threads
from ayni.compress.draft import Draft, Workshop, check_prunable, has_values_to_find, mark, reshape
from ayni.compress.frameworks import check_torch_steps
from ayni.compress.retrain.distill import check_distillable
from ayni.compress.steps import STORING_STEPS, DistillStep, HalfStep, PruneStep, QuantizeStep, Step
from ayni.compress.stored_forms import check_packable, grid_of, store_by_step, store_model
from ayni.compress.weights.layers import require_layers
from ayni.compress.weights.weight_only import quantize_weights
from ayni.task import Task, TaskFailedError
from ayni.train.learner import build_model
from ayni.train.local import batches, compute_gradients, make_optimizer

NUM_CALIBRATION_EXAMPLES = 8


def try_steps(task: Task, config: CompressConfig, *, seed: int, folder: Path) -> None:
    """Do every step once, on a model without training and a handful of examples.

    Of steps that train only one batch is looked at. Cost: what the exports take, about a second for a small
    network, and the import of the libraries, which compression needs anyway.

    Args:
        task: gives the model and the examples.
        config: the steps.
        seed: of the model's weights.
        folder: receives files that nobody needs afterwards.

    Raises:
        TaskFailedError: the task raised.
        UserError: a step is impossible for this model; the message names the step to leave out.
    """
    if config.search is not None:
        return
    check_torch_steps([entry.step for entry in config.steps])
    with torch_threads(1):
        teacher, student = (build_model(task, seed=seed).eval() for _ in range(2))
        shop = Workshop(
            task=task,
            teacher=teacher,
            seed=seed,
            device=torch.device("cpu"),
            num_calibration=NUM_CALIBRATION_EXAMPLES,
        )
        draft = Draft(model=student)
        store_model(draft, folder / "full", shop)
        for number, entry in enumerate(config.steps):
            stem = folder / str(number)
            if isinstance(entry.step, STORING_STEPS):
                _try_storing(draft, entry.step, stem, shop)
                continue
            _try_change(draft, entry.step, shop)
            store_model(draft, stem, shop)


def _try_change(draft: Draft, step: Step, shop: Workshop) -> None:
    reshape(draft, step, shop)
    if isinstance(step, DistillStep):
        check_distillable(shop.task, student=draft.model, teacher=shop.teacher, step=step)
    elif isinstance(step, PruneStep) and step.makes_masks:
        check_prunable(draft.model, step)
    elif has_values_to_find(step):
        _try_training(draft, shop)
    mark(draft, step)


def _try_training(draft: Draft, shop: Workshop) -> None:
    """The gradients of one small batch, and no step."""
    examples = shop.task.dataset("train")
    indices = range(min(len(examples), NUM_CALIBRATION_EXAMPLES))
    if not indices:
        raise TaskFailedError(method="dataset('train')", cause=ValueError("it is empty, and recovery trains"))
    optimizer = make_optimizer(draft.model.train(), learning_rate=1e-3, weight_decay=0.01)
    try:
        with torch.random.fork_rng():
            batch = next(batches(examples, len(indices), indices=indices))
            compute_gradients(draft.model, optimizer, batch, shop.task.loss, where="a trial of recovery")
    finally:
        optimizer.zero_grad()
        draft.model.eval()


def _try_storing(draft: Draft, step: Step, stem: Path, shop: Workshop) -> None:
    runtime = step.torch_runtime if isinstance(step, QuantizeStep) else None
    if runtime == "openvino":
        check_openvino()
        export_onnx(draft.model, shop.shown, stem.with_suffix(".onnx"))
    elif isinstance(step, HalfStep) or (
        isinstance(step, QuantizeStep) and step.torch_runtime == "onnxruntime"
    ):
        stored = store_by_step(draft, step, stem, shop, onnx=None)
        if stored.runtime == "onnxruntime":
            shop.shown[0].run(OnnxRuntime(stored.file))
    else:
        check_packable(draft, step)
        model = draft.copied()
        require_layers(model, skip=(), step="quantize")
        if isinstance(step, QuantizeStep):
            quantize_weights(model, grid_of(step, model))
