"""What `ayni data corrupt` does: corrupted copies of a source, or models measured on corrupted images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.settings import read_settings
from ayni.wiring.extras import require
from ayni.wiring.installation import Installation
from ayni.workflows.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from ayni.data.config import DataConfig
    from ayni.data.corruptions.made import CorruptOptions
    from ayni.workflows.corrupt_model import CorruptRequest

RESULT_FILE = "robustness.json"
_MODULES = ("numpy", "torch")


def corrupt_source(
    config: "DataConfig", options: "CorruptOptions", *, output: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Write a sheet of a source's images, and copies; returns what was written.

    Raises:
        NoSuchSourceError, SourceError: there are no data, or they cannot be read.
        CorruptionInputError: they are no images.
    """
    require(_MODULES, extra="data")
    progress = progress or SilentProgress()
    progress.started("corrupt", total=1.0)
    from ayni.data.corruptions.made import write_corrupted

    made = write_corrupted(
        config,
        options,
        folder=output,
        advanced=lambda share: progress.advanced("corrupt", done=share, text=f"{share:.0%}"),
    )
    progress.finished("corrupt", text=f"{made.num_copies:,} copies of {made.num_images:,} images")
    return {
        **made.record,
        "num_images": made.num_images,
        "num_copies": made.num_copies,
        "sheet": str(made.sheet),
        "folder": str(output),
    }


def corrupt_models(
    request: "CorruptRequest", *, output: Path, home: Path | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Measure models on corrupted images; writes page and JSON below `output` and returns the result.

    Raises:
        UserError: a model, the reference or the images cannot be used, see `measure_models`.
    """
    require((*_MODULES, "safetensors"), extra="data")
    progress = progress or SilentProgress()
    installation = Installation(read_settings(home=home))
    progress.started("corrupt", total=1.0)
    import ayni
    from ayni.files import write_json
    from ayni.reports.robustness_page import write_robustness_page
    from ayni.workflows.corrupt_model import measure_models, text_of

    found = measure_models(
        request,
        runs=installation.runs,
        hub=installation.shared_hub,
        advanced=lambda share: progress.advanced("corrupt", done=share, text=f"{share:.0%}"),
    )
    progress.finished("corrupt", text=text_of(found))
    result = found.to_json()
    write_json(output / RESULT_FILE, result)
    page = write_robustness_page(result, folder=output, version=ayni.__version__)
    return {**result, "page": str(page), "file": str(output / RESULT_FILE)}
