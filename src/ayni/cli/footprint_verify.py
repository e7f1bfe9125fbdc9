"""`ayni footprint verify`: check receipts and windows from their files alone, of one run or of many."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ayni.cli import terminal
from ayni.cli.runs import JsonOption


def verify(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Receipts, `meter/windows.jsonl`, the folder of a run or a measurement, a folder of "
            "these, or a zip of one.",
            show_default=False,
        ),
    ],
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PUBLIC",
            help="The public key that must have signed, or a file with one a line and whose it is. May be "
            "given several times; without it any key will do, and it is said who vouches for it.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check that nothing in receipts was changed, left out or counted twice.

    Signatures, chains, keys, windows, sums, copies under other names, runs side by side on one node, and runs
    within others. Needs the files and no network. Exit code 1 when a check fails.

    Example: `ayni footprint verify ~/.ayni/footprint --key partners.txt`
    """
    from ayni import wiring

    found = wiring.verify_footprint(files, keys=key or ())
    if json:
        terminal.print_json(found)
    else:
        _print(found)
    if not found["ok"]:
        raise typer.Exit(1)


def _printable(text: str) -> str:
    """Names come out of files that anybody may have written; a terminal obeys some characters."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _print(found: dict[str, Any]) -> None:
    for check in found["checks"]:
        mark, colour = ("ok", "green") if check["ok"] else ("FAILED", "red")
        typer.secho(f"{mark:<7}", fg=colour, nl=False)
        typer.echo(f"{check['name']}: {_printable(check['detail'])}")
    num_failed = sum(not check["ok"] for check in found["checks"])
    if num_failed:
        terminal.complain(f"{num_failed} of {len(found['checks'])} checks failed.")
    elif any(run["receipts"] for run in found["runs"]):
        joules = found["energy_joules"]
        energy = "an unknown energy" if joules is None else f"{joules:.4g} J"
        typer.echo(f"Together the receipts state {energy} ({found['tier']}), each part counted once.")
