"""What private trainings told about each data set, as a table for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from ayni.cli.tables import plain_table
from ayni.reports import formats


def privacy_parts(accounts: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """A row for each run below its data set, and how they are added up."""
    if not accounts:
        return ["No private training yet. docs/privacy.md says how: train.privacy in job.yaml."]
    table = plain_table("data set", "run", "epsilon", "delta", "at most")
    for account in accounts:
        cap = account["cap_epsilon"]
        table.add_row(
            account["name"] or f"sha256 {account['sha256'][:12]}",
            f"{len(account['runs'])} together",
            formats.digits(account["epsilon"]),
            f"{account['delta']:g}",
            "" if cap is None else formats.digits(cap),
        )
        for spend in account["runs"]:
            booked = "" if spend["is_settled"] else " booked"
            table.add_row(
                "", spend["run"], f"{formats.digits(spend['epsilon'])}{booked}", f"{spend['delta']:g}", ""
            )
    return [table, "Added up by basic composition: the sum of the epsilons and of the deltas."]
