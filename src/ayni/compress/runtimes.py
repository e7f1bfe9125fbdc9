"""Two runtimes that look alike: a torch module, and an ONNX file run by ONNX Runtime.

A runtime is what a task's `evaluate` gets as its model: a callable from tensor to tensor. Both run on
one thread, because that is what a row of the table promises.

Not covered: models with several inputs; outputs other than one tensor.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, Self

import torch

from ayni.errors import AyniError, MissingExtraError


class Runtime(Protocol):
    """A model ready for inference."""

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """The model's output for a batch of inputs."""
        ...


class RuntimeFailedError(AyniError):
    """ONNX Runtime could not load or run a file."""

    def __init__(self, *, file: Path, reason: str) -> None:
        self.file = file
        super().__init__(
            f"ONNX Runtime cannot use {file.name}: {reason}. "
            "Remove the file to have it made again, or report the model as unsupported."
        )


class TorchRuntime:
    """A torch module in evaluation mode, without gradients."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model.eval()

    @torch.inference_mode()
    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Output of the module."""
        output: torch.Tensor = self._model(inputs)
        return output

    def __getattr__(self, name: str) -> Any:
        # A task may ask its own model for more than a call (`model.block_size`).
        return getattr(self._model, name)

    def eval(self) -> Self:
        """Already in evaluation mode: a task that says so anyway is served."""
        return self


class OnnxRuntime:
    """An ONNX file in an ONNX Runtime session on the CPU.

    Spinning is off: idle threads that spin would be billed as energy of the neighbour.
    """

    training = False

    def __init__(self, file: Path, *, num_threads: int = 1) -> None:
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
        self._input_name: str = self._session.get_inputs()[0].name

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Output of the graph. Tensors share memory with the session's arrays."""
        try:
            outputs = self._session.run(None, {self._input_name: inputs.detach().cpu().numpy()})
        except Exception as error:
            raise RuntimeFailedError(file=self._file, reason=str(error)) from error
        return torch.from_numpy(outputs[0])

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
