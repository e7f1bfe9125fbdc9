"""Store the model that a pipeline left: as an ONNX file, as packed weights, or in the form of a last step.

    a dense model              ONNX, which runs without torch and without the task's code
    a model with zeros         a packed file, in which a zero takes one bit
    no ONNX form               a packed file, if the task's model still fits it
    quantize, share, half      what the step says

Every form is computed from a copy of the model, and is proven before it counts: exports against the model,
packed files against the values in it.

Not covered: models above 2 GiB in ONNX.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ayni.compress.deploy.export import OPSET, CannotExportError, export_onnx
from ayni.compress.deploy.onnx_quantize import quantize_mixed, quantize_onnx, quantize_smoothed
from ayni.compress.deploy.onnx_weight_only import WeightOnly, quantize_weights_onnx
from ayni.compress.deploy.openvino_variants import OpenVinoForm, convert_openvino, openvino_files
from ayni.compress.deploy.torch_variants import computes_bfloat16, computes_float16, to_half
from ayni.compress.draft import Draft, Workshop, pattern_of, second_order
from ayni.compress.open_form import HALF_NOTE, HALF_TYPES, KEPT_NOTE, PACKED_SUFFIX, RUNTIME_NOTE
from ayni.compress.packed.file import write_packed
from ayni.compress.packed.weight import PackedWeight
from ayni.compress.records import Stored
from ayni.compress.retrain.recover import recover
from ayni.compress.retrain.short_training import ShortTraining
from ayni.compress.steps import HalfStep, PruneStep, QuantizeStep, ShareStep, Step
from ayni.compress.variants import RuntimeName
from ayni.compress.weights.already_quantized import find_low_bit_layers
from ayni.compress.weights.grids import Grid
from ayni.compress.weights.layers import matrix_layers, weight_OI
from ayni.compress.weights.qat import finish_qat, start_qat
from ayni.compress.weights.second_order import prune_and_round
from ayni.compress.weights.sensitivity import allocate, measure_sensitivity, output_error
from ayni.compress.weights.sharing import share_weights
from ayni.compress.weights.weight_only import (
    quantize_embeddings,
    quantize_weights,
    quantized_layers,
    round_rest,
)
from ayni.errors import UserError

SENSITIVITY_BATCHES = 2
"""Each layer is tried with each grid: a few batches tell which layers are touchy."""


class CannotStoreError(UserError):
    """The model has no file that could be opened again."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"This model cannot be stored as the pipeline asks: {reason}.")


def store_model(draft: Draft, stem: Path, shop: Workshop) -> Stored:
    """Store the model as it is.

    Args:
        draft: is not changed.
        stem: the path without its ending.
        shop: gives the inputs on which an export is proven.

    Raises:
        CannotExportError: no ONNX form, and the model's shape was changed, so that weights alone do not do.
        CannotStoreError: the same for a model with zeros.
    """
    if draft.is_masked and not draft.is_reshaped:
        return _packed(draft.copied(), {}, stem, note="zeros stored as bits")
    file = stem.with_name(f"{stem.name}.onnx")
    try:
        exporter = export_onnx(draft.model, shop.shown, file)
    except CannotExportError as error:
        if draft.is_reshaped:
            raise
        return _packed(draft.copied(), {}, stem, note=f"no ONNX form: {error.reasons[0]}")
    return Stored(file=file, runtime="onnxruntime", note=f"exported by {exporter}, opset {OPSET}")


def store_by_step(draft: Draft, step: Step, stem: Path, shop: Workshop, *, onnx: Path | None) -> Stored:
    """Store the model in the form of a last step.

    Args:
        draft: is not changed.
        step: quantize, share or half.
        stem: the path without its ending.
        shop: gives calibration data and inputs.
        onnx: an ONNX file of this very model, where there is one; else it is made when needed.

    Raises:
        CannotStoreError: packed weights of a model whose shape was changed.
        AyniError: what the step raises.
    """
    if isinstance(step, QuantizeStep) and step.torch_runtime in ("onnxruntime", "openvino"):
        source = onnx or _exported(draft, stem, shop)
        try:
            by_runtime = _by_openvino if step.torch_runtime == "openvino" else _by_onnxruntime
            return by_runtime(step, source, stem, shop)
        finally:
            if onnx is None:
                source.unlink(missing_ok=True)
    check_packable(draft, step)
    if isinstance(step, QuantizeStep):
        return _by_packing(draft, step, stem, shop)
    if isinstance(step, ShareStep):
        return _by_sharing(draft, step, stem)
    assert isinstance(step, HalfStep)
    return _in_half(draft, step, stem, shop)


