"""How much an 8-bit range disturbs the inputs of each matrix multiplication of a graph.

    one range for the tensor    s = (max(x, 0) - min(x, 0)) / 255,   noise = s^2 / 12 / mean(x^2)
    one range for each row      the mean of s_r^2 / 12 over rows r, over the same mean(x^2)

s^2 / 12 is the variance of rounding to a step s. The noise is a share of the signal's power: 1e-4 means that
rounding changes a multiplication's result by about 1 %. One outlier among the columns stretches the range of
a whole tensor; that is why integer arithmetic with one range for the tensor, the only kind that ONNX
Runtime's fast kernels know, ruins some layers of transformers and leaves the others alone.

Cost: one run of the graph for each batch, with the inputs of all multiplications in memory at once.

Source: Widrow and Kollar, "Quantization Noise", 2008, chapter 1 (variance of uniform rounding). Outlier
columns: Dettmers et al., "LLM.int8()", NeurIPS 2022, section 3, arXiv:2208.07339.

Not covered: how errors add up over layers; weights, whose scales per channel disturb far less.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ayni.compress.deploy.onnx_file import Array, Constants, import_onnx, read_onnx
from ayni.compress.deploy.runtimes import RuntimeFailedError, import_onnxruntime
from ayni.compress.inputs import ModelInputs

LEVELS = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationNoise:
    """Rounding noise over signal power of one multiplication's input; 0 for an input of zeros."""

    per_tensor: float
    per_row: float


def rounding_noise(values_NK: Array) -> ActivationNoise:
    """The noise of 8-bit rounding of one activation; every axis but the last counts as rows.

    Raises:
        ValueError: no values.
    """
    if not values_NK.size:
        raise ValueError("an activation without values has no range")
    rows_NK = values_NK.reshape(-1, values_NK.shape[-1]).astype(np.float64)
    power = float(np.mean(rows_NK**2))
    if power == 0:
        return ActivationNoise(per_tensor=0.0, per_row=0.0)
    steps_N = _steps(rows_NK.min(axis=1), rows_NK.max(axis=1))
    step = float(_steps(rows_NK.min(), rows_NK.max()))
    return ActivationNoise(per_tensor=step**2 / 12 / power, per_row=float(np.mean(steps_N**2)) / 12 / power)


def activation_noise(file: Path, inputs: Sequence[ModelInputs]) -> dict[str, ActivationNoise]:
    """The noise at each multiplication with constant weights, by the name of its node.

    The largest over the batches, for the range is taken anew in every call.

    Raises:
        UnreadableOnnxError: not an ONNX file.
        RuntimeFailedError: the graph does not run on these inputs.
    """
    model = read_onnx(file)
    constants = Constants(model.graph)
    watched = {
        node.name: node.input[0]
        for node in model.graph.node
        if node.op_type in ("MatMul", "Gemm") and _has_weights(model, constants, node)
    }
    session = session_with_outputs(model, sorted(set(watched.values())), file)
    noises: dict[str, ActivationNoise] = {}
    for batch in inputs:
        tensors = inner_tensors(session, batch, sorted(set(watched.values())), file)
        found = {name: rounding_noise(values) for name, values in tensors.items()}
        for node, tensor in watched.items():
            noises[node] = _worse(noises.get(node), found[tensor])
    return noises


def sensitive_nodes(noises: Mapping[str, ActivationNoise], *, max_noise: float) -> tuple[str, ...]:
    """Nodes that one range for the tensor disturbs by more than max_noise, the worst first."""
    above = [name for name, noise in noises.items() if noise.per_tensor > max_noise]
    return tuple(sorted(above, key=lambda name: -noises[name].per_tensor))


def _steps(lowest: Any, highest: Any) -> Array:
    steps: Array = (np.maximum(highest, 0) - np.minimum(lowest, 0)) / LEVELS
    return steps


def _has_weights(model: Any, constants: Constants, node: Any) -> bool:
    if node.input[1] in constants:
        return True
    transposed = {
        output.output[0]: output.input[0] for output in model.graph.node if output.op_type == "Transpose"
    }
    return transposed.get(node.input[1], "") in constants


def session_with_outputs(model: Any, names: Sequence[str], file: Path) -> Any:
    """A session of a ModelProto that also answers with the inner tensors of these names.

    Raises:
        RuntimeFailedError: ONNX Runtime refuses the graph.
    """
    ort = import_onnxruntime()
    known = {value.name for value in model.graph.output}
    for name in names:
        if name not in known:
            # Without a type: ONNX Runtime infers it.
            model.graph.output.append(import_onnx().ValueInfoProto(name=name))
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise RuntimeFailedError(file=file, reason=str(error)) from error


def inner_tensors(session: Any, batch: ModelInputs, names: Sequence[str], file: Path) -> dict[str, Array]:
    """What a session of `session_with_outputs` computes for a batch, by name.

    Raises:
        RuntimeFailedError: the graph does not run on these inputs; `file` is named.
    """
    if not names:
        return {}  # ONNX Runtime answers with everything when nothing is asked for.
    feeds = onnx_feeds(session, batch)
    try:
        outputs = session.run(list(names), feeds)
    except Exception as error:
        raise RuntimeFailedError(file=file, reason=str(error)) from error
    return dict(zip(names, outputs, strict=True))


def onnx_feeds(session: Any, batch: ModelInputs) -> dict[str, Array]:
    """The arrays of a batch by the names of a session's inputs, positional ones in order."""
    return batch.arrays_for([node.name for node in session.get_inputs()])


def _worse(one: ActivationNoise | None, other: ActivationNoise) -> ActivationNoise:
    if one is None:
        return other
    return ActivationNoise(
        per_tensor=max(one.per_tensor, other.per_tensor), per_row=max(one.per_row, other.per_row)
    )
