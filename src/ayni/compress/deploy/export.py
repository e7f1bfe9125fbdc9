"""Export a torch module to an ONNX file and prove that the file computes the same.

The tracing exporter comes first: on a small network it takes 0.05 s where the exporter built on
torch.export takes 1 to 3 s. What tracing gets wrong (a branch or a batch size frozen into the graph)
the comparison with the source model finds; then the other exporter is tried. The note of the variant
says which one it was.

Inputs keep the names by which the model is called, outputs those of the model's answer; a plain tensor is
called `input` and `output`. The first axis is dynamic everywhere. The second axis of integer inputs given by
name (`input_ids`, `attention_mask`) is dynamic too if the model takes a shorter sequence.

Not covered: models above 2 GiB, the limit of one protobuf file; answers whose form depends on values.
"""

import contextlib
import io
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ayni.compress.deploy.onnx_file import (
    UnreadableOnnxError,
    read_onnx,
    set_metadata,
    share_tied_tables,
    write_onnx,
    written_whole,
)
from ayni.compress.deploy.outputs import (
    OUTPUT_FORM_KEY,
    NoTensorOutputError,
    OutputForm,
    named_tensors,
    output_form,
)
from ayni.compress.deploy.runtimes import OnnxRuntime, Runtime, RuntimeFailedError
from ayni.compress.inputs import ModelInputs
from ayni.errors import MissingExtraError, UserError

EXPORTERS = ("tracing", "torch.export")
OPSET = 18  # The newest that the tracing exporter and every ONNX Runtime since 1.14 know.
RELATIVE_TOLERANCE = 1e-3
EXPORTER_KEY = "ayni.exporter"
_PRINT_GRAPH = "_jit_onnx_log"
_REFUSALS = (RuntimeFailedError, UnreadableOnnxError, NoTensorOutputError)

Batch = torch.Tensor | ModelInputs
Axes = dict[str, dict[int, str]]