def check_packable(draft: Draft, step: Step) -> None:
    """Refuse packed weights of a model that the task does not build.

    Raises:
        CannotStoreError: its shape was changed.
    """
    if draft.is_reshaped:
        name = {QuantizeStep: "quantize with `runtime: torch` or `packed`", ShareStep: "share"}.get(
            type(step), "half"
        )
        raise CannotStoreError(
            f"{name} keeps weights for the model that the task builds, and a step before it changed that "
            "model's shape. Use `quantize` with `runtime: onnxruntime`, or leave the change of shape out"
        )


def _exported(draft: Draft, stem: Path, shop: Workshop) -> Path:
    file = stem.with_name(f".{stem.name}-source.onnx")
    export_onnx(draft.model, shop.shown, file)
    return file


def _by_onnxruntime(step: QuantizeStep, source: Path, stem: Path, shop: Workshop) -> Stored:
    file = stem.with_name(f"{stem.name}.onnx")
    if step.bits == 4 or step.mode == "weights":
        settings = WeightOnly(
            bits=4 if step.bits == 4 else 8,
            group_size=step.group_size,
            embedding_bits=8 if step.embedding_bits == 8 else 32,
        )
        done = quantize_weights_onnx(source, file, settings)
        note = f"weights of {sum(done.num_layers.values())} layers in {step.bits} bits"
    elif step.mode == "smoothed":
        smoothed = quantize_smoothed(source, file, shop.calibrated("quantize with the mode smoothed"))
        note = f"dynamic quantization, {len(smoothed)} activations smoothed"
    elif step.mode == "mixed":
        mixed = quantize_mixed(source, file, shop.calibrated("quantize with the mode mixed"))
        note = f"dynamic quantization, {len(mixed.in_blocks)} of {mixed.num_products} products in blocks"
    else:
        mode = quantize_onnx(source, file, step, calibration=shop.calibrated("quantize"))
        note = f"{mode} quantization"
    return Stored(file=file, runtime="onnxruntime", note=note)


def _by_openvino(step: QuantizeStep, source: Path, stem: Path, shop: Workshop) -> Stored:
    file = stem.with_name(f"{stem.name}.xml")
    is_transformer = any("attention" in name.lower() for name, _ in shop.teacher.named_modules())
    if step.bits == 4:
        form = OpenVinoForm(form="weights4", group_size=step.group_size)
    elif step.mode in ("weights", "dynamic"):
        form = OpenVinoForm(form="weights8")
    else:
        is_symmetric = step.mode != "asymmetric"
        form = OpenVinoForm(form="int8", is_transformer=is_transformer, symmetric=is_symmetric)
    calibration = shop.calibrated("quantize with OpenVINO") if form.form == "int8" else ()
    convert_openvino(source, file, form, calibration=calibration)
    graph, weights = openvino_files(file)
    return Stored(file=graph, runtime="openvino", note=f"OpenVINO {form.form}", companions=(weights,))


def _by_packing(draft: Draft, step: QuantizeStep, stem: Path, shop: Workshop) -> Stored:
    model = draft.copied()
    weights, note = _rounded(model, draft, step, shop)
    round_rest(model, tuple(weights))
    assert step.torch_runtime in ("torch", "packed")
    return _packed(model, weights, stem, note=note, runtime=step.torch_runtime)


def _rounded(
    model: nn.Module, draft: Draft, step: QuantizeStep, shop: Workshop
) -> tuple[dict[str, PackedWeight], str]:
    """Round the weights of `model` in place; codes by name of parameter, and how."""
    grid = grid_of(step, model)
    embeddings = None if step.embedding_bits == 32 else _embedding_grid(step)
    if step.average_bits is not None:
        grids = _grids_by_sensitivity(model, step, shop)
        found = quantize_weights(model, grid, grids=grids, embeddings=embeddings)
        return dict(found.weights), f"{found.bits_per_weight:.2f} bits a weight, chosen by sensitivity"
    if step.epochs:
        weights = _train_rounded(model, step, grid, shop)
        note = f"{step.bits} bits, {step.epochs} epochs with rounded weights"
    elif step.method == "gptq":
        pattern = _pattern_of(draft)
        if draft.is_masked and pattern is None:
            raise CannotStoreError(
                "GPTQ does not keep zeros that a threshold or a gradual schedule chose. Use `method: nearest`"
            )
        inputs = shop.calibrated("quantize with the method gptq")
        fitted = prune_and_round(model, inputs, pattern, grid, config=second_order(model))
        weights = dict(quantized_layers(model, grid, fitted.parameters))
        note = f"{step.bits} bits by GPTQ"
    else:
        nearest = quantize_weights(model, grid, embeddings=embeddings)
        return dict(nearest.weights), f"{step.bits} bits to nearest"
    if embeddings is not None:
        weights |= quantize_embeddings(model, embeddings).weights
    return weights, note


