"""Open the files of a variant as something that can be called, whatever runs it.

    model.safetensors          torch, weights as trained
    *.packed.safetensors       torch; with the runtime "packed" layers compute with the packed weights
    *.onnx                     ONNX Runtime
    *.xml and *.bin            OpenVINO

Not covered: files of Keras models, *.tflite and *.keras.safetensors, which `runtime_of` knows and
`ayni.compress.keras` opens.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ayni.compress.deploy.openvino_variants import OpenVinoRuntime
from ayni.compress.deploy.runtimes import OnnxRuntime, Runtime, TorchRuntime
from ayni.compress.deploy.torch_variants import convert_floats, half_runtime
from ayni.compress.keras.keras_quantize import KERAS_SUFFIX
from ayni.compress.packed.file import describe_packed, load_packed, packed_weights
from ayni.compress.packed.kernels import use_packed_kernels
from ayni.compress.variants import RuntimeName

PACKED_SUFFIX = ".packed.safetensors"
RUNTIME_NOTE = "runtime"
HALF_NOTE = "half"
KEPT_NOTE = "kept_buffers"
HALF_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def runtime_of(file: Path) -> RuntimeName:
    """What runs a published file, by its ending and, of packed weights, by what it says of itself.

    Raises:
        PackedFileError: packed weights that are damaged.
        ValueError: no ending of a variant.
    """
    if file.name.endswith(PACKED_SUFFIX):
        return "packed" if describe_packed(file)[0].notes.get(RUNTIME_NOTE) == "packed" else "torch"
    if file.name.endswith(KERAS_SUFFIX):
        return "keras"
    endings: dict[str, RuntimeName] = {".onnx": "onnxruntime", ".xml": "openvino", ".tflite": "litert"}
    if file.suffix not in endings:
        raise ValueError(
            f"{file.name} is no variant: {', '.join(endings)}, {PACKED_SUFFIX} and {KERAS_SUFFIX} are"
        )
    return endings[file.suffix]


def open_form(
    file: Path,
    runtime: RuntimeName,
    build_model: Callable[[], nn.Module],
    *,
    num_threads: int = 1,
    expected_sha256: str | None = None,
) -> Runtime:
    """A variant, ready for inference on the CPU.

    Args:
        file: the first of its files.
        runtime: what runs it.
        build_model: the task's model; asked only where the file holds nothing but weights.
        num_threads: of runtimes with threads of their own; those of torch are torch's.
        expected_sha256: of a packed file, where it is known from elsewhere.

    Raises:
        PackedFileError, PackedModelMismatchError, RuntimeFailedError: the file is damaged, or fits no model.
        MissingExtraError: the runtime is not installed.
    """
    if runtime == "onnxruntime":
        return OnnxRuntime(file, num_threads=num_threads)
    if runtime == "openvino":
        return OpenVinoRuntime(file, num_threads=num_threads)
    if runtime not in ("torch", "packed") or not file.name.endswith(PACKED_SUFFIX):
        raise ValueError(f"{file.name} with the runtime {runtime} is no variant of a torch model")
    return _open_packed(file, build_model().eval(), expected_sha256, has_kernels=runtime == "packed")


def _open_packed(file: Path, model: nn.Module, expected_sha256: str | None, *, has_kernels: bool) -> Runtime:
    notes = describe_packed(file)[0].notes
    half = HALF_TYPES.get(str(notes.get(HALF_NOTE)))
    kept = [str(name) for name in notes.get(KEPT_NOTE, [])]
    if half is not None and not has_kernels:
        convert_floats(model, half, kept_buffers=kept)
    load_packed(file, model, expected_sha256=expected_sha256)
    if has_kernels:
        convert_floats(model, torch.bfloat16, kept_buffers=kept)
        use_packed_kernels(model, packed_weights(file))
        return TorchRuntime(model, compute_dtype=torch.bfloat16)
    return TorchRuntime(model) if half is None else half_runtime(model)
