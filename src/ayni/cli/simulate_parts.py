"""The result of a simulation as a table for a terminal of 80 columns or more.

Numbers are written by the same functions as in the report. Not covered: members; the report has them.
"""

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType

from ayni.cli.tables import plain_table
from ayni.reports.pool.pool_rows import policy_rows
from ayni.reports.pool.pool_words import lede, title


def parts(view: Mapping[str, Any]) -> list[RenderableType]:
    """What came out, one row a policy; the path of the report is the last line."""
    table = plain_table("policy", "cost/h", "CO2e/h", "waiting", "in time", "share", "bound", gap=1)
    for row in policy_rows(view):
        table.add_row(
            f"{'*' if row['is_chosen'] else ' '} {row['name']}",
            row["cost"].split("\N{NO-BREAK SPACE}")[0],
            " ".join(part for part in (row["grams"], row["grams_change"]) if part),
            row["waiting"],
            row["in_time"],
            row["min_share_ratio"],
            row["of_bound"],
            style="bold" if row["is_chosen"] else None,
        )
    return [
        title(view),
        " ".join(lede(view)),
        "",
        table,
        "cost/h, CO2e/h: credits and grams of an hour of one reference machine. share: the least, over "
        "members, of work in time over that alone. bound: welfare, of what the clairvoyant bound allows.",
        f"Report: {view['report']}",
    ]