def grid_of(step: QuantizeStep, model: nn.Module) -> Grid:
    """The grid that a step rounds to.

    Kernels multiply 8 bits by symmetric channels. Weights that lie on a grid with a float minimum already
    (GGUF's Q4_1) are found again exactly by one of the same form.
    """
    if step.bits == 8:
        return Grid(bits=8, scheme="symmetric")
    was_quantized = step.bits == 4 and find_low_bit_layers(model).warning is not None
    return Grid(
        bits=step.bits,
        scheme="minimum" if was_quantized else "affine",
        granularity="group",
        group_size=step.group_size,
    )


def _embedding_grid(step: QuantizeStep) -> Grid:
    return Grid(bits=8, scheme="symmetric" if step.torch_runtime == "packed" else "affine")


def _pattern_of(draft: Draft) -> Any:
    """The pattern by which zeros were chosen last; None where there is none."""
    chosen = [step for step in draft.steps if isinstance(step, PruneStep) and step.makes_masks]
    return pattern_of(chosen[-1]) if chosen and chosen[-1].threshold is None else None


def _grids_by_sensitivity(model: nn.Module, step: QuantizeStep, shop: Workshop) -> Mapping[str, Grid]:
    assert step.average_bits is not None
    inputs = shop.calibrated("quantize.average_bits")[:SENSITIVITY_BATCHES]
    choices = measure_sensitivity(model, output_error(model, inputs), on_layer=shop.on_step)
    num_weights = sum(weight_OI(layer).numel() for layer in matrix_layers(model).values())
    return allocate(choices, budget_bytes=int(step.average_bits * num_weights / 8)).grids


def _train_rounded(
    model: nn.Module, step: QuantizeStep, grid: Grid, shop: Workshop
) -> dict[str, PackedWeight]:
    start_qat(model, grid)
    recover(
        shop.task,
        model,
        plan=ShortTraining(epochs=step.epochs, learning_rate=1e-3),
        seed=shop.seed,
        device=shop.device,
        on_step=shop.on_step,
    )
    return dict(finish_qat(model))


def _by_sharing(draft: Draft, step: ShareStep, stem: Path) -> Stored:
    model = draft.copied()
    shared = share_weights(model, num_values=step.values)
    weights: dict[str, PackedWeight] = dict(shared.weights)
    round_rest(model, tuple(weights))
    return _packed(model, weights, stem, note=f"{step.values} values a layer")


def _in_half(draft: Draft, step: HalfStep, stem: Path, shop: Workshop) -> Stored:
    model = draft.copied()
    done = to_half(model, shop.shown, dtype=HALF_TYPES[step.dtype])
    is_native = computes_bfloat16() if done.dtype == torch.bfloat16 else computes_float16()
    return _packed(
        model,
        {},
        stem,
        note=step.dtype if is_native else f"{step.dtype}, which this processor does not compute itself",
        notes={HALF_NOTE: step.dtype, KEPT_NOTE: list(done.kept_buffers)},
    )


def _packed(
    model: nn.Module,
    weights: Mapping[str, PackedWeight],
    stem: Path,
    *,
    note: str,
    runtime: RuntimeName = "torch",
    notes: Mapping[str, Any] | None = None,
) -> Stored:
    file = stem.with_name(f"{stem.name}{PACKED_SUFFIX}")
    if runtime == "packed":
        # Rotary frequencies and the like stay in 32 bits when the model is opened in 16.
        notes = {RUNTIME_NOTE: runtime, KEPT_NOTE: _temporary_buffers(model)}
    write_packed(file, model, weights, notes=notes)
    return Stored(file=file, runtime=runtime, note=note)


def _temporary_buffers(model: nn.Module) -> list[str]:
    persistent = set(model.state_dict())
    return sorted(
        name
        for name, buffer in model.named_buffers()
        if name not in persistent and buffer.is_floating_point()
    )
