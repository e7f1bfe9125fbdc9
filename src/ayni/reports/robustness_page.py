"""One HTML file with what corrupted images do to some models: opens offline, and runs no script.

Not covered: a run's own report, which has the same section.
"""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.files import write_atomically
from ayni.reports import robustness_view
from ayni.reports.pages import page_environment

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE_FILE = "robustness.html"
FORMATS = ("count", "visible")


def write_robustness_page(result: robustness_view.Json, *, folder: Path, version: str = "") -> Path:
    """Write `folder`/robustness.html from what `Robustness.to_json` gave; returns its path."""
    view = {"robustness": robustness_view.robustness_view(result)}
    first = result["models"][0]["model"]
    page = (
        _environment()
        .get_template("data_page.html.j2")
        .render(
            body="robustness.html.j2",
            subject="robustness",
            title=f"{first} on corrupted images",
            version=version,
            view=view,
            robustness=section(view["robustness"]),
        )
    )
    path = folder / PAGE_FILE
    write_atomically(path, page.encode())
    return path


def section(result: robustness_view.Json | None) -> dict[str, Any] | None:
    """What the template of the section is filled with; None where nobody looked."""
    if result is None:
        return None
    return {
        "models": robustness_view.model_rows(result),
        "kinds": robustness_view.kind_rows(result),
        "mean_plot": robustness_view.mean_plot(result),
        "kind_plots": robustness_view.kind_plots(result),
        "legend": robustness_view.legend(result),
        "left_out": robustness_view.left_out(result),
    }


@functools.cache
def _environment() -> "Environment":
    return page_environment(FORMATS)
