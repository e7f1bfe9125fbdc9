"""What `ayni explain` does: explains the model of a run, or a published one, and writes the page."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.settings import read_settings
from ayni.wiring.extras import require
from ayni.wiring.installation import Installation
from ayni.workflows.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from ayni.explain.choosing import Wanted

_MODULES = ("numpy", "torch", "captum", "matplotlib", "sklearn")


def explain(
    what: str,
    *,
    task: str | None = None,
    method: "Wanted" = "auto",
    samples: int = 8,
    seed: int | None = None,
    page: Path = Path("explanation.html"),
    home: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Explain test examples; returns the explanations as docs/run-object.md has them, with `of` and `page`.

    Args:
        what: a run (id, beginning of one, "latest", folder), a repository (owner/name, with @revision), the
            folder of a downloaded repository, or a safetensors file.
        task: `path/to/task.py:Object`; needed for a file, else that of the model.
        method: as `explain.method` in job.yaml.
        samples: test examples to show, and as many disagreements with the chosen variant.
        seed: chooses them; the run's own by default.
        page: HTML file. Pictures and numbers go into a folder beside it that is called like it.
        home: folder of all state; AYNI_HOME by default.
        progress: sees what happens; nothing by default.

    Raises:
        UserError: there is nothing to explain, or the method does not fit; see
            `ayni.workflows.explain_source` and `ayni.workflows.explain_again`.
    """
    require(_MODULES, extra="explain")
    progress = progress or SilentProgress()
    installation = Installation(read_settings(home=home))
    from ayni.reports.explain_page import write_explain_page
    from ayni.reports.explain_view import explain_view
    from ayni.workflows.explain_again import explain_again
    from ayni.workflows.explain_source import find_explain_source

    progress.started("load", total=None)
    source = find_explain_source(what, task=task, hub=installation.shared_hub, runs=installation.runs)
    progress.finished("load", text=source.name)
    progress.started("explain", total=None)
    folder = page.with_suffix("")
    found = explain_again(
        source,
        method=method,
        num_samples=samples,
        seed=source.seed if seed is None else seed,
        folder=folder,
    )
    progress.finished("explain", text=f"{len(found.explanations.items)} examples")
    import ayni

    view = explain_view(found.explanations.to_json(), folder.resolve())
    write_explain_page(view, page, name=found.name, variant=found.variant, version=ayni.__version__)
    return {"of": found.name, "variant": found.variant, **(view or {}), "page": str(page)}
