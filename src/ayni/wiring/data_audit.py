"""What `ayni data audit` does: generated records against real ones, or the model of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.settings import read_settings
from ayni.wiring.extras import require
from ayni.wiring.installation import Installation
from ayni.workflows.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from ayni.jobs.spec import AuditSpec

_FILE_MODULES = ("numpy", "scipy", "sklearn", "matplotlib")
_MODEL_MODULES = (*_FILE_MODULES, "torch")
RESULT_FILE = "audit.json"


def audit_files(
    generated: Path,
    members: Path,
    unseen: Path,
    *,
    seed: int = 0,
    output: Path,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Audit generated records; writes page, pictures and JSON below `output` and returns the audit.

    Args:
        generated: .npz of what would be shared.
        members: .npz of all records that the generator was trained on.
        unseen: .npz of records of the same source that it never saw.
        seed: of controls and of the utility's classifier.
        output: folder of the page.
        progress: sees what happens; nothing by default.

    Raises:
        RecordsError: a file cannot be used, or the three do not fit each other.
    """
    require(_FILE_MODULES, extra="data")
    progress = progress or SilentProgress()
    from ayni.data.arrays_file import read_records
    from ayni.workflows.audit_data import audit_made

    progress.started("load", total=None)
    made, own, others = (read_records(path) for path in (generated, members, unseen))
    progress.finished("load", text=f"{len(made)} generated, {len(own)} members, {len(others)} unseen")
    progress.started("audit", total=None)
    found = audit_made(made, own, others, seed=seed, folder=output)
    progress.finished("audit", text=found.audit.verdict.kind)
    from ayni.reports.audit_page import write_generated_page

    return _written(found.to_json(), output, write_generated_page, name=generated.name)


def audit_run(
    reference: str,
    asked: "AuditSpec",
    *,
    output: Path,
    home: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Audit the model of a run that is there; writes page, pictures and JSON below `output`.

    Args:
        reference: the run's id, its beginning, or "latest".
        asked: attack, shadow models and records.
        output: folder of the page.
        home: folder of all state; AYNI_HOME by default.
        progress: sees what happens; nothing by default.

    Raises:
        RunNotFoundError, NotTrainedError, NotAuditableError: there is nothing to audit.
    """
    require(_MODEL_MODULES, extra="data")
    progress = progress or SilentProgress()
    installation = Installation(read_settings(home=home))
    run = installation.runs.open(reference)
    from ayni.workflows.audit_data import audit_finished
    from ayni.workflows.audit_model import text_of

    progress.started("audit", total=asked.shadow_models)
    found = audit_finished(run, installation.house, asked, folder=output, progress=progress)
    progress.finished("audit", text=text_of(found))
    from ayni.reports.audit_page import write_model_page

    return _written(found.to_json(), output, write_model_page, name=run.id)


def _written(audit: dict[str, Any], output: Path, write_page: Any, *, name: str) -> dict[str, Any]:
    import ayni
    from ayni.files import write_json

    write_json(output / RESULT_FILE, audit)
    page = write_page(audit, folder=output, name=name, version=ayni.__version__)
    return {**audit, "page": str(page)}
