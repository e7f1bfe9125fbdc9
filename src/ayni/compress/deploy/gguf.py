"""Read GGUF files, the format of llama.cpp, as dense torch models; and say that they are quantized already.

A GGUF file holds weights in blocks of few bits (Q4_K, Q8_0, ...). Transformers widens them to float32 when
it loads one, and the model looks like any other. It is not: its weights lie on the grid of the blocks. Who
quantizes such a model to 4 bits again measures the agreement of two grids, not the quality of a method, and
the "original" is worse than the one that was trained. So the summary travels with the model, and its warning
belongs on the card.

    bits per weight = 8 * bytes of all tensors / weights

Read for every architecture that both the package `gguf` and the installed Transformers know. Nothing of a
file is executed: the format has no code, and chat templates are not run here.

Source: the format's description, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.

Not covered: writing GGUF files, running them in their blocks (llama.cpp does), tokenizers (AutoTokenizer
takes `gguf_file` too), files that are split into several.
"""

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayni.errors import AyniError, MissingExtraError, UserError

FLOAT_TYPES = ("F32", "F16", "BF16", "F64")
"""Types that hold values, not codes of a grid."""


class DamagedGgufError(AyniError):
    """A file that should be GGUF is something else, or cut off."""

    def __init__(self, file: Path, reason: str) -> None:
        self.file = file
        super().__init__(f"{file.name} cannot be read as a GGUF file: {reason}. Fetch or convert it again.")


class UnsupportedGgufError(UserError):
    """The file is whole, and there is no torch model for it here."""

    def __init__(self, file: Path, architecture: str, reason: str) -> None:
        self.architecture = architecture
        super().__init__(
            f"{file.name} holds a model of the architecture {architecture!r}, which cannot be loaded: "
            f"{reason}. Update transformers and gguf, or start from the original safetensors files."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufSummary:
    """What a file holds, told from its header.

    num_weights_by_type: weights of each storage type, such as {"Q4_1": 106_000_000, "F32": 35_000}.
    """

    file: Path
    architecture: str
    name: str
    num_tensors: int
    num_weights_by_type: Mapping[str, int]
    tensor_bytes: int
    stored_bytes: int

    @property
    def num_weights(self) -> int:
        """All weights of the file."""
        return sum(self.num_weights_by_type.values())

    @property
    def bits_per_weight(self) -> float:
        """Of the tensors alone, without header and vocabulary."""
        return 8 * self.tensor_bytes / max(1, self.num_weights)

    @property
    def share_quantized(self) -> float:
        """Weights that lie on a grid of few values, as a share of all."""
        on_grid = sum(count for kind, count in self.num_weights_by_type.items() if kind not in FLOAT_TYPES)
        return on_grid / max(1, self.num_weights)

    @property
    def is_quantized(self) -> bool:
        """Whether any weight is."""
        return self.share_quantized > 0

    @property
    def warning(self) -> str | None:
        """What must be said wherever this model is the baseline; None for a file of plain floats."""
        if not self.is_quantized:
            return None
        types = ", ".join(sorted(kind for kind in self.num_weights_by_type if kind not in FLOAT_TYPES))
        return (
            f"Already quantized: {self.share_quantized:.0%} of the weights of {self.file.name} lie on the "
            f"grid of {types} ({self.bits_per_weight:.1f} bits per weight). As float32 the model is no "
            "better, and quality and size measured against it say little about a method."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufModel:
    """A dense torch model and where it comes from."""

    model: Any
    summary: GgufSummary


def read_gguf_summary(file: Path) -> GgufSummary:
    """What is in a file, without reading its weights.

    Raises:
        FileNotFoundError: no such file.
        DamagedGgufError: it is no GGUF file, or its header leads outside of it.
        MissingExtraError: the package gguf is not installed.
    """
    gguf = _import_gguf()
    stored_bytes = file.stat().st_size
    with file.open("rb") as content:
        if content.read(4) != b"GGUF":
            raise DamagedGgufError(file, "it does not begin with GGUF")
    try:
        reader = gguf.GGUFReader(file)
        architecture = _text(reader, "general.architecture")
        by_type: dict[str, int] = {}
        for tensor in reader.tensors:
            kind = tensor.tensor_type.name
            by_type[kind] = by_type.get(kind, 0) + int(tensor.n_elements)
        tensor_bytes = sum(int(tensor.n_bytes) for tensor in reader.tensors)
        name = _text(reader, "general.name")
    except (ValueError, IndexError, KeyError, OverflowError, TypeError, MemoryError, RecursionError) as error:
        # The reader trusts lengths and types in the header, and numpy says in its own words where they end.
        raise DamagedGgufError(file, f"{type(error).__name__}: {error}") from error
    if not architecture:
        raise DamagedGgufError(file, "it does not name its architecture")
    return GgufSummary(
        file=file,
        architecture=architecture,
        name=name,
        num_tensors=len(reader.tensors),
        num_weights_by_type=by_type,
        tensor_bytes=tensor_bytes,
        stored_bytes=stored_bytes,
    )


def load_gguf(file: Path) -> GgufModel:
    """A GGUF file as a dense float32 model of Transformers on the CPU, in evaluation mode.

    The model is a plain one: it can be changed, trained and saved, as those that Transformers hands out for
    GGUF files cannot.

    Cost: two copies of the dense weights for a moment; 4 bytes for each weight stay.

    Raises:
        FileNotFoundError, DamagedGgufError: see read_gguf_summary.
        UnsupportedGgufError: Transformers or gguf does not know the architecture or a type, or weights are
            missing from the file.
        MissingExtraError: gguf, transformers or accelerate is not installed.
    """
    summary = read_gguf_summary(file)
    transformers = _import_transformers()
    import torch

    options: dict[str, Any] = {}
    if hasattr(transformers, "GgufConfig"):  # Since 5.20; without it packed weights would stay packed.
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    with tempfile.TemporaryDirectory(prefix="ayni-gguf-") as alone:
        # Transformers looks for adapters and configurations beside the file; it shall find none.
        (Path(alone) / "model.gguf").symlink_to(file.resolve())
        try:
            loaded, report = transformers.AutoModelForCausalLM.from_pretrained(
                alone,
                gguf_file="model.gguf",
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
        except Exception as error:  # Each architecture has its own code, with its own exceptions.
            raise UnsupportedGgufError(file, summary.architecture, _first_line(error)) from error
    if missing := sorted(report["missing_keys"]):
        reason = f"{len(missing)} weights are not in it, such as {missing[0]}"
        raise UnsupportedGgufError(file, summary.architecture, reason)
    return GgufModel(model=_plain(loaded), summary=summary)


def _plain(loaded: Any) -> Any:
    """The same model without the marks of its origin, for which Transformers refuses to save or train it."""
    config = copy.deepcopy(loaded.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = type(loaded)(config)
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()
    return model.eval()


def _text(reader: Any, key: str) -> str:
    field = reader.fields.get(key)
    return "" if field is None else str(field.contents())


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()


def _import_gguf() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise MissingExtraError(extra="gguf", package="gguf") from error
    return gguf


def _import_transformers() -> Any:
    try:
        import accelerate  # noqa: F401  (Transformers asks for it when a GGUF file is loaded)
        import transformers
    except ImportError as error:
        raise MissingExtraError(extra="gguf", package=error.name or "transformers") from error
    return transformers
