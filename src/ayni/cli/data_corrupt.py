"""`ayni data corrupt`: images under 15 kinds of corruption, and what they do to models."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ayni.cli import data_options, terminal
from ayni.cli.data_options import (
    ColumnOption,
    EncodingOption,
    FormatOption,
    JsonOption,
    LabelOption,
    SizeOption,
    SplitSeedOption,
    SubsetOption,
)
from ayni.errors import UserError


class CorruptOptionsError(UserError):
    """What is to be corrupted or measured is not said, or options do not go together."""


def corrupt(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE]",
            help="Images: a folder, a file, a URL, hub:owner/name. With --model their test split is shown "
            "instead of the one that the model's task brings.",
            show_default=False,
        ),
    ] = None,
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="Measure a run (its id, or latest) or a published model, owner/name[@revision]; with "
            ":VARIANT a variant of it. May stand several times.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL|FILE",
            help="What the mean corruption error is relative to: another such model, baseline (logistic "
            "regression), or the robustness.json of an earlier measurement.",
            show_default=False,
        ),
    ] = None,
    copies: Annotated[
        bool, typer.Option("--copies", help="Write corrupted copies as KIND/SEVERITY/CLASS/ROW.png.")
    ] = False,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND", help="Of copies: this kind; may stand several times.", show_default=False
        ),
    ] = None,
    severity: Annotated[
        list[int] | None,
        typer.Option(
            min=1, max=5, help="Of copies: this severity; may stand several times.", show_default=False
        ),
    ] = None,
    split: Annotated[
        Literal["train", "validation", "test"], typer.Option(help="Of copies: whose images.")
    ] = "test",
    samples: Annotated[int, typer.Option(min=1, help="Images at most, drawn by the seed.")] = 1000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the draw and of the corruptions.")] = 0,
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where files go.")] = Path("corrupted"),
    format_: FormatOption = "auto",
    label: LabelOption = "label",
    column: ColumnOption = None,
    subset: SubsetOption = None,
    encoding: EncodingOption = "utf-8",
    size: SizeOption = None,
    split_seed: SplitSeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Show images under the 15 corruptions of ImageNet-C at 5 severities, or measure models on them.

    With SOURCE alone: a sheet of kinds and severities to look at, and copies with --copies.

    With --model: clean error, error by kind and severity, and against a named reference the mean corruption
    error and the relative one; a table, robustness.json, and a page with curves.

    For example:

    - `ayni data corrupt flowers --size 64x64`
    - `ayni data corrupt flowers --copies --kind fog --severity 3 --output foggy`
    - `ayni data corrupt --model latest --reference baseline`
    - `ayni data corrupt flowers --model me/flowers:int8 --reference me/flowers`
    """
    config = None
    if source is not None:
        config = data_options.read_config(
            source,
            size=size,
            format=format_,
            label=label,
            columns=tuple(column or ()),
            subset=subset,
            encoding=encoding,
            seed=split_seed,
        )
    _check(source, model, reference=reference, copies=copies, kinds=kind, severities=severity)
    from ayni.wiring import data_corrupt as wiring

    if model:
        from ayni.workflows.corrupt_model import CorruptRequest

        request = CorruptRequest(models=model, reference=reference, data=config, samples=samples, seed=seed)
        with terminal.progress(f"Corrupting test images for {', '.join(model)}") as progress:
            found = wiring.corrupt_models(request, output=output, progress=progress)
    else:
        from ayni.data.corruptions.kinds import KINDS, SEVERITIES
        from ayni.data.corruptions.made import CorruptOptions

        assert config is not None
        options = CorruptOptions(
            kinds=_kinds(kind, KINDS),
            severities=sorted(set(severity or SEVERITIES)),
            split=split,
            copies=copies,
            samples=samples,
            seed=seed,
        )
        with terminal.progress(f"Corrupting {source}") as progress:
            found = wiring.corrupt_source(config, options, output=output, progress=progress)
    _show(found, is_measured=bool(model), json=json)


def _check(
    source: str | None,
    models: list[str] | None,
    *,
    reference: str | None,
    copies: bool,
    kinds: list[str] | None,
    severities: list[int] | None,
) -> None:
    if source is None and not models:
        raise CorruptOptionsError(
            "Name images to look at (ayni data corrupt FOLDER), or a model to measure "
            "(ayni data corrupt --model latest)."
        )
    if reference is not None and not models:
        raise CorruptOptionsError("--reference is what models are compared with: name one with --model.")
    if models and (copies or kinds or severities):
        raise CorruptOptionsError(
            "--copies, --kind and --severity are for files; a model is measured at all 75 settings. Leave "
            "out either them or --model."
        )
    if (kinds or severities) and not copies:
        raise CorruptOptionsError(
            "--kind and --severity choose copies, and the sheet always has all: add --copies."
        )


def _kinds(named: list[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    wanted = {name.replace("-", "_") for name in named or known}
    if unknown := wanted - set(known):
        raise CorruptOptionsError(f"--kind is {sorted(unknown)[0]!r}, expected one of {', '.join(known)}.")
    return tuple(name for name in known if name in wanted)


def _show(found: dict[str, Any], *, is_measured: bool, json: bool) -> None:
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import data_corrupt_parts

    parts = data_corrupt_parts.measured_parts if is_measured else data_corrupt_parts.made_parts
    for part in parts(found):
        terminal.show(part)
