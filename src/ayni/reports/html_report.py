"""One HTML file that tells a run: it opens offline, needs no script, and asks for nothing from a network.

The page is a template filled with the object of `run_view`; pictures become data URIs, figures inline
SVG. Everything that a user named (variants, labels, reasons) passes through the template's escaping,
and a content security policy forbids scripts and requests, in case something should slip through.

Not covered: pages for many runs; links to other files, which would break when the page is mailed.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.files import write_atomically
from ayni.reports import (
    audit_view,
    comparison,
    explain_section,
    figures,
    headline,
    latency_table,
    robustness_page,
    round_figures,
    variant_rows,
    variants,
    what_changed,
)
from ayni.reports.pages import page_environment

if TYPE_CHECKING:
    from jinja2 import Environment

REPORT_FILE = "report.html"
FORMATS = (
    "count",
    "credits",
    "digits",
    "grams",
    "litres",
    "joules",
    "largest",
    "metric",
    "metric_change",
    "moment",
    "seconds",
    "share",
    "stored_bytes",
    "visible",
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
    return template.render(
        view=view,
        version=version,
        title=headline.title(view),
        lede=headline.lede(view),
        gains=headline.gains(view),
        costs=headline.costs(view) if view["footprint"] else [],
        data_line=headline.data_line(view),
        leak=headline.leak(view),
        is_baseline_better=comparison.baseline_that_is_better(view) is not None,
        chosen=variants.chosen_variant(view),
        full=variants.full_variant(view),
        rows=variant_rows.rows(view),
        has_break_even=variant_rows.has_break_even(view),
        doubtful_latencies=variant_rows.doubtful_latencies(view),
        latencies=latency_table.latency_table(view),
        changed=what_changed.what_changed(view),
        hidden_loss=what_changed.hidden_loss_warning(view),
        trade_offs=figures.trade_offs(view),
        curves=figures.learning_curves(view),
        round_figures=round_figures.round_figures(view),
        rounds_table=round_figures.rows_of_rounds(view),
        verdict_text=audit_view.verdict_text(view),
        attack_rows=audit_view.attack_rows(view),
        attack_plot=audit_view.attack_plot(view),
        exposed=audit_view.exposed_records(view),
        **explain_section.section(view),
        robustness=robustness_page.section(view["robustness"]),
        steps=comparison.planned_steps(view),
        limits=comparison.limits(view),
    )


@functools.cache
def _environment() -> "Environment":
    return page_environment(FORMATS)
