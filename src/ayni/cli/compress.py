"""`ayni compress MODEL|show|compare`: make a trained model cheaper, and see what it cost.

Not covered: the work itself; it is a job like any other, which `ayni.workflows.run_job` tells.
"""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ayni.cli import terminal
from ayni.cli.model_or_command import ModelOrCommand
from ayni.cli.run import JsonOption, YesOption, hint_how_to_resume


class Preference(StrEnum):
    """What the chosen variant should be best in."""

    ENERGY = "energy"
    BYTES = "bytes"
    LATENCY = "latency"
    QUALITY = "quality"


class Better(StrEnum):
    """Which way a metric is better."""

    HIGHER = "higher"
    LOWER = "lower"


app = typer.Typer(
    cls=ModelOrCommand,
    invoke_without_command=True,
    no_args_is_help=True,
    subcommand_metavar="",
    rich_markup_mode="markdown",
    short_help="Compress a trained model; show and compare its variants.",
)


@app.callback()
def compress(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A safetensors file; a model of the local hub (`owner/name` or `owner/name@revision`); a "
            "folder of Transformers with config.json; or `task`, where the task builds the trained model. "
            "One that is called `show` is given as `./show`.",
            show_default=False,
        ),
    ],
    *,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="What the model is good for: `path/to/task.py:Object`, or for a folder of Transformers "
            "`perplexity` (language models) or `sentences` (encoders). A model of the hub has its own.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Text for `perplexity` (plain) and `sentences` (one a line).",
            show_default=False,
        ),
    ] = None,
    max_drop: Annotated[
        float,
        typer.Option(
            metavar="DROP",
            help="How much worse the first metric may become, in its own units: 0.01 is one point of "
            "accuracy, 0.5 lets a perplexity of 12 rise to 12.5.",
        ),
    ] = 0.01,
    better: Annotated[
        Better | None,
        typer.Option(
            metavar="WAY",
            help="`higher` or `lower`: which way the first metric is better. By default lower for "
            "`perplexity`, as it was trained for a model of the hub, and else higher.",
            show_default=False,
        ),
    ] = None,
    prefer: Annotated[
        Preference | None,
        typer.Option(
            metavar="TERM",
            help="What to be best in, within the allowed drop: `energy` (the default of a search), `bytes`, "
            "`latency` or `quality`.",
            show_default=False,
        ),
    ] = None,
    inferences: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="How often the model will be used: decides whether a variant pays back its own energy.",
        ),
    ] = 1_000_000,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Time after which a search tries nothing new, such as `90s` or `1h30m`; `10m` by default.",
            show_default=False,
        ),
    ] = None,
    budget_joules: Annotated[
        float | None,
        typer.Option(
            metavar="JOULES",
            help="Energy after which a search tries nothing new. It also stops at half of what the declared "
            "inferences take.",
            show_default=False,
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(metavar="N", help="Variants that a search measures at most; 20 by default."),
    ] = None,
    no_training: Annotated[
        bool, typer.Option("--no-training", help="Search without steps that train: recovery, distillation.")
    ] = False,
    steps: Annotated[
        str | None,
        typer.Option(
            metavar="STEPS",
            help="Do these steps instead of searching, each as in `job.yaml`, with `;` between them.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where to write the job; `NAME-compress` by default. Another job is never written over.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the job; the model's by default.", show_default=False),
    ] = None,
    publish: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME",
            help="Publish the model and its variants in the local hub.",
            show_default=False,
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            metavar="LICENCE", help="Under which licence, such as `apache-2.0`.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the job and show its plan; do nothing of it.")
    ] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Compress a trained model: search for what makes it cheaper within an allowed loss of quality.

    Pruning, low rank, distillation, recovery, 8 bits and fewer, 16-bit floats and several runtimes are tried
    and measured, the original among them. What is best is chosen; what it cost to find is said beside what
    it saves. It is an ordinary job, written into a folder of its own: `ayni resume` goes on after a stop.

    For example:

    - `ayni compress me/digits`
    - `ayni compress model.safetensors --task task.py:Digits --max-drop 0.01 --budget 10m`
    - `ayni compress ./SmolLM2-135M --task perplexity --text book.txt --max-drop 0.5`
    - `ayni compress me/digits --steps "prune: {channels: 0.5}; distill; quantize: {}"`
    - `ayni compress show` and `ayni compress compare latest full int8` look at the result
    """
    if context.invoked_subcommand is not None:
        return
    from ayni.workflows.compress_job import CompressRequest

    request = CompressRequest(
        model=model,
        task=task,
        text=text,
        max_drop=max_drop,
        better=None if better is None else better.value,
        prefer=None if prefer is None else prefer.value,
        inferences=inferences,
        steps=steps,
        budget=budget,
        budget_joules=budget_joules,
        trials=trials,
        trains=not no_training,
        output=output,
        name=name,
        publish=publish,
        licence=licence,
    )
    if dry_run:
        _plan(request, as_json=json)
    else:
        _run(request, yes=yes, as_json=json)


@app.command("show")
def show(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or `latest`.")
    ] = "latest",
    json: JsonOption = False,
) -> None:
    """Show the variants of a run: quality, size, speed, energy, and what changed in the chosen one.

    For example:

    - `ayni compress show`
    - `ayni compress show 20261122-093000 --json`
    """
    from ayni import wiring

    view = wiring.compress_show(run)
    if json:
        terminal.print_json(view)
        return
    from ayni.cli import compress_parts

    for part in compress_parts.variants_parts(view):
        terminal.show(part)


@app.command("compare")
def compare(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or `latest`.")],
    first: Annotated[
        str, typer.Argument(metavar="A", help="A variant of it; or another run, when B is left out.")
    ],
    second: Annotated[
        str | None, typer.Argument(metavar="B", help="The variant to compare A with.", show_default=False)
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare two variants of a run, or the chosen ones of two runs, side by side.

    For example:

    - `ayni compress compare latest full int8`
    - `ayni compress compare 20261122-093000 20261122-101500`
    """
    from ayni import wiring

    view = wiring.compress_compare(run, first, second)
    if json:
        terminal.print_json(view)
        return
    from ayni.cli import comparison_parts

    for part in comparison_parts.comparison_parts(view):
        terminal.show(part)


def _plan(request: Any, *, as_json: bool) -> None:
    with terminal.progress(f"Planning the compression of {request.model}") as progress:
        from ayni import wiring

        found = wiring.compress_plan(request, progress=progress)
    if as_json:
        terminal.print_json(found)
        return
    from ayni.cli import tables

    terminal.show(tables.plan_table(found["plan"]))
    terminal.show(tables.violations_text(found["plan"]))
    terminal.show(f"Wrote {found['job']}. Run it with: ayni run {shlex.quote(found['job'])}")


def _run(request: Any, *, yes: bool, as_json: bool) -> None:
    with terminal.progress(f"Compressing {request.model}") as progress, hint_how_to_resume():
        from ayni import wiring

        run = wiring.compress(
            request, yes=yes, progress=progress, approve=terminal.approval(progress, yes=yes)
        )
    if as_json:
        terminal.print_json(run)
        return
    from ayni.cli import compress_parts, tables

    for part in compress_parts.variants_parts(wiring.compress_show(run["run"])):
        terminal.show(part)
    for part in tables.closing_parts(run):
        terminal.show(part)
