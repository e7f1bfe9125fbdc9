"""How a source is read: the options that `ayni data card` and `ayni data augment` share."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ayni.data.augmentation.policy import AugmentConfig
from ayni.data.config import DataConfig
from ayni.errors import UserError

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A file, a folder, a URL (s3://, hdfs://), a data set's page on a hub, or hub:owner/name.",
    ),
]
FormatOption = Annotated[
    Literal["auto", "arrays", "images", "csv", "parquet", "text", "dataset"],
    typer.Option("--format", help="What it is; auto tells by names and endings."),
]
LabelOption = Annotated[str, typer.Option(metavar="COLUMN", help="The column with the class.")]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="COLUMN", help="A column with inputs; may stand several times."),
]
SubsetOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A configuration of a data set repository.", show_default=False),
]
EncodingOption = Annotated[str, typer.Option(metavar="NAME", help="Of text: utf-8, latin-1, gb18030 ...")]
MissingOption = Annotated[
    Literal["refuse", "drop", "mean"], typer.Option(help="What is done with empty cells and NaN.")
]
SizeOption = Annotated[
    str | None,
    typer.Option(metavar="HEIGHTxWIDTH", help="What images are brought to.", show_default=False),
]
SplitSeedOption = Annotated[
    int, typer.Option("--split-seed", metavar="N", help="Of the split, as data.seed of a job.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]


class DataOptionsError(UserError):
    """An option does not say what it should."""


def read_config(source: str, *, size: str | None, **keys: Any) -> DataConfig:
    """The options as a job would say them.

    Raises:
        DataOptionsError: a value is refused.
    """
    try:
        return DataConfig(source=_expanded(source), size=_size(size), **keys)
    except ValueError as error:
        raise DataOptionsError(f"{error}.".replace("data.", "--", 1)) from error


def augment_config(**keys: Any) -> AugmentConfig:
    """The policy's options as a job would say them.

    Raises:
        DataOptionsError: a value is refused.
    """
    try:
        return AugmentConfig(**keys)
    except ValueError as error:
        raise DataOptionsError(f"{str(error).removesuffix('.')}.".replace("augment.", "--", 1)) from error


def _size(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise ValueError(f"--size is HEIGHTxWIDTH, as in 28x28, not {text!r}")
    return tuple(int(part) for part in parts)


def _expanded(source: str) -> str:
    return source if "://" in source else str(Path(source).expanduser())
