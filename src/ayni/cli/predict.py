"""`ayni predict`: use a published variant on files."""

from pathlib import Path
from typing import Annotated

import typer

from ayni.cli import terminal


def predict(
    repository: Annotated[
        str, typer.Argument(metavar="REPO", help="A published repository, for example me/digits.")
    ],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", help="Inputs: .png, .jpg, .npy, .json or .txt files, as the model takes them."
        ),
    ],
    variant: Annotated[
        str | None, typer.Option(help="Which variant; the chosen one when not given.", show_default=False)
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Which revision; the newest when not given.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Use a published model on files of your own.

    Images must look like those that the model learned from: the same size, and for the digits light ink on
    dark paper.

    Example: `ayni predict me/digits examples/digits/seven.png`
    """
    from ayni import wiring

    found = wiring.predict(repository, files, revision=revision, variant=variant)
    if json:
        terminal.print_json(found)
    else:
        from ayni.cli import tables

        terminal.show(tables.predictions_table(found))
