"""`ayni simulate`: what a pool would cost, emit and take under several policies, on a trace of real jobs.

Not covered: choosing a policy. The table and the report show what each gives up.
"""

from pathlib import Path
from typing import Annotated

import typer

from ayni.cli import terminal


def simulate(  # noqa: PLR0917 - one parameter an option
    pool: Annotated[Path, typer.Argument(metavar="POOL.yaml", help="Sites, grids and assumptions.")],
    trace: Annotated[
        Path,
        typer.Option("--trace", metavar="FILE", help="CSV of jobs: timestamp, duration, machines, member."),
    ],
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", "-p", metavar="NAME", help="May be said several times; all by default."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Start of everything that is made up.")] = 0,
    report: Annotated[Path, typer.Option("--report", metavar="FOLDER", help="Where the report goes.")] = Path(
        "pool-report"
    ),
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")
    ] = False,
) -> None:
    """Replay a trace of jobs against a pool under several policies, and compare them.

    For example:

    - `ayni simulate examples/pool/pool.yaml --trace examples/pool/trace.csv`
    - `ayni simulate pool.yaml --trace jobs.csv --policy market --policy easy-backfill --policy clairvoyant`
    """
    from ayni.wiring import market as wiring

    with terminal.progress(f"Simulating {pool}") as progress:
        view = wiring.simulate(
            pool, trace, policies=policy or (), seed=seed, report=report, progress=progress
        )
    if json:
        terminal.print_json(view)
        return
    from ayni.cli import simulate_parts

    for part in simulate_parts.parts(view):
        terminal.show(part)
