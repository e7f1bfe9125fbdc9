"""Runtimes that look alike: a torch module, and an ONNX file run by ONNX Runtime.

A runtime is what a task's `evaluate` gets as its model. It is called as the model is called, with one
tensor, several, or by name, and answers in the model's form. Both run on one thread unless told
otherwise, because that is what a row of the table promises. `openvino_variants` has a third.

Not covered: inputs that are not tensors; graphs whose weights lie outside the file.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch

from ayni.compress.deploy.outputs import OUTPUT_FORM_KEY, rebuilt, stated_form, with_float32
from ayni.errors import AyniError, MissingExtraError

TORCH_TYPES: Mapping[str, torch.dtype] = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
    "tensor(int64)": torch.int64,
    "tensor(int32)": torch.int32,
    "tensor(int8)": torch.int8,
    "tensor(uint8)": torch.uint8,
    "tensor(bool)": torch.bool,
}


class Runtime(Protocol):
    """A model ready for inference."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The model's output for a batch of inputs."""
        ...


class RuntimeFailedError(AyniError):
    """ONNX Runtime or OpenVINO could not load or run a file."""

    def __init__(self, *, file: Path, reason: str, engine: str = "ONNX Runtime") -> None:
        self.file = file
        super().__init__(
            f"{engine} cannot use {file.name}: {reason}. "
            "Remove the file to have it made again, or report the model as unsupported."
        )


class TorchRuntime:
    """A torch module in evaluation mode, without gradients.

    With a `compute_dtype` (bfloat16), floating inputs are converted to it and 16-bit answers to 32 bits, so
    that a task which feeds and reads 32 bits does not notice.
    """

    def __init__(self, model: torch.nn.Module, *, compute_dtype: torch.dtype | None = None) -> None:
        self._model = model.eval()
        self._compute_dtype = compute_dtype

    @torch.inference_mode()
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Output of the module."""
        if self._compute_dtype is None:
            return self._model(*args, **kwargs)
        named = {name: self._converted(value) for name, value in kwargs.items()}
        return with_float32(self._model(*map(self._converted, args), **named))

    def _converted(self, value: Any) -> Any:
        is_floating = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.to(self._compute_dtype) if is_floating else value

    def __getattr__(self, name: str) -> Any:
        # A task may ask its own model for more than a call (`model.block_size`).
        return getattr(self._model, name)

    def eval(self) -> Self:
        """Already in evaluation mode: a task that says so anyway is served."""
        return self


class OnnxRuntime:
    """An ONNX file in an ONNX Runtime session on the CPU.

    Spinning is off: idle threads that spin would be billed as energy of the neighbour.

    examples_at_once: a call with more examples is computed in parts of so many, whose activations stay in the
        processor's cache; None computes all at once. MiniLM in 8 bits took 9 % less time for 8 x 128 tokens
        in parts of 4, torch took more. Ranges of dynamic quantization are then those of a part.
    """

    training = False

    def __init__(self, file: Path, *, num_threads: int = 1, examples_at_once: int | None = None) -> None:
        if examples_at_once is not None and examples_at_once < 1:
            raise ValueError(f"examples_at_once is at least 1, not {examples_at_once}")
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # Its errors come as exceptions; do not print them as well.
        self._file = file
        try:
            self._session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions have no common root but this one.
            raise RuntimeFailedError(file=file, reason=str(error)) from error
        self._input_types = {node.name: TORCH_TYPES.get(node.type) for node in self._session.get_inputs()}
        self._output_names = tuple(node.name for node in self._session.get_outputs())
        metadata = self._session.get_modelmeta().custom_metadata_map
        self._form = stated_form(metadata.get(OUTPUT_FORM_KEY, ""), len(self._output_names))
        self._examples_at_once = examples_at_once
        self._batched_inputs = tuple(
            node.name for node in self._session.get_inputs() if _has_dynamic_first_axis(node)
        )
        fixed = [node.name for node in self._session.get_outputs() if not _has_dynamic_first_axis(node)]
        if examples_at_once is not None and (fixed or not self._batched_inputs):
            what = f"its output {fixed[0]}" if fixed else "it"
            reason = f"{what} has no axis of examples, so a batch cannot be computed in parts"
            raise RuntimeFailedError(file=file, reason=reason)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of positional arguments."""
        return tuple(self._input_types)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return self._output_names

    @property
    def session(self) -> Any:
        """The onnxruntime.InferenceSession, for callers that keep tensors inside it (decode)."""
        return self._session

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Output of the graph. Tensors share memory with the session's arrays.

        Values are converted to the type that the graph declares if both are floating or both are not.

        Raises:
            RuntimeFailedError: other inputs than the graph has, or ONNX Runtime refused them.
        """
        feeds = {
            name: _as_array(value, self._input_types[name])
            for name, value in bound_inputs(self._file, self.input_names, args, kwargs).items()
        }
        try:
            parts = [self._session.run(None, part) for part in self._parts(feeds)]
        except Exception as error:
            raise RuntimeFailedError(file=self._file, reason=str(error)) from error
        outputs = (
            parts[0] if len(parts) == 1 else [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
        )
        tensors = {
            name: torch.from_numpy(output) for name, output in zip(self._output_names, outputs, strict=True)
        }
        return rebuilt(self._form, tensors)

    def _parts(self, feeds: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The feeds of each run: all examples, or examples_at_once of them."""
        sizes = {len(feeds[name]) for name in self._batched_inputs}
        at_once = self._examples_at_once
        if at_once is None or len(sizes) != 1 or max(sizes) <= at_once:
            return [dict(feeds)]
        return [
            {
                name: value[start : start + at_once] if name in self._batched_inputs else value
                for name, value in feeds.items()
            }
            for start in range(0, max(sizes), at_once)
        ]

    def eval(self) -> Self:
        """A graph has no training mode."""
        return self

    def train(self, mode: bool = True) -> Self:
        """A graph has no training mode; a task that leaves evaluation mode again is served."""
        del mode
        return self

    def parameters(self) -> Iterator[torch.Tensor]:
        """None: the weights are inside the session."""
        return iter(())


