"""`ayni market clear|leases|release|budget`: rounds of the market, and what they have awarded.

Not covered: orders to sites of others; this installation has no connection to them.
"""

from typing import Annotated

import typer

from ayni.cli import terminal
from ayni.cli.offers import JsonOption
from ayni.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Rounds of the market: clear, leases, release, budget.",
)


class BudgetOptionsError(UserError):
    """A carbon budget is to be set and taken away, or is not said."""

    def __init__(self) -> None:
        super().__init__(
            "Say either how much (`--kilograms 50`) or that there is no limit any more (`--no-limit`), and "
            "whose budget it is. `ayni market budget` alone shows all."
        )


@app.callback()
def _group() -> None:
    """Rounds of the market: clear, leases, release, budget."""


@app.command("clear")
def clear(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Decide and show; hold no credits and book nothing.")
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
    share_cap: Annotated[
        float,
        typer.Option(
            metavar="TIMES",
            min=0.0,
            help="How many times its fair share a member gets on machines of others before those who wait; "
            "0 = no cap.",
        ),
    ] = 2.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Breaks ties among equal bids.")] = 0,
    json: JsonOption = False,
) -> None:
    """Clear a round over all open offers and waiting jobs: who runs where, when, and what each pays.

    Books it: sets aside what each lease may cost, and keeps its machines for it. Sites of others are not
    told, for this installation has no connection to them; `ayni market release` gives the credits back.

    For example:

    - `ayni market clear --dry-run`
    - `ayni market clear --hours 24 --greenest-within 0.1 --json`
    """
    from ayni.wiring import market as wiring
    from ayni.workflows.clear_market import RoundRequest

    request = RoundRequest(
        hours=hours, greenest_within=greenest_within, share_cap=share_cap or None, seed=seed
    )
    found = wiring.pool().clear(request, is_trial=dry_run)
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import pool_tables

    for part in pool_tables.round_parts(found):
        terminal.show(part)


@app.command("leases")
def list_leases(
    all_: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    json: JsonOption = False,
) -> None:
    """List the leases that rounds have booked, the oldest first.

    For example:

    - `ayni market leases`
    - `ayni market leases --all --json`
    """
    from ayni.wiring import market as wiring

    ended = ("released", "failed", "settled")
    leases = [each for each in wiring.pool().list_leases() if all_ or each["state"] not in ended]
    if json:
        terminal.print_json(leases)
    elif not leases:
        typer.echo("No lease is held. Clear a round with: ayni market clear")
    else:
        from ayni.cli import pool_tables

        terminal.show(pool_tables.leases_table(leases))


@app.command("release")
def release(
    lease: Annotated[str, typer.Argument(metavar="LEASE", help="The id of the lease.")],
    json: JsonOption = False,
) -> None:
    """End a lease: what is set aside for it goes back, its machines are free, and its job waits again.

    Example: `ayni market release digits.1`
    """
    from ayni.wiring import market as wiring

    found = wiring.pool().release(lease)
    if json:
        terminal.print_json(found)
        return
    typer.echo(f"Released: {found['id']}. Its credits went back to {found['member']}.")
    typer.echo(f"{found['job']} waits again; take it back with: ayni jobs withdraw {found['job']}")


@app.command("budget")
def budget(
    member: Annotated[str | None, typer.Argument(metavar="MEMBER", help="The name of a member.")] = None,
    *,
    month: Annotated[
        str | None, typer.Option(metavar="YYYY-MM", help="The month (UTC); this one by default.")
    ] = None,
    kilograms: Annotated[
        float | None,
        typer.Option(metavar="KG", help="What its jobs may emit in the month, in kg of CO2e."),
    ] = None,
    no_limit: Annotated[bool, typer.Option("--no-limit", help="Take the limit away.")] = False,
    json: JsonOption = False,
) -> None:
    """Limit what a member's jobs may emit in a month, or show all limits and what is used of them.

    Used are the leases that rounds of the month have booked. A round places nothing beyond what is left.

    For example:

    - `ayni market budget uni --month 2026-11 --kilograms 50`
    - `ayni market budget`
    """
    from ayni.wiring import market as wiring

    is_change = kilograms is not None or no_limit
    if (kilograms is not None and no_limit) or is_change != (member is not None):
        raise BudgetOptionsError
    pool = wiring.pool()
    if member is not None:
        grams = None if kilograms is None else kilograms * 1000
        found = pool.set_budget(member, month, grams=grams)
    else:
        found = [each for each in pool.budgets() if month in (None, each["month"])]
    if json:
        terminal.print_json(found)
    elif not found:
        typer.echo("No member has a carbon budget. Set one with: ayni market budget MEMBER --kilograms 50")
    else:
        from ayni.cli import pool_tables

        terminal.show(pool_tables.budgets_table(found))
