"""Eight-bit integers by ONNX Runtime: a new file in which weights are int8.

    s = max|w| / 127 per output channel, q = clamp(round(w / s), -127, 127), w' = s q

Weights are symmetric per output channel, activations affine per tensor. Static quantization fixes the
ranges of activations from calibration data and writes QuantizeLinear/DequantizeLinear pairs; dynamic
quantization measures ranges in every call. Embedding tables get a scale for each row.

One range for a whole activation is what costs quality. `quantize_smoothed` moves outliers into the weights
first (`onnx_smoothing`), which takes the same bytes and hardly any time. `quantize_mixed` measures what the
range costs at each multiplication (`activation_noise`) and gives the worst ones blocks of 64 values with
scales of their own (`onnx_weight_only`), which take the same bytes and more time.

Not covered: fewer than 8 bits (`onnx_weight_only`), training with quantization in the loop, float16. On
x86 processors without VNNI (before 2019) the products of 8-bit numbers saturate: give `reduce_range`.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", CVPR 2018, arXiv:1712.05877. It writes q = round(w/s) + z with unsigned weights; ONNX Runtime's
weights are signed with z = 0.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ayni.compress.deploy.activation_noise import activation_noise, onnx_feeds, sensitive_nodes
from ayni.compress.deploy.export import as_model_inputs
from ayni.compress.deploy.onnx_file import Constants, import_onnx
from ayni.compress.deploy.onnx_smoothing import MAX_LOSS, SmoothedActivation, smooth_onnx
from ayni.compress.deploy.onnx_sums import separate_sums
from ayni.compress.deploy.onnx_weight_only import (
    NothingToQuantizeError,
    WeightOnly,
    quantize_embeddings,
    quantize_weights_onnx,
)
from ayni.compress.deploy.runtimes import import_onnxruntime
from ayni.compress.inputs import ModelInputs
from ayni.compress.quiet import without_advice
from ayni.compress.steps import QuantizeStep
from ayni.errors import AyniError, MissingExtraError
from ayni.files import DiskFullError, NotWritableError, explain_os_errors

Batch = torch.Tensor | ModelInputs
MAX_NOISE = 1e-2
"""MiniLM: no blocks give a mean cosine of 0.993. Of its 37 products 2 are above 1e-2 and in blocks give
0.994, 4 above 4e-3 give 0.996, 20 above 1e-3 give 0.999. Each costs time: 4 of them a third more."""
MIXED_GROUP_SIZE = 64


class QuantizationFailedError(AyniError):
    """ONNX Runtime's quantizer could not handle the graph."""

    def __init__(self, *, file: Path, mode: str, reason: str) -> None:
        self.mode = mode
        other = "dynamic" if mode == "static" else "static"
        super().__init__(
            f"{file.name} could not be quantized ({mode}): {reason}. "
            f"Try {{quantize: {{bits: 8, mode: {other}}}}}, or remove quantize from compress.steps."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedResult:
    """Which multiplications got ranges of their own, the worst first, and how many there are."""

    in_blocks: tuple[str, ...]
    num_products: int
    worst_noise: float


def quantize_onnx(
    source: Path,
    target: Path,
    step: QuantizeStep,
    *,
    calibration: Sequence[Batch],
    reduce_range: bool = False,
) -> Literal["static", "dynamic"]:
    """Write the int8 form of `source` to `target`; it is there whole or not at all.

    Args:
        source: a float ONNX file.
        target: an existing file is replaced.
        step: `mode: auto` asks suitable_mode.
        calibration: input batches of the training split, for static ranges.
        reduce_range: 7 bits for weights, for processors whose 8-bit products saturate.

    Returns:
        The mode that was used.

    Raises:
        QuantizationFailedError: the quantizer failed.
    """
    import_onnxruntime()
    mode: Literal["static", "dynamic"] = (
        step.mode if step.mode in ("static", "dynamic") else suitable_mode(source)
    )
    with _prepared(source, target, mode) as (prepared, temporary):
        if mode == "static":
            _quantize_static(prepared, temporary, calibration, reduce_range=reduce_range)
        else:
            _quantize_dynamic(prepared, temporary, reduce_range=reduce_range)
    return mode


def quantize_mixed(
    source: Path,
    target: Path,
    inputs: Sequence[Batch],
    *,
    max_noise: float = MAX_NOISE,
    reduce_range: bool = False,
) -> MixedResult:
    """Write an int8 form in which activations with outliers have ranges in blocks.

    Args:
        source: a float ONNX file.
        target: an existing file is replaced; it is there whole or not at all.
        inputs: a few batches of the training split, for measuring the noise.
        max_noise: above this share of the signal's power a multiplication gets blocks. 0 gives blocks to
            all of them, infinity is plain dynamic quantization.
        reduce_range: as in quantize_onnx.

    Raises:
        QuantizationFailedError: the quantizer failed.
        ValueError: no inputs.
    """
    if not inputs:
        raise ValueError("quantize_mixed measures activations: give at least one batch")
    import_onnxruntime()
    with _prepared(source, target, "dynamic") as (prepared, temporary):
        noises = activation_noise(prepared, [as_model_inputs(batch) for batch in inputs])
        in_blocks = sensitive_nodes(noises, max_noise=max_noise)
        _quantize_dynamic(prepared, temporary, left_out=in_blocks, reduce_range=reduce_range)
        if in_blocks:
            settings = WeightOnly(bits=8, group_size=MIXED_GROUP_SIZE, embedding_bits=32)
            with contextlib.suppress(NothingToQuantizeError):
                quantize_weights_onnx(temporary, temporary, settings)
    return MixedResult(
        in_blocks=in_blocks,
        num_products=len(noises),
        worst_noise=max((noise.per_tensor for noise in noises.values()), default=0.0),
    )


def quantize_smoothed(
    source: Path,
    target: Path,
    inputs: Sequence[Batch],
    *,
    max_loss: float = MAX_LOSS,
    reduce_range: bool = False,
) -> tuple[SmoothedActivation, ...]:
    """Write a dynamic int8 form in which outliers of activations have moved into the weights.

    Args:
        source: a float ONNX file.
        target: an existing file is replaced; it is there whole or not at all.
        inputs: a few batches of the training split, for measuring activations.
        max_loss: above this foreseen loss an activation is smoothed, see `smooth_onnx`.
        reduce_range: as in quantize_onnx.

    Raises:
        QuantizationFailedError: the quantizer failed.
        ValueError: no inputs.
    """
    if not inputs:
        raise ValueError("quantize_smoothed measures activations: give at least one batch")
    import_onnxruntime()
    with _prepared(source, target, "dynamic") as (prepared, temporary):
        smoothed = smooth_onnx(prepared, prepared, inputs, max_loss=max_loss)
        _quantize_dynamic(prepared, temporary, reduce_range=reduce_range)
    return smoothed


def suitable_mode(file: Path) -> Literal["static", "dynamic"]:
    """Static for graphs with convolutions and without attention, dynamic for others.

    ONNX Runtime has no fast dynamic convolution: the digits example takes 173 microseconds with it and 44
    with static ranges. But static ranges cost attention far more accuracy: the language model example,
    which has one convolution, loses 0.14 bits per character with them and 0.0004 with dynamic ones.
    """
    graph = import_onnx().load(str(file), load_external_data=False).graph
    has_convolution = any(node.op_type in ("Conv", "ConvTranspose") for node in graph.node)
    return "static" if has_convolution and not _has_attention(graph) else "dynamic"


def _has_attention(graph: Any) -> bool:
    """Whether two results of the input are multiplied with each other, as queries and keys are."""
    computed = {value.name for value in graph.input}
    for node in graph.node:  # ONNX keeps nodes in the order of computation.
        if node.op_type == "Attention" or (node.op_type == "MatMul" and computed.issuperset(node.input)):
            return True
        if not computed.isdisjoint(node.input):
            computed.update(node.output)
    return False


@contextlib.contextmanager
def _prepared(source: Path, target: Path, mode: str) -> Iterator[tuple[Path, Path]]:
    """A graph that is ready for the quantizer and a path for its result, which becomes `target`."""
    temporary = target.with_name(f".{target.name}.tmp")
    prepared = target.with_name(f".{target.name}.prepared")
    try:
        # The quantizer advises preprocessing, which was done, and warns of constant ranges.
        with explain_os_errors(target), without_advice():
            _prepare(source, prepared)
            yield prepared, temporary
            onnx = import_onnx()
            model = onnx.load(str(temporary))
            if separate_sums(model.graph):
                onnx.save(model, str(temporary))
        temporary.replace(target)
    except (DiskFullError, NotWritableError, MissingExtraError):
        raise
    except Exception as error:  # The quantizer raises whatever its passes met.
        raise QuantizationFailedError(file=source, mode=mode, reason=str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)
        prepared.unlink(missing_ok=True)


def _prepare(source: Path, prepared: Path) -> None:
    """Fold batch norm into convolutions: integers between the two would cost accuracy and time."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    onnx = import_onnx()
    model = onnx.load(str(prepared))
    # Stale shape annotations make the quantizer fail on Gemm with transposed weights.
    del model.graph.value_info[:]
    _turn_weights(model.graph)
    for number, node in enumerate(model.graph.node):
        # Nodes are left out and found again by their names.
        node.name = node.name or f"{node.op_type}_{number}"
    onnx.save(model, str(prepared))


def _turn_weights(graph: Any) -> None:
    """Store the weights of each Gemm the way it multiplies them.

    The quantizer does so in place, once for each Gemm: weights that two of them share would be turned back.
    """
    constants = Constants(graph)
    for node in graph.node:
        turned = [item for item in node.attribute if item.name == "transB" and item.i == 1]
        if node.op_type == "Gemm" and turned and node.input[1] in constants:
            values = constants.read(node.input[1]).T
            node.input[1] = constants.add(f"{node.input[1]}_turned", values)
            node.attribute.remove(turned[0])
    constants.drop_unused()


def _quantize_static(
    prepared: Path, target: Path, calibration: Sequence[Batch], *, reduce_range: bool
) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    quantize_static(
        str(prepared),
        str(target),
        _reader(prepared, calibration),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=reduce_range,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def _quantize_dynamic(
    prepared: Path, target: Path, *, left_out: Sequence[str] = (), reduce_range: bool
) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    onnx = import_onnx()
    model = onnx.load(str(prepared))
    lookups = quantize_embeddings(model.graph)
    if lookups:
        onnx.save(model, str(prepared))
    quantize_dynamic(
        str(prepared),
        str(target),
        per_channel=True,
        reduce_range=reduce_range,
        weight_type=QuantType.QInt8,
        # The quantizer makes a MatMul of each Gemm first, under a new name.
        nodes_to_exclude=[*lookups, *left_out, *(f"{name}_MatMul" for name in left_out)],
    )


def _reader(file: Path, calibration: Sequence[Batch]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    ort = import_onnxruntime()
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    feeds = [onnx_feeds(session, as_model_inputs(batch)) for batch in calibration]

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds = iter(feeds)

        def get_next(self) -> Any:
            return next(self._feeds, None)

    return Reader()
