"""`ayni market clear`: a round of the market over the offers and jobs of the pool.

Not covered: carrying a round out; leases on machines of others are not built.
"""

from typing import Annotated

import typer

from ayni.cli import terminal
from ayni.cli.offers import JsonOption
from ayni.errors import UserError

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Rounds of the market: clear.")


class DryRunOnlyError(UserError):
    """A round was to be carried out, which is not built."""

    def __init__(self) -> None:
        super().__init__(
            "Rounds are decided and not carried out yet: machines of others cannot be reached. See what a "
            "round would decide with: ayni market clear --dry-run"
        )


@app.callback()
def _group() -> None:
    """Rounds of the market: clear."""


@app.command("clear")
def clear(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Decide and show; hold no credits and start nothing.")
    ] = False,
    hours: Annotated[
        int, typer.Option(metavar="N", min=1, max=336, help="How many hours the round looks ahead.")
    ] = 48,
    greenest_within: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            min=0.0,
            help="Take the least carbon among places at most this share dearer than the cheapest.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Breaks ties among equal bids.")] = 0,
    json: JsonOption = False,
) -> None:
    """Clear a round over all open offers and waiting jobs: who runs where, when, and what each pays.

    For example:

    - `ayni market clear --dry-run`
    - `ayni market clear --dry-run --hours 24 --greenest-within 0.1 --json`
    """
    if not dry_run:
        raise DryRunOnlyError
    from ayni.wiring import market as wiring
    from ayni.workflows.clear_market import RoundRequest

    request = RoundRequest(hours=hours, greenest_within=greenest_within, seed=seed)
    found = wiring.pool().clear(request)
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import pool_tables

    for part in pool_tables.round_parts(found):
        terminal.show(part)
