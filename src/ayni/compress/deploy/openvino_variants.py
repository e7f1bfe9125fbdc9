"""OpenVINO: the fastest int8 on many processors, as an optional extra.

An ONNX file becomes a pair of files, `model.xml` (the graph) and `model.bin` (the weights), in one of these
forms:

    float      as it is
    int8       weights per channel, activations per tensor with ranges from calibration data; SmoothQuant
               moves outliers of activations into the weights first (NNCF, post-training)
    weights8   weights only, per channel; activations are rounded to 8 bits in each call where that is faster
    weights4   the same in groups with 4 bits; embeddings and the last layer in 8

MiniLM, 8 x 128 tokens, one thread, against torch: int8 5.45 times, weights8 3.7 times (measured on a
processor with AVX512-VNNI). On one with AMX: int8 4.2 times, and 5.2 times with the shapes fixed and bfloat16
for what is no integer; float in bfloat16 4.3 times.

Cost of int8: as many runs of the graph as there are calibration batches, 20 s for MiniLM.

Source: Xiao et al., "SmoothQuant", ICML 2023, section 4, arXiv:2211.10438. NNCF's documentation,
docs/usage/post_training_compression.

Not covered: accuracy control (NNCF reverts layers one by one, 123 evaluations for 6 layers), GPUs and NPUs,
models whose inputs or outputs are no tensors.
"""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch

from ayni.compress.deploy.export import as_model_inputs
from ayni.compress.deploy.onnx_file import describe_onnx
from ayni.compress.deploy.outputs import OUTPUT_FORM_KEY, OutputForm, rebuilt, stated_form
from ayni.compress.deploy.runtimes import RuntimeFailedError, bound_inputs
from ayni.compress.inputs import ModelInputs
from ayni.compress.quiet import without_advice
from ayni.errors import AyniError, MissingExtraError
from ayni.files import DiskFullError, NotWritableError, explain_os_errors

EXTRA = "openvino"
_FORM_PATH = ["ayni", "output_form"]
Batch = torch.Tensor | ModelInputs
Form = Literal["float", "int8", "weights8", "weights4"]
Precision = Literal["f32", "bf16"]