class CannotExportError(UserError):
    """The model has no ONNX form that computes the same."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__(
            f"This model cannot be exported to ONNX: {'; '.join(reasons)}. "
            "Avoid branches on tensor values in forward, or leave `compress` out of the job."
        )


def export_onnx(
    model: nn.Module,
    inputs: Sequence[Batch],
    file: Path,
    *,
    opset: int = OPSET,
    dynamic_axes: Mapping[str, Mapping[int, str]] | None = None,
) -> str:
    """Write `file` with dynamic axes; it is there whole and checked, or not at all.

    Args:
        model: on the CPU; is put into evaluation mode.
        inputs: real input batches; the comparison runs on the first example, on each batch, and on the
            first batch with a shorter sequence where that axis is dynamic.
        file: an existing file is replaced.
        opset: of the standard operators, 9 to 23 with the second exporter, at most 20 with the first.
        dynamic_axes: of the inputs, by name; found out by default (see above).

    Returns:
        Which exporter made it, one of EXPORTERS.

    Raises:
        CannotExportError: both exporters failed, or computed something else.
        NoTensorOutputError: the model's answer holds no tensor.
    """
    model.eval()
    batches = [as_model_inputs(batch) for batch in inputs]
    try:
        call = _Call.of(model, batches[0], dynamic_axes)
    except NoTensorOutputError:
        raise
    except Exception as error:  # Whatever the model raises.
        raise CannotExportError([f"the model refuses two of its own inputs: {_first_line(error)}"]) from error
    checks = [*batches, *call.other_lengths(batches[0])]
    reasons: list[str] = []
    with written_whole(file) as temporary:
        for exporter in EXPORTERS:
            try:
                _export(model, call, temporary, exporter, opset)
                _complete(temporary, call.form, exporter)
                worst = largest_difference(model, OnnxRuntime(temporary), checks)
            except ImportError as error:
                raise MissingExtraError(extra="compress", package="onnx") from error
            except (*_REFUSALS, torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError) as error:
                reasons.append(f"{exporter}: {_first_line(error)}")
                continue
            if worst <= RELATIVE_TOLERANCE:
                return exporter
            reasons.append(f"{exporter}: the file's output differs by {worst:.2g} of its scale")
        raise CannotExportError(reasons)


def largest_difference(model: nn.Module, runtime: Runtime, inputs: Sequence[Batch]) -> float:
    """Largest difference between two forms of a model, over the scale of the output (at least 1).

    max |y - y'| / max(1, max |y|), over all outputs, over one example alone and over each batch; infinite
    if names, shapes, or the places of what is not finite differ.
    """
    batches = [as_model_inputs(batch) for batch in inputs]
    worst = 0.0
    for batch in (_first_example(batches[0]), *batches):
        with torch.no_grad():
            expected = named_tensors(batch.run(model))
        actual = named_tensors(batch.run(runtime))
        if list(actual) != list(expected):
            return float("inf")
        worst = max(worst, *(_difference(actual[name], expected[name]) for name in expected))
    return worst


def as_model_inputs(batch: Batch) -> ModelInputs:
    """A batch of one tensor in the form of all batches."""
    return batch if isinstance(batch, ModelInputs) else ModelInputs(args=(batch,))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """How the exporters call the model: on which sample, with which names and dynamic axes."""

    sample: ModelInputs
    input_axes: Axes
    output_axes: Axes
    form: OutputForm

    @classmethod
    def of(
        cls, model: nn.Module, batch: ModelInputs, dynamic_axes: Mapping[str, Mapping[int, str]] | None
    ) -> "_Call":
        """Find out what varies by calling the model on 2 examples and on 3 shorter ones."""
        wanted = _default_axes(batch) if dynamic_axes is None else _copied(dynamic_axes)
        # Two examples: torch.export takes a batch of 1 for a constant.
        sample = _resized(batch, wanted, num_examples=2)
        with torch.no_grad():
            output = sample.run(model)
            expected = named_tensors(output)
            try:
                other = named_tensors(_resized(batch, wanted, num_examples=3, shorter_by=1).run(model))
            except Exception:  # The model has one sequence length: say so by a fixed axis.
                if dynamic_axes is not None:
                    raise
                wanted = {name: {0: "batch"} for name in wanted}
                other = named_tensors(_resized(batch, wanted, num_examples=3).run(model))
        return cls(
            sample=sample,
            input_axes=wanted,
            output_axes={
                name: {
                    axis: "batch" if axis == 0 else f"{name}_{axis}"
                    for axis in range(tensor.ndim)
                    if name not in other
                    or other[name].ndim != tensor.ndim
                    or other[name].shape[axis] != tensor.shape[axis]
                }
                for name, tensor in expected.items()
            },
            form=output_form(output),
        )

    def other_lengths(self, batch: ModelInputs) -> list[ModelInputs]:
        """The first batch with about half its sequence, if that may vary."""
        sizes = [
            batch.tensors[name].shape[axis]
            for name, axes in self.input_axes.items()
            for axis in axes
            if axis > 0
        ]
        if not sizes or min(sizes) < 2:
            return []
        return [_resized(batch, self.input_axes, num_examples=2, shorter_by=min(sizes) // 2)]


class _Flat(nn.Module):
    """A model that is called with tensors in order and answers with a tuple, as exporters want it."""

    def __init__(self, model: nn.Module, sample: ModelInputs) -> None:
        super().__init__()
        self.model = model
        self._places = [index for index, value in enumerate(sample.args) if isinstance(value, torch.Tensor)]
        self._names = [name for name, value in sample.kwargs.items() if isinstance(value, torch.Tensor)]
        self._sample = sample

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        args = list(self._sample.args)
        for place, tensor in zip(self._places, tensors, strict=False):
            args[place] = tensor
        kwargs = {**self._sample.kwargs, **dict(zip(self._names, tensors[len(self._places) :], strict=True))}
        return tuple(named_tensors(self.model(*args, **kwargs)).values())


def _export(model: nn.Module, call: _Call, file: Path, exporter: str, opset: int) -> None:
    names = list(call.sample.tensors)
    axes = [call.input_axes.get(name, {}) for name in names]
    is_plain = call.form == "tensor" and names == ["input"] and len(call.sample.args) == 1
    settings: dict[str, Any] = {
        "input_names": names,
        "output_names": list(call.output_axes),
        "opset_version": opset,
        "dynamo": exporter != "tracing",
    }
    if exporter == "tracing":
        settings["dynamic_axes"] = {**call.input_axes, **call.output_axes}
    else:
        auto = torch.export.Dim.AUTO if any(axis > 0 for named in axes for axis in named) else None
        shapes = tuple(
            {axis: auto or torch.export.Dim(label) for axis, label in named.items()} for named in axes
        )
        # A signature of *tensors takes the shapes of all of them as one argument.
        settings["dynamic_shapes"] = shapes if is_plain else (shapes,)
        settings |= {"external_data": False, "verbose": False}
    form = model if is_plain else _Flat(model, call.sample).eval()
    with silenced_export(), eager_attention(model):
        torch.onnx.export(form, tuple(call.sample.tensors.values()), str(file), **settings)


def _complete(file: Path, form: OutputForm, exporter: str) -> None:
    """Note in the file how the model answered, and store a head that is tied to its embedding once."""
    model = read_onnx(file)
    share_tied_tables(model.graph)
    set_metadata(model, {OUTPUT_FORM_KEY: form, EXPORTER_KEY: exporter})
    write_onnx(model, file)


def _default_axes(batch: ModelInputs) -> Axes:
    axes: Axes = {name: {0: "batch"} for name, tensor in batch.tensors.items() if tensor.ndim > 0}
    for name in axes:
        tensor = batch.tensors[name]
        if name in batch.kwargs and tensor.ndim == 2 and not tensor.is_floating_point():
            axes[name][1] = "sequence"
    return axes


def _copied(axes: Mapping[str, Mapping[int, str]]) -> Axes:
    return {name: dict(named) for name, named in axes.items()}


def _resized(batch: ModelInputs, axes: Axes, *, num_examples: int, shorter_by: int = 0) -> ModelInputs:
    """The batch with so many examples (repeated if need be), its dynamic sequences shortened."""

    def resized(name: str, value: Any) -> Any:
        named = axes.get(name, {})
        if not isinstance(value, torch.Tensor):
            return value
        if 0 in named:
            value = torch.cat([value] * num_examples)[:num_examples]
        for axis in named:
            if axis > 0 and value.shape[axis] > shorter_by:
                value = value.narrow(axis, 0, value.shape[axis] - shorter_by)
        return value.contiguous()

    places = ["input" if index == 0 else f"input_{index}" for index in range(len(batch.args))]
    return ModelInputs(
        args=tuple(resized(name, value) for name, value in zip(places, batch.args, strict=True)),
        kwargs={name: resized(name, value) for name, value in batch.kwargs.items()},
    )


def _first_example(batch: ModelInputs) -> ModelInputs:
    return _resized(batch, _default_axes(batch), num_examples=1)


def _difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    if actual.shape != expected.shape:
        return float("inf")
    if not actual.numel():
        return 0.0
    left, right = actual.double(), expected.double()
    is_finite = right.isfinite()
    # Masks are made of infinities, which are equal, and whose difference is not a number.
    if not torch.equal(left[~is_finite].nan_to_num(), right[~is_finite].nan_to_num()):
        return float("inf")
    if not is_finite.any():
        return 0.0
    scale = max(1.0, float(right[is_finite].abs().max()))
    worst = float((left[is_finite] - right[is_finite]).abs().max()) / scale
    return float("inf") if math.isnan(worst) else worst


@contextlib.contextmanager
def eager_attention(model: nn.Module) -> Iterator[None]:
    """A model of Transformers writes its attention out, as a product, a mask and a softmax, in the block.

    torch's fused attention is exported with IsNaN and Where around each softmax, for rows that see nothing;
    they took a fifth of the time of MiniLM in ONNX Runtime. Written out, such rows need no care.
    """
    before = getattr(getattr(model, "config", None), "_attn_implementation", None)
    change = getattr(model, "set_attn_implementation", None)
    if before != "sdpa" or change is None:
        yield
        return
    change("eager")
    try:
        yield
    finally:
        change(before)


@contextlib.contextmanager
def silenced_export() -> Iterator[None]:
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
