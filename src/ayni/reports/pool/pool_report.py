"""One HTML file that tells a pool simulation: it opens offline, needs no script, and asks for nothing.

Made like the report of a run (see `ayni.reports.html_report`), from the object of `simulate_pool` alone.
Names that users gave pass through the template's escaping; a content security policy forbids scripts and
requests.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.files import write_atomically
from ayni.reports.pages import page_environment
from ayni.reports.plot_marks import key_of
from ayni.reports.pool import pool_figures, pool_rows, pool_words

if TYPE_CHECKING:
    from jinja2 import Environment

POOL_REPORT_FILE = "pool-report.html"
FORMATS = ("count", "credits", "digits", "moment", "seconds", "share")


def write_pool_report(view: Mapping[str, Any], *, folder: Path, version: str = "") -> Path:
    """Write `folder`/pool-report.html from the object of a simulation; returns its path."""
    path = folder / POOL_REPORT_FILE
    write_atomically(path, render_pool_report(view, version=version).encode())
    return path


def render_pool_report(view: Mapping[str, Any], *, version: str = "") -> str:
    """The page as text."""
    trade_offs = pool_figures.trade_offs(view)
    return (
        _environment()
        .get_template("pool.html.j2")
        .render(
            view=view,
            version=version,
            title=pool_words.title(view),
            lede=pool_words.lede(view),
            outcome=pool_words.outcome(view),
            promises=pool_words.promises(view),
            chosen=pool_words.chosen_policy(view),
            policy_rows=pool_rows.policy_rows(view),
            member_rows=pool_rows.member_rows(view),
            site_rows=pool_rows.site_rows(view),
            trade_offs=trade_offs,
            reading=key_of(trade_offs),
            days=pool_figures.days(view),
            welfare=pool_figures.welfare(view),
            fairness=pool_figures.fairness(view),
        )
    )


@functools.cache
def _environment() -> "Environment":
    return page_environment(FORMATS, {"grams": pool_words.grams})
