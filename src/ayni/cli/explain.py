"""`ayni explain`: why a model answers as it does, and whether that can be believed."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ayni.cli import terminal
from ayni.cli.run import JsonOption


class Method(StrEnum):
    """How attributions are made."""

    AUTO = "auto"
    INTEGRATED_GRADIENTS = "integrated_gradients"
    ABLATION = "ablation"
    DEEPLIFT = "deeplift"
    GRADCAM = "gradcam"
    LAYER_INTEGRATED_GRADIENTS = "layer_integrated_gradients"


def explain(  # noqa: PLR0917 - one parameter an option
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="A run (its id, the beginning of it, `latest`, or its folder); a repository of the local "
            "hub (`owner/name`, `owner/name@revision`); the folder of a downloaded one; or a safetensors "
            "file.",
        ),
    ] = "latest",
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="`path/to/task.py:Object`: needed for a safetensors file; another one than was published "
            "for the rest. A run has its own.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        Method, typer.Option(help="How attributions are made; auto takes what fits the model's input.")
    ] = Method.AUTO,
    samples: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            max=1000,
            help="Test examples to explain, and as many that the chosen variant answers otherwise.",
        ),
    ] = 8,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Chooses the examples; the run's own by default.")
    ] = None,
    html: Annotated[
        Path, typer.Option(metavar="FILE", help="Where the page goes; pictures go into a folder beside it.")
    ] = Path("explanation.html"),
    json: JsonOption = False,
) -> None:
    """Explain what a trained model looks at, and say whether the explanation is to be believed.

    Each method is held against removing parts at random and against an untrained model; one that explains
    nothing is marked as such. The run stays as it is. The code of a repository is run: name only what you
    trust.

    For example:

    - `ayni explain latest --method deeplift --samples 16`
    - `ayni explain me/digits --html digits.html`
    - `ayni explain model.safetensors --task task.py:Digits`
    """
    from ayni.wiring import explain as wiring

    with terminal.progress(f"Explaining {what}") as progress:
        found = wiring.explain(
            what,
            task=task,
            method=method.value,
            samples=samples,
            seed=seed,
            page=html,
            progress=progress,
        )
    _show(found, json=json)


def _show(found: dict[str, Any], *, json: bool) -> None:
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import explain_parts

    for part in explain_parts.parts(found):
        terminal.show(part)
