"""`ayni data card`: what a source holds, where it comes from, and the hash of its content."""

from typing import Annotated

import typer

from ayni.cli import data_options, terminal
from ayni.cli.data_options import (
    ColumnOption,
    EncodingOption,
    FormatOption,
    JsonOption,
    LabelOption,
    MissingOption,
    SizeOption,
    SourceArgument,
    SplitSeedOption,
    SubsetOption,
)


def card(
    source: SourceArgument,
    *,
    format_: FormatOption = "auto",
    label: LabelOption = "label",
    column: ColumnOption = None,
    subset: SubsetOption = None,
    encoding: EncodingOption = "utf-8",
    missing: MissingOption = "refuse",
    size: SizeOption = None,
    split_seed: SplitSeedOption = 0,
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the data are called.", show_default=False)
    ] = None,
    licence: Annotated[
        str | None, typer.Option(metavar="ID", help="As on the Hugging Face Hub.", show_default=False)
    ] = None,
    attribution: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Whom to name.", show_default=False)
    ] = None,
    shards: Annotated[int, typer.Option(min=0, help="Cut training rows into so many shards.")] = 0,
    alpha: Annotated[
        float | None,
        typer.Option(help="Skew of classes between shards (Dirichlet); small is more.", show_default=False),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show the data card of a source: rows, classes, splits, licence, origin, SHA-256 of its content.

    Reads everything, and says file and row of what cannot be read.

    For example:

    - `ayni data card flowers --size 64x64 --licence cc-by-4.0`
    - `ayni data card reviews.csv --label stars --column text --encoding gb18030`
    - `ayni data card digits.npz --shards 5 --alpha 0.3 --json`
    """
    config = data_options.read_config(
        source,
        size=size,
        format=format_,
        label=label,
        columns=tuple(column or ()),
        subset=subset,
        encoding=encoding,
        missing=missing,
        seed=split_seed,
        name=name,
        licence=licence,
        attribution=attribution,
    )
    from ayni.wiring import data as wiring

    found = wiring.data_card(config, num_shards=shards, alpha=alpha)
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import data_parts

    for part in data_parts.card_parts(found):
        terminal.show(part)
