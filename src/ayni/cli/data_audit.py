"""`ayni data audit`: do generated records or a model give away training data?"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ayni.cli import terminal
from ayni.errors import UserError


class AuditArgumentsError(UserError):
    """What is to be audited is not said, or said twice."""

    def __init__(self) -> None:
        super().__init__(
            "Name a run (ayni data audit latest), or the three files --generated, --members and --unseen."
        )


def audit(  # noqa: PLR0917 - one parameter an option
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]", help="A run whose model is audited: its id, or latest.", show_default=False
        ),
    ] = None,
    generated: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Generated records.", show_default=False)
    ] = None,
    members: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz", help="The records that the generator was trained on.", show_default=False
        ),
    ] = None,
    unseen: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Records of the same source that it never saw, best as many.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        Literal["lira", "rmia"], typer.Option(help="Of a model: lira finds most, rmia is cheap.")
    ] = "lira",
    shadow_models: Annotated[
        int, typer.Option(min=4, help="Of a model: trainings to compare with, an even number.")
    ] = 16,
    records: Annotated[int, typer.Option(min=250, help="Of a model: attacked examples at most.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of generated records: start of every draw.")] = 0,
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where page and pictures go.")] = Path(
        "audit"
    ),
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")
    ] = False,
) -> None:
    """Attack generated records, or the model of a run, and say whether training data are given away.

    Exits with 2 when the audit fails.

    For example:

    - `ayni data audit --generated made.npz --members real.npz --unseen other.npz`
    - `ayni data audit latest --method rmia --shadow-models 4`

    An .npz file holds `inputs` and `labels`.
    """
    files = (generated, members, unseen)
    if (run is None) == (generated is None) or (run is None and None in files) or (run and any(files)):
        raise AuditArgumentsError
    from ayni.wiring import data_audit as wiring

    title = f"Auditing {run or generated}"
    with terminal.progress(title) as progress:
        if generated is not None and members is not None and unseen is not None:
            found = wiring.audit_files(
                generated, members, unseen, seed=seed, output=output, progress=progress
            )
        else:
            from ayni.jobs.spec import AuditSpec

            asked = AuditSpec(method=method, shadow_models=shadow_models, records=records)
            found = wiring.audit_run(str(run), asked, output=output, progress=progress)
    _show(found, json=json)
    if found["verdict"]["kind"] == "fail":
        raise typer.Exit(2)


def _show(found: dict[str, Any], *, json: bool) -> None:
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import data_audit_parts

    for part in data_audit_parts.parts(found):
        terminal.show(part)
