"""One HTML file with explanations: it opens offline, needs no script and asks for nothing from a network.

Not covered: explanations of a run's own step, which are part of its report.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.files import write_atomically
from ayni.reports import explain_section
from ayni.reports.pages import page_environment

if TYPE_CHECKING:
    from jinja2 import Environment

FORMATS = ("count", "metric", "share", "visible")


def write_explain_page(
    explain: Mapping[str, Any] | None, path: Path, *, name: str, variant: str | None, version: str = ""
) -> None:
    """Write the page from what `explain_view` gave; images that it names are read now.

    Args:
        explain: the explanations, with paths that can be opened.
        path: of the page.
        name: what was explained.
        variant: what it was compared with; None without one.
        version: Ayni's version, for the footer.
    """
    view = {"explain": explain, "baseline": None, "tree": None}
    page = _environment().get_template("explain_page.html.j2")
    text = page.render(
        view=view,
        version=version,
        title=f"Why {name} answers as it does",
        variant=variant,
        **explain_section.section(view),
    )
    write_atomically(path, text.encode())


@functools.cache
def _environment() -> "Environment":
    return page_environment(FORMATS)
