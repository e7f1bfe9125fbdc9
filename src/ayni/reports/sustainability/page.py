"""One HTML file with the footprint of a home: it opens offline, needs no script and asks for nothing.

The page is a template filled with the object of `view`; every plot has its table, every sum its interval.
What users named is escaped, and a content security policy forbids scripts and requests.

Not covered: pages for single receipts; the object has them all.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.files import write_atomically, write_json
from ayni.reports.pages import page_environment
from ayni.reports.sustainability.figures import month_figures, ranked_figures
from ayni.reports.sustainability.headline import imported_strip, lede, metered_strip, title
from ayni.reports.sustainability.tables import imports_table, month_name, receipts_table

if TYPE_CHECKING:
    from jinja2 import Environment

# A page with more rows is slow to open, and nobody reads it: the JSON has every entry.
MAX_ENTRIES = 200
FORMATS = ("count", "credits", "digits", "grams", "joules", "moment", "seconds", "share", "watt_hours")
GROUPS = (
    ("member", "Member", "Who caused it"),
    ("job", "Job", "For which work"),
    ("model", "Model", "For which published models"),
)
ACCOUNT_NAMES = {
    "job_microjoules": "jobs",
    "other_jobs_microjoules": "other jobs",
    "other_microjoules": "other processes",
    "unreserved_idle_microjoules": "idle, reserved by nobody",
    "neighbours_microjoules": "other meters",
}


def write_sustainability_report(view: Mapping[str, Any], *, folder: Path, name: str) -> Path:
    """Write `folder`/`name`.html, and the object beside it as JSON; returns the page's path."""
    path = folder / f"{name}.html"
    write_atomically(path, render_sustainability_report(view, name=name).encode())
    write_json(path.with_suffix(".json"), view)
    return path


def render_sustainability_report(view: Mapping[str, Any], *, name: str = "footprint") -> str:
    """The page as text; `name` is what its files are called."""
    totals, imported = view["totals"], view["imported"]
    return (
        _environment()
        .get_template("sustainability.html.j2")
        .render(
            view=view,
            name=name,
            title=title(view),
            lede=lede(view),
            metered=metered_strip(view),
            imported=imported_strip(view),
            months=receipts_table("Month", "month", view["by_month"], totals),
            month_figures=month_figures(view["by_month"]),
            groups=[
                {
                    "key": key,
                    "heading": heading,
                    "table": receipts_table(first, key, view[f"by_{key}"], totals),
                    "figures": ranked_figures(key, view[f"by_{key}"]),
                }
                for key, first, heading in GROUPS
            ],
            tiers=receipts_table("Tier", "tier", view["by_tier"], totals),
            zones=receipts_table("Zone", "zone", view["by_zone"], totals),
            imported_months=imports_table("Month", "month", imported["by_month"], imported["totals"]),
            imported_members=imports_table("Member", "member", imported["by_member"], imported["totals"]),
            imported_figures=month_figures(imported["by_month"], is_imported=True),
            account_names=ACCOUNT_NAMES,
            shown_entries=view["entries"][:MAX_ENTRIES],
            month_name=month_name,
        )
    )


@functools.cache
def _environment() -> "Environment":
    return page_environment(FORMATS)
