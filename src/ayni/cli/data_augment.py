"""`ayni data augment`: views of a source as files, and a sheet to look at."""

from pathlib import Path
from typing import Annotated, Literal

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


def augment(
    source: SourceArgument,
    *,
    policy: Annotated[
        str, typer.Option(metavar="NAME", help="A ready-made policy, such as digits, photos, table, words.")
    ],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where views and sheet go.")] = Path("views"),
    views: Annotated[int, typer.Option(min=1, help="Views of each training row.")] = 1,
    strength: Annotated[float, typer.Option(help="Of every operation, as a multiple.")] = 1.0,
    backend: Annotated[
        Literal["own", "kornia", "albumentations"], typer.Option(help="Who makes views of images.")
    ] = "own",
    border: Annotated[
        Literal["reflect", "edge", "low"] | None,
        typer.Option(
            help="Beyond the edge of an image; as the policy has it by default.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of every draw.")] = 0,
    format_: FormatOption = "auto",
    label: LabelOption = "label",
    column: ColumnOption = None,
    subset: SubsetOption = None,
    encoding: EncodingOption = "utf-8",
    missing: MissingOption = "refuse",
    size: SizeOption = None,
    split_seed: SplitSeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Write views of a source's training rows, and of images a sheet of originals beside their views.

    Look at the sheet before a training is spent on a policy: a half-turned digit is another digit. A job
    makes its views while it trains (`data.augment`) and needs no such files.

    For example:

    - `ayni data augment flowers --policy photos --size 64x64 --output views`
    - `ayni data augment patients.csv --policy table --views 5 --seed 3`
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
    )
    asked = data_options.augment_config(policy=policy, strength=strength, backend=backend, border=border)
    from ayni.wiring import data as wiring

    with terminal.progress(f"Augmenting {source}") as progress:
        found = wiring.augment_data(config, asked, views=views, seed=seed, output=output, progress=progress)
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import data_parts

    for part in data_parts.augment_parts(found):
        terminal.show(part)