class OpenVinoFailedError(AyniError):
    """OpenVINO or NNCF could not convert or quantize a graph."""

    def __init__(self, *, file: Path, form: str, reason: str) -> None:
        self.form = form
        super().__init__(
            f"{file.name} could not be made into the OpenVINO form {form!r}: {reason}. "
            "Try another form, or use ONNX Runtime."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVinoForm:
    """Which form, and how.

    form: see the head of this module.
    is_transformer: tells the quantizer to smooth activations and to leave attention's own products alone.
    symmetric: ranges of activations lie around zero, so that products need no correction for a zero point
        (where no value is negative, they begin at zero). False spends a few more of the 256 codes on real
        values: for MiniLM a mean cosine of 0.9978 instead of 0.9975, and 8 to 13 % more time.
    smooth_alpha: how much of an outlier moves into the weights, 0 to 1; None leaves it to NNCF, below 0
        switches it off.
    group_size: of weights4.
    num_batches: at most so many calibration batches.
    """

    form: Form = "int8"
    is_transformer: bool = True
    symmetric: bool = True
    smooth_alpha: float | None = None
    group_size: int = 32
    num_batches: int = 300

    def __post_init__(self) -> None:
        if self.form not in ("float", "int8", "weights8", "weights4"):
            raise ValueError(f"form is float, int8, weights8 or weights4, not {self.form!r}")
        if self.num_batches < 1 or self.group_size < 1:
            raise ValueError(
                f"num_batches {self.num_batches} and group_size {self.group_size} must be above 0"
            )


class OpenVinoRuntime:
    """A pair of OpenVINO files on the CPU, called as the model is called.

    precision: of what is not integers. "f32" computes as the file says; "bf16" is faster where the processor
        has it (see `has_bf16`) and is what OpenVINO would choose by itself there.
    shapes: of the inputs by name, for calls of one size only: OpenVINO then plans each buffer beforehand,
        which took a tenth off the time of MiniLM. Other calls are refused.
    """

    training = False

    def __init__(
        self,
        file: Path,
        *,
        num_threads: int = 1,
        precision: Precision = "f32",
        shapes: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        openvino = _import("openvino")
        config = {
            "INFERENCE_NUM_THREADS": num_threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
            # A pinned thread waits for its core when a neighbour is on it.
            "ENABLE_CPU_PINNING": False,
        }
        self._file = file
        try:
            core = openvino.Core()
            model = core.read_model(str(file))
            if shapes is not None:
                model.reshape({name: list(shape) for name, shape in shapes.items()})
            self._compiled = core.compile_model(model, "CPU", config)
        except Exception as error:  # OpenVINO raises RuntimeError for everything.
            raise RuntimeFailedError(file=file, reason=_first_line(error), engine="OpenVINO") from error
        self._form = _form_of(model)
        self._input_names = tuple(_name(port) for port in self._compiled.inputs)
        self._output_names = tuple(_name(port) for port in self._compiled.outputs)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of positional arguments."""
        return self._input_names

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Output of the graph.

        Raises:
            RuntimeFailedError: other inputs than the graph has, or OpenVINO refused them.
        """
        named = bound_inputs(self._file, self._input_names, args, kwargs)
        feeds = {name: value.detach().cpu().contiguous().numpy() for name, value in named.items()}
        try:
            results = self._compiled(feeds)
            # Copied: the arrays belong to the request and change with the next call.
            tensors = {
                name: torch.from_numpy(results[index].copy()) for index, name in enumerate(self._output_names)
            }
        except Exception as error:
            raise RuntimeFailedError(file=self._file, reason=_first_line(error), engine="OpenVINO") from error
        return rebuilt(self._form, tensors)

    def eval(self) -> Self:
        """A graph has no training mode."""
        return self

    def train(self, mode: bool = True) -> Self:
        """A graph has no training mode; a task that leaves evaluation mode again is served."""
        del mode
        return self

    def parameters(self) -> Iterator[torch.Tensor]:
        """None: the weights are inside the compiled graph."""
        return iter(())


def has_bf16() -> bool:
    """Whether OpenVINO computes in bfloat16 on this processor, rather than in its place in float32.

    Raises:
        MissingExtraError: openvino is not installed.
    """
    abilities: list[str] = _import("openvino").Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in abilities


def openvino_files(file: Path) -> tuple[Path, Path]:
    """Both files of a model of which one is named: the graph and its weights."""
    return file.with_suffix(".xml"), file.with_suffix(".bin")


def convert_openvino(
    source: Path, target: Path, settings: OpenVinoForm, *, calibration: Sequence[Batch] = ()
) -> int:
    """Write the OpenVINO form of an ONNX file to `target` (.xml) and beside it (.bin).

    The graph is put in place last: where it is, its weights are.

    Args:
        source: a float ONNX file.
        target: ends in .xml; existing files are replaced.
        settings: which form.
        calibration: input batches of the training split; only "int8" needs them.

    Returns:
        Bytes of both files.

    Raises:
        MissingExtraError: openvino or nncf is not installed.
        OpenVinoFailedError: the graph could not be converted or quantized.
        ValueError: int8 without calibration, or a target that does not end in .xml.
    """
    if target.suffix != ".xml":
        raise ValueError(f"an OpenVINO graph is a .xml file, not {target.name}")
    if settings.form == "int8" and not calibration:
        raise ValueError("int8 needs calibration batches: the ranges of activations are taken from them")
    openvino = _import("openvino")
    description = describe_onnx(source)
    temporary = target.with_name(f".tmp-{target.name}")
    try:
        with _quiet(), explain_os_errors(target):
            model = openvino.Core().read_model(str(source))
            model = _quantized(openvino, model, settings, calibration)
            stated = description.metadata.get(OUTPUT_FORM_KEY, "")
            model.set_rt_info(stated_form(stated, len(description.outputs)), _FORM_PATH)
            openvino.save_model(model, str(temporary), compress_to_fp16=settings.form != "float")
            for made, wanted in zip(
                reversed(openvino_files(temporary)), reversed(openvino_files(target)), strict=True
            ):
                made.replace(wanted)
    except (MissingExtraError, DiskFullError, NotWritableError):
        raise
    except Exception as error:  # NNCF's passes raise whatever they met.
        raise OpenVinoFailedError(file=source, form=settings.form, reason=_first_line(error)) from error
    finally:
        for leftover in openvino_files(temporary):
            leftover.unlink(missing_ok=True)
    return sum(file.stat().st_size for file in openvino_files(target))


def _quantized(openvino: Any, model: Any, settings: OpenVinoForm, calibration: Sequence[Batch]) -> Any:
    if settings.form == "float":
        return model
    nncf = _import("nncf")
    modes = nncf.CompressWeightsMode
    if settings.form == "weights8":
        return nncf.compress_weights(model, mode=modes.INT8_ASYM)
    if settings.form == "weights4":
        return nncf.compress_weights(model, mode=modes.INT4_ASYM, group_size=settings.group_size, ratio=1.0)
    names = [_name(port) for port in model.inputs]
    feeds = [as_model_inputs(batch).arrays_for(names) for batch in calibration[: settings.num_batches]]
    presets = nncf.QuantizationPreset
    return nncf.quantize(
        model,
        nncf.Dataset(feeds),
        subset_size=len(feeds),
        preset=presets.PERFORMANCE if settings.symmetric else presets.MIXED,
        model_type=nncf.ModelType.TRANSFORMER if settings.is_transformer else None,
        advanced_parameters=_advanced(nncf, settings),
    )


def _advanced(nncf: Any, settings: OpenVinoForm) -> Any:
    if settings.smooth_alpha is None:
        return None
    alphas = nncf.AdvancedSmoothQuantParameters(matmul=settings.smooth_alpha)
    return nncf.AdvancedQuantizationParameters(smooth_quant_alphas=alphas)


def _name(port: Any) -> str:
    name: str = port.get_any_name()
    return name


def _form_of(model: Any) -> OutputForm:
    stated = str(model.get_rt_info(_FORM_PATH).value) if model.has_rt_info(_FORM_PATH) else ""
    return stated_form(stated, len(model.outputs))


def check_openvino() -> None:
    """Whether what quantization with OpenVINO needs is here.

    Raises:
        MissingExtraError: it is not installed.
    """
    for package in ("openvino", "nncf"):
        _import(package)


def _import(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(extra=EXTRA, package=package) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """NNCF draws progress bars and logs what it does; neither belongs into a table."""
    with (
        without_advice(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        yield


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
