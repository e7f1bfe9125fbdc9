"""One HTML file that tells a run: it opens offline, needs no script, and asks for nothing from a network.

The page is a template filled with the object of `run_view`; pictures become data URIs, figures inline
SVG. Everything that a user named (variants, labels, reasons) passes through the template's escaping,
and a content security policy forbids scripts and requests, in case something should slip through.

Not covered: pages for many runs; links to other files, which would break when the page is mailed.
"""

import base64
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.files import write_atomically
from ayni.reports import comparison, figures, formats, headline

if TYPE_CHECKING:
    from jinja2 import Environment

REPORT_FILE = "report.html"
IMAGE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
FORMATS = (
    "count",
    "credits",
    "digits",
    "grams",
    "joules",
    "largest",
    "metric",
    "metric_change",
    "moment",
    "seconds",
    "share",
    "stored_bytes",
)


def write_report(view: Mapping[str, Any], *, folder: Path, version: str = "") -> Path:
    """Write `folder`/report.html from the object of a run; returns its path.

    Args:
        view: what `run_view` returned; the images that its explanations name are read now.
        folder: where the page goes; made when it is absent.
        version: Ayni's version, for the footer.
    """
    path = folder / REPORT_FILE
    write_atomically(path, render_report(view, version=version).encode())
    return path


def render_report(view: Mapping[str, Any], *, version: str = "") -> str:
    """The page as text."""
    template = _environment().get_template("report.html.j2")
    items = (view["explain"] or {}).get("items", [])
    return template.render(
        view=view,
        version=version,
        title=headline.title(view),
        lede=headline.lede(view),
        gains=headline.gains(view),
        costs=headline.costs(view) if view["footprint"] else [],
        chosen=headline.chosen_variant(view),
        full=headline.full_variant(view),
        trade_offs=figures.trade_offs(view),
        curves=figures.learning_curves(view),
        galleries=_galleries(items),
        steps=comparison.planned_steps(view),
        limits=comparison.limits(view),
    )


def data_uri(path: str | None) -> str | None:
    """An image file as a data URI; None when the file is gone or is no image that browsers show."""
    if path is None or not Path(path).is_file():
        return None
    media_type = IMAGE_TYPES.get(Path(path).suffix.lower())
    if media_type is None:
        return None
    return f"data:{media_type};base64,{base64.b64encode(Path(path).read_bytes()).decode()}"


def _galleries(items: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Explained examples by kind, with their pictures inside."""
    galleries: dict[str, list[dict[str, Any]]] = {"sample": [], "disagreement": []}
    for item in items:
        shown = {
            **item,
            "input": data_uri(item["input_image"]),
            "attribution": data_uri(item["attribution_image"]),
        }
        galleries.setdefault(item["kind"] or "sample", []).append(shown)
    return galleries


@functools.cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ayni.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(formats, name) for name in FORMATS}
    return environment
