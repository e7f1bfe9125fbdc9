"""Eight-bit integers by ONNX Runtime: a new file in which weights are int8.

    s = max|w| / 127 per output channel, q = clamp(round(w / s), -127, 127), w' = s q

Weights are symmetric per output channel, activations affine per tensor. Static quantization fixes the
ranges of activations from calibration data and writes QuantizeLinear/DequantizeLinear pairs; dynamic
quantization measures ranges in every call.

Not covered: fewer than 8 bits, training with quantization in the loop, float16.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", CVPR 2018, arXiv:1712.05877. It writes q = round(w/s) + z with unsigned weights; ONNX Runtime's
weights are signed with z = 0.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from ayni.compress.config import QuantizeStep
from ayni.compress.runtimes import import_onnxruntime
from ayni.errors import AyniError, MissingExtraError
from ayni.files import DiskFullError, NotWritableError, explain_os_errors


class QuantizationFailedError(AyniError):
    """ONNX Runtime's quantizer could not handle the graph."""

    def __init__(self, *, file: Path, mode: str, reason: str) -> None:
        self.mode = mode
        other = "dynamic" if mode == "static" else "static"
        super().__init__(
            f"{file.name} could not be quantized ({mode}): {reason}. "
            f"Try {{quantize: {{bits: 8, mode: {other}}}}}, or remove quantize from compress.steps."
        )


def quantize_onnx(
    source: Path, target: Path, step: QuantizeStep, *, calibration: Sequence[torch.Tensor]
) -> Literal["static", "dynamic"]:
    """Write the int8 form of `source` to `target`; it is there whole or not at all.

    Args:
        source: a float ONNX file.
        target: an existing file is replaced.
        step: `mode: auto` asks suitable_mode.
        calibration: input batches of the training split, for static ranges.

    Returns:
        The mode that was used.

    Raises:
        QuantizationFailedError: the quantizer failed.
    """
    import_onnxruntime()
    mode = step.mode if step.mode != "auto" else suitable_mode(source)
    temporary = target.with_name(f".{target.name}.tmp")
    prepared = target.with_name(f".{target.name}.prepared")
    try:
        with explain_os_errors(target), _quiet():
            _prepare(source, prepared)
            if mode == "static":
                _quantize_static(prepared, temporary, calibration)
            else:
                _quantize_dynamic(prepared, temporary)
        temporary.replace(target)
    except (DiskFullError, NotWritableError, MissingExtraError):
        raise
    except Exception as error:  # The quantizer raises whatever its passes met.
        raise QuantizationFailedError(file=source, mode=mode, reason=str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)
        prepared.unlink(missing_ok=True)
    return mode


def suitable_mode(file: Path) -> Literal["static", "dynamic"]:
    """Static for graphs with convolutions and without attention, dynamic for others.

    ONNX Runtime has no fast dynamic convolution: the digits example takes 173 microseconds with it and 44
    with static ranges. But static ranges cost attention far more accuracy: the language model example,
    which has one convolution, loses 0.14 bits per character with them and 0.0004 with dynamic ones.
    """
    graph = _import_onnx().load(str(file), load_external_data=False).graph
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


def _prepare(source: Path, prepared: Path) -> None:
    """Fold batch norm into convolutions: integers between the two would cost accuracy and time."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    onnx = _import_onnx()
    model = onnx.load(str(prepared))
    # Stale shape annotations make the quantizer fail on Gemm with transposed weights.
    del model.graph.value_info[:]
    onnx.save(model, str(prepared))


def _quantize_static(prepared: Path, target: Path, calibration: Sequence[torch.Tensor]) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    quantize_static(
        str(prepared),
        str(target),
        _reader(prepared, calibration),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def _quantize_dynamic(prepared: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(prepared), str(target), per_channel=True, weight_type=QuantType.QInt8)


def _reader(file: Path, calibration: Sequence[torch.Tensor]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    name = _import_onnx().load(str(file)).graph.input[0].name

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds = iter([{name: batch.numpy()} for batch in calibration])

        def get_next(self) -> Any:
            return next(self._feeds, None)

    return Reader()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No advice on the root logger about preprocessing that was done, no warnings about constant ranges."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _import_onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError(extra="compress", package="onnx") from error
    return onnx
