"""The result of an audit as tables for a terminal.

Not covered: pictures; the page has them.
"""

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType

from ayni.cli.tables import plain_table
from ayni.reports.audit_page import generated_facts, generated_rows
from ayni.reports.audit_view import attack_rows


def parts(found: Mapping[str, Any]) -> list[RenderableType]:
    """The verdict, the attack beside its controls, and where the page is."""
    verdict = found["verdict"]
    is_generated = "utility" in found
    attacks = plain_table("attacked", "AUC", "found at 1 %", "should be")
    for row in generated_rows(found) if is_generated else attack_rows({"audit": found}):
        attacks.add_row(row.name, row.auc, row.hits, row.expected)
    shown: list[RenderableType] = [
        f"{verdict['kind'].upper()}: {'; '.join(verdict['reasons'])}",
        "",
        attacks,
    ]
    if is_generated:
        besides = plain_table("besides", "measured", "judged by")
        for name, value, judged in generated_facts(found):
            besides.add_row(name, value, judged)
        shown.append(besides)
    return [*shown, f"Page: {found['page']}"]
