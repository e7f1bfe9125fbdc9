"""`ayni hub fsck|gc|rotate-key|encrypt`: the care of the hub on this machine."""

from datetime import timedelta
from typing import Annotated, Any

import typer

from ayni.cli import terminal

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
_SHOWN = 50


def fsck(
    *,
    hashes: Annotated[
        bool, typer.Option("--hashes", help="Read every byte and compare it with its digest.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Prove that the hub on this machine is whole: every commit, file and chunk is there as it should be.

    Changes nothing and may run beside the server. Exit code 1 when something is wrong.

    For example:

    - `ayni hub fsck`
    - `ayni hub fsck --hashes --json`
    """
    from ayni.wiring import hub

    found = hub.check(with_hashes=hashes)
    if json:
        terminal.print_json(found)
    else:
        _show_check(found)
    if not found["ok"]:
        raise typer.Exit(1)


def gc(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be freed; change nothing.")
    ] = False,
    grace_hours: Annotated[
        float, typer.Option(min=0, help="Free only what has been unused for so many hours.")
    ] = 24.0,
    chunk_grace_days: Annotated[
        float, typer.Option(min=0, help="The same for chunks, which clients remember for three weeks.")
    ] = 28.0,
    json: JsonOption = False,
) -> None:
    """Free what nothing refers to: uploads that were given up, squashed commits, deleted repositories.

    May run beside the server, be broken off, and run again. What is found unused is noted, and freed by a run
    that finds it so once more when the grace period is over; so run it every day.

    For example:

    - `ayni hub gc --dry-run`
    - `ayni hub gc --grace-hours 48`
    """
    from ayni.wiring import hub

    done = hub.collect(
        grace=timedelta(hours=grace_hours), chunk_grace=timedelta(days=chunk_grace_days), is_dry_run=dry_run
    )
    if json:
        terminal.print_json(done)
        return
    would = "Would free" if dry_run else "Freed"
    parts = [
        f"{done['objects']['count']} objects",
        f"{done['chunks']['count']} groups of chunks",
        f"{done['incoming']['count']} broken uploads on disk",
        f"{done['commits']} commits",
        f"{done['trees']} folders",
        f"{done['uploads']} uploads",
        f"{done['repositories']} deleted repositories",
    ]
    typer.echo(f"{would} {done['freed_bytes']:,} bytes: {', '.join(parts)}.")
    waiting = done["waiting"]
    if waiting["count"]:
        typer.echo(
            f"{waiting['count']} more of {waiting['bytes']:,} bytes are unused and wait for their time."
        )


def rotate_key(
    *,
    drop_older: Annotated[
        bool, typer.Option("--drop-older", help="Remove older keys from the file once nothing needs them.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Wrap the keys of all objects by a new master key. No object is read or written.

    A file of master keys gets a new key; a server that runs takes it at once. Where the keys come from a
    variable or a service, put the new one there first. Keep a copy of the new key elsewhere.

    For example:

    - `ayni hub rotate-key`
    - `ayni hub rotate-key --drop-older`
    """
    from ayni.wiring import hub

    done = hub.rotate_key(drops_older=drop_older)
    if json:
        terminal.print_json(done)
        return
    typer.echo(f"{done['rewrapped']} keys of objects are now under the master key {done['newest']}.")
    if done["older_in_use"]:
        terminal.complain(f"Still in use: {', '.join(done['older_in_use'])}. Run this again.")
    elif done["dropped_older"]:
        typer.echo("Older master keys were removed from the file.")


def encrypt() -> None:
    """Encrypt what the hub on this machine stored before it had a master key.

    Stop the server and everything that publishes first. May be broken off and begun again.

    Example: `ayni hub encrypt`
    """
    from ayni.wiring import hub

    typer.echo(f"Encrypted {hub.encrypt()} objects. All that comes from now on is encrypted.")


def _show_check(found: dict[str, Any]) -> None:
    for problem in found["problems"][:_SHOWN]:
        typer.secho("WRONG ", fg="red", nl=False)
        typer.echo(f"{problem['kind']}: {problem['where']}: {problem['text']}")
    if len(found["problems"]) > _SHOWN:
        typer.echo(f"... and {len(found['problems']) - _SHOWN} more; --json has them all.")
    for note in found["notes"][:_SHOWN]:
        typer.echo(f"note {note['kind']}: {note['where']}: {note['text']}")
    counts = ", ".join(f"{number:,} {what.replace('_', ' ')}" for what, number in found["counts"].items())
    typer.echo(f"Looked at {counts or 'nothing'}.")
    if found["ok"]:
        typer.echo("The hub is sound.")
    else:
        terminal.complain(
            f"The hub is not sound: {len(found['problems'])} problems. Nothing was changed. Restore what is "
            "missing from a backup, or upload it again."
        )
