"""`ayni ledger check|statement|policy|close-quarter`: prove the ledger, and say what becomes of credits.

Not covered: moving credits by hand, which nobody can.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from ayni.cli import terminal
from ayni.units import microcredits_to_credits

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Look into the ledger of credits: check, statement, policy, close-quarter.",
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]


@app.command("check")
def check(
    noted: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NUMBER:HASH", help="The last entry of an earlier check, which must still be there."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Prove that the ledger is whole: nothing changed, made, lost, booked twice or spent below zero.

    Reads the whole database and holds up nobody. Exit code 1 when something is wrong.

    For example:

    - `ayni ledger check`
    - `ayni ledger check --noted 120:HASH` also finds entries that were cut off at the end
    """
    from ayni.wiring import market as wiring

    found = wiring.ledger_check(noted or [])
    if json:
        terminal.print_json(found)
    elif found["ok"]:
        _show_sound(found)
    else:
        for problem in found["problems"]:
            typer.secho("FAILED ", fg="red", nl=False)
            typer.echo(problem)
        terminal.complain(f"The ledger in {found['database']} is not sound. Nothing was changed.")
    if not found["ok"]:
        raise typer.Exit(1)


@app.command("statement")
def statement(
    member: Annotated[str, typer.Argument(metavar="MEMBER", help="The name of a member.")],
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day (UTC); all by default.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day after the last one (UTC).")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show every movement of a member's credits, with its balance after each.

    For example:

    - `ayni ledger statement me`
    - `ayni ledger statement me --since 2026-03-01 --until 2026-04-01 --json`
    """
    from ayni.wiring import market as wiring

    found = wiring.ledger_statement(member, since=_in_utc(since), until=_in_utc(until))
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import tables

    terminal.show(tables.statement_table(found))
    closing = found["closing"]
    typer.echo(
        f"{found['member']} has {_credits(closing['available_microcredits'])} credits to spend, "
        f"{_credits(closing['escrow_microcredits'])} in escrow and "
        f"{_credits(closing['bond_microcredits'])} staked."
    )


@app.command("policy")
def policy(json: JsonOption = False) -> None:
    """Show what the pool declares: grants, decay, checks of work, carbon charge and the rules of rounds.

    Example: `ayni ledger policy`
    """
    from ayni.wiring import market as wiring

    found = wiring.declared_policy()
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import pool_tables

    terminal.show(pool_tables.policy_table(found))


@app.command("close-quarter")
def close_quarter(
    period: Annotated[str, typer.Argument(metavar="QUARTER", help="The quarter that ended last: 2026Q3.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would move; move nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Close a quarter: idle credits decay, and the surplus is shared out by work of the quarter before.

    A quarter is closed once; after that the command shows what was moved.

    For example:

    - `ayni ledger close-quarter 2026Q3 --dry-run`
    - `ayni ledger close-quarter 2026Q3`
    """
    from ayni.wiring import market as wiring

    found = wiring.close_quarter(period, is_trial=dry_run)
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import pool_tables

    for part in pool_tables.quarter_parts(found):
        terminal.show(part)


def _show_sound(found: dict[str, Any]) -> None:
    typer.echo(
        f"The ledger in {found['database']} is sound: {found['num_entries']:,} transactions, "
        f"{found['num_accounts']:,} accounts, sum {found['sum_microcredits']}."
    )
    typer.echo(
        f"{_credits(found['granted_microcredits'])} credits were granted, "
        f"{_credits(found['escrow_microcredits'])} are in escrow."
    )
    if found["num_entries"]:
        typer.echo(f"Note down its last entry: {found['num_entries']}:{found['last_hash']}")


def _credits(microcredits: int) -> str:
    return f"{microcredits_to_credits(microcredits):,.6f}"


def _in_utc(day: datetime | None) -> datetime | None:
    return None if day is None else day.replace(tzinfo=UTC)