def bound_inputs(
    file: Path, names: tuple[str, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """Which tensor goes to which input of a graph: positional ones in order, the others by name.

    What is no tensor (`return_dict=True`, None) was settled when the graph was made, and is passed over.

    Raises:
        RuntimeFailedError: an input is missing, unknown, or given twice.
    """
    tensors = [value for value in args if isinstance(value, torch.Tensor)]
    given = dict(zip(names, tensors, strict=False))
    named = {name: value for name, value in kwargs.items() if isinstance(value, torch.Tensor)}
    if len(tensors) > len(names) or set(given) & set(named) or set(given) | set(named) != set(names):
        got = ", ".join([*["a tensor by its place"] * len(tensors), *named]) or "nothing"
        raise RuntimeFailedError(
            file=file, reason=f"it takes the tensors {', '.join(names)} and was given {got}"
        )
    return given | named


def _has_dynamic_first_axis(node: Any) -> bool:
    # A fixed axis is a number; a dynamic one has a name, or None when nobody gave it one.
    return bool(node.shape) and not isinstance(node.shape[0], int)


def _as_array(value: torch.Tensor, dtype: torch.dtype | None) -> Any:
    tensor = value.detach().cpu()
    # bfloat16 has no numpy array at all. A model that takes integers must not be fed rounded floats.
    if dtype is not None and tensor.dtype != dtype and tensor.is_floating_point() == dtype.is_floating_point:
        tensor = tensor.to(dtype)
    return tensor.numpy()


def import_onnxruntime() -> Any:
    """The onnxruntime package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(extra="compress", package="onnxruntime") from error
    return onnxruntime


@contextlib.contextmanager
def torch_threads(num_threads: int) -> Iterator[None]:
    """Torch computes on so many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
