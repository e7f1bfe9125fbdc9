"""Export a torch module to an ONNX file and prove that the file computes the same.

The tracing exporter comes first: on a small network it takes 0.05 s where the exporter built on
torch.export takes 1 to 3 s. What tracing gets wrong (a branch or a batch size frozen into the graph)
the comparison with the source model finds; then the other exporter is tried. The note of the variant
says which one it was.

Not covered: dynamic axes other than the batch; models above 2 GiB, the limit of one protobuf file.
"""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from ayni.compress.runtimes import OnnxRuntime, RuntimeFailedError
from ayni.errors import MissingExtraError, UserError
from ayni.files import explain_os_errors

EXPORTERS = ("tracing", "torch.export")
OPSET = 18  # The newest that the tracing exporter and every ONNX Runtime since 1.14 know.
RELATIVE_TOLERANCE = 1e-3
_PRINT_GRAPH = "_jit_onnx_log"


class CannotExportError(UserError):
    """The model has no ONNX form that computes the same."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__(
            f"This model cannot be exported to ONNX: {'; '.join(reasons)}. "
            "Avoid branches on tensor values in forward, or leave `compress` out of the job."
        )


def export_onnx(model: torch.nn.Module, inputs: Sequence[torch.Tensor], file: Path) -> str:
    """Write `file` with a dynamic batch axis; it is there whole and checked, or not at all.

    Args:
        model: on the CPU; is put into evaluation mode.
        inputs: real input batches; the comparison runs on the first example and on each batch.
        file: an existing file is replaced.

    Returns:
        Which exporter made it, one of EXPORTERS.

    Raises:
        CannotExportError: both exporters failed, or computed something else.
    """
    model.eval()
    temporary = file.with_name(f".{file.name}.tmp")
    reasons: list[str] = []
    for exporter in EXPORTERS:
        try:
            with explain_os_errors(file):
                _export(model, inputs[0], temporary, exporter)
            worst = largest_difference(model, OnnxRuntime(temporary), inputs)
        except ImportError as error:
            raise MissingExtraError(extra="compress", package="onnx") from error
        except (RuntimeFailedError, torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError) as error:
            reasons.append(f"{exporter}: {_first_line(error)}")
            continue
        if worst <= RELATIVE_TOLERANCE:
            temporary.replace(file)
            return exporter
        reasons.append(f"{exporter}: the file's output differs by {worst:.2g} of its scale")
    temporary.unlink(missing_ok=True)
    raise CannotExportError(reasons)


def largest_difference(model: torch.nn.Module, runtime: OnnxRuntime, inputs: Sequence[torch.Tensor]) -> float:
    """Largest difference between two forms of a model, over the scale of the output (at least 1).

    max |y - y'| / max(1, max |y|), over one example alone and over each batch
    """
    worst = 0.0
    for batch in (inputs[0][:1], *inputs):
        with torch.no_grad():
            expected = model(batch)
        actual = runtime(batch)
        if actual.shape != expected.shape:
            return float("inf")
        scale = max(1.0, float(expected.abs().max()))
        worst = max(worst, float((actual - expected).abs().max()) / scale)
    return worst


def _export(model: torch.nn.Module, batch: torch.Tensor, file: Path, exporter: str) -> None:
    # Two examples: torch.export takes a batch of 1 for a constant.
    pair = torch.cat([batch, batch])[:2]
    with _silence():
        if exporter == "tracing":
            torch.onnx.export(
                model,
                (pair,),
                str(file),
                dynamo=False,
                input_names=["input"],
                output_names=["output"],
                dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
                opset_version=OPSET,
            )
        else:
            torch.onnx.export(
                model,
                (pair,),
                str(file),
                dynamo=True,
                input_names=["input"],
                output_names=["output"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporters' progress lines and deprecation notices from the user's terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    # When it fails, the tracing exporter prints its graph from C++, past sys.stdout, and in torch 2.13 it
    # turns its own switch for that on again. So the function goes away for a moment.
    print_graph = getattr(torch._C, _PRINT_GRAPH, None)
    setattr(torch._C, _PRINT_GRAPH, lambda *_arguments: None)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stderr(nowhere),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
            setattr(torch._C, _PRINT_GRAPH, print_graph)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
