"""`ayni data generate`: synthetic examples of a data set's classes, to be shared in its place."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ayni.cli import terminal


def generate(  # noqa: PLR0917 - one parameter an option
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="What to learn from: an .npz file with `inputs` and `labels`, `path/to/task.py:Object` or a "
            "run; or a published generator to sample from, `owner/name` or `owner/name@revision`.",
        ),
    ],
    kind: Annotated[
        Literal["gaussian", "copula", "vae", "gan", "flow"] | None,
        typer.Option(
            help="`flow` when not given. `gaussian` costs nothing and is hard to beat on few small images; "
            "`copula` is for tables.",
            show_default=False,
        ),
    ] = None,
    per_class: Annotated[int, typer.Option(min=1, help="Examples to make of each class.")] = 100,
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where generator, examples, sheet and card go.")
    ] = Path("synthetic"),
    seed: Annotated[int, typer.Option(min=0, help="Of learning and sampling.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of vae, gan and flow.")] = 1500,
    learners: Annotated[int, typer.Option(min=1, help="Learners that share the steps.")] = 1,
    engine: Annotated[
        str,
        typer.Option(
            help="Where they learn: `here` (this process), `local` (worker processes), or the address of a "
            "Dask scheduler whose workers see this machine's temporary folder."
        ),
    ] = "here",
    shrinkage: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Of gaussian: more gives less away. Estimated when not given.",
            show_default=False,
        ),
    ] = None,
    category_column: Annotated[
        list[int] | None,
        typer.Option(
            help="A column whose numbers only name something; may be given again.", show_default=False
        ),
    ] = None,
    unseen: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Records of the same source that are not learned from, for the leak audit. Of tasks and "
            "runs it is the test split.",
            show_default=False,
        ),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What the records are.", show_default=False),
    ] = None,
    licence: Annotated[
        str | None, typer.Option(metavar="LICENCE", help="Of the records, for the card.", show_default=False)
    ] = None,
    publish: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="Publish examples and generator.", show_default=False),
    ] = None,
    samples_only: Annotated[
        bool, typer.Option("--samples-only", help="Publish the examples without the generator.")
    ] = False,
    publish_anyway: Annotated[
        bool, typer.Option("--publish-anyway", help="Publish after a failed leak audit; the card says so.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")
    ] = False,
) -> None:
    """Make synthetic examples: learn a generator from data, or take a published one.

    Sharing them helps others who have few examples. Training on what was made of your own few does not:
    augment those instead.

    For example:

    - `ayni data generate digits.npz --kind flow --per-class 100 --output made --unseen other.npz`
    - `ayni data generate task.py:Digits --kind gaussian --publish me/digits-synthetic`
    - `ayni data generate me/digits-synthetic@3f2a9c1 --per-class 300`
    """
    from ayni.wiring import data_generate as wiring

    request = wiring.GenerateRequest(
        source=source,
        kind=kind,
        per_class=per_class,
        output=output,
        seed=seed,
        steps=steps,
        learners=learners,
        engine=engine,
        shrinkage=shrinkage,
        category_columns=tuple(category_column or ()),
        unseen=unseen,
        of=of,
        licence=licence,
        publish=publish,
        samples_only=samples_only,
        publish_anyway=publish_anyway,
    )
    with terminal.progress(f"Synthetic examples of {source}") as progress:
        found = wiring.generate(request, progress=progress)
    if json:
        terminal.print_json(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    card = found["generator"]
    audit = card["audit"]
    terminal.show(f"{found['num_samples']} synthetic examples: {found['samples']}")
    if found["sheet"] is not None:
        terminal.show(f"A sheet to look at: {found['sheet']}")
    if audit is None:
        terminal.show("No leak audit was run: give --unseen records that were not learned from.")
    else:
        reasons = "; ".join(audit["verdict"]["reasons"])
        terminal.show(f"Leak audit: {audit['verdict']['kind']}. {reasons}")
    if found["published"] is not None:
        published = found["published"]
        terminal.show(f"Published {published['repository']}@{published['revision'][:12]}")
