"""`ayni footprint export|import|report`: receipts for others, figures of others, and all of it in one report.

Not covered: the work itself (`ayni.workflows.export_footprint`, `import_footprint`, `footprint_report`).
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ayni.cli import terminal


class Form(StrEnum):
    """What to export as."""

    SCI = "sci"
    BOAMPS = "boamps"
    CODECARBON = "codecarbon"
    PROMETHEUS = "prometheus"
    CARD = "card"


class Confidentiality(StrEnum):
    """Who may read a BoAmps report."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    SECRET = "secret"


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]


def export(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run or measurement by its id, the beginning of it, or `latest`; or the path of a "
            "folder or file with receipts.",
        ),
    ] = "latest",
    *,
    form: Annotated[
        Form,
        typer.Option(
            "--as",
            metavar="FORM",
            help="`sci` (Software Carbon Intensity, ISO/IEC 21031), `boamps` (Boavizta), `codecarbon` (its "
            "CSV: kilograms and kWh), `prometheus` (joules and grams), or `card` (`co2_eq_emissions` of a "
            "model card: grams).",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write there instead of standard output.", show_default=False),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            metavar="UNIT=NUMBER",
            help="What the work counts by: `run`, `epoch`, `1k images`, `1k tokens` or `1k requests`, with "
            "how many there were: `1k images=2500` for 2,500 images. Else as the receipts say, else runs.",
            show_default=False,
        ),
    ] = None,
    hardware: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="What it ran on, such as `2 x A100`, for SCI and cards.", show_default=False
        ),
    ] = None,
    training_type: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help="For a card: `pre-training` or `fine-tuning`; of a run, as its job says.",
            show_default=False,
        ),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="For BoAmps: `training`, `inference`, ...; else the steps.",
            show_default=False,
        ),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="For BoAmps: what the task is, such as `chatbot`.", show_default=False
        ),
    ] = None,
    confidentiality: Annotated[
        Confidentiality, typer.Option(metavar="WHO", help="For BoAmps: `public`, `internal`, ...")
    ] = Confidentiality.INTERNAL,
) -> None:
    """Export receipts in a form that others read.

    What is unknown is left out, null or refused, never 0. Figures that were imported are not exported.

    For example:

    - `ayni footprint export latest --as sci --unit "1k images=2500"`
    - `ayni footprint export 20260301-120000 --as card --out emissions.yaml`
    - `ayni footprint export --as prometheus --out /var/lib/node_exporter/ayni.prom`
    """
    from ayni.footprint.exports.options import ExportOptions, parse_unit
    from ayni.workflows.export_footprint import ExportForm, export_footprint

    options = ExportOptions(
        unit=None if unit is None else parse_unit(unit),
        hardware=hardware,
        training_type=training_type,
        stage=stage,
        family=family,
        confidentiality=confidentiality.value,
    )
    text = export_footprint(run, ExportForm(form.value), options=options, out=out)
    if out is None:
        # The text as it is: a table or a set of samples ends in one line feed.
        typer.echo(text, nl=False)
    else:
        terminal.complain(f"Wrote {out}")


def import_figures(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="An emissions.csv of CodeCarbon.", show_default=False),
    ],
    *,
    member: Annotated[str, typer.Option(metavar="NAME", help="Whose work it was.")] = "me",
    site: Annotated[str, typer.Option(metavar="NAME", help="Where it was done.")] = "unknown",
    time_zone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE",
            help="Of the times in the file, such as `Europe/Berlin`: CodeCarbon writes local ones and does "
            "not say which. UTC by default.",
            show_default=False,
        ),
    ] = None,
    pue: Annotated[
        float | None,
        typer.Option(
            metavar="PUE",
            help="What CodeCarbon multiplied the energy with, for files that do not say it.",
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(metavar="NAME", help="Who imports it; your account by default.", show_default=False),
    ] = "",
    json: JsonOption = False,
) -> None:
    """Import figures that CodeCarbon wrote: kept as they are, counted apart, never signed.

    Reports show them with the tier third-party. A file that grew may be imported again: each run counts
    once.

    For example:

    - `ayni footprint import emissions.csv --member uni-nord --time-zone Europe/Berlin`
    """
    from ayni.footprint.sums.third_party import ImportRequest
    from ayni.workflows.import_footprint import import_footprint

    request = ImportRequest(member=member, site=site, time_zone=time_zone, pue=pue, imported_by=by)
    found = import_footprint(file, request)
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import footprint_parts

    for part in footprint_parts.import_parts(found):
        terminal.show(part)


def report(
    *,
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="MONTH", help="The first month, as `2026-01`.", show_default=False),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option("--to", metavar="MONTH", help="The last month, as `2026-12`.", show_default=False),
    ] = None,
    member: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this member's; everybody's by default.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where page and JSON go; `footprint-report` in the home by default.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Add up every receipt of this home: per month, member, job and model, as a page and as JSON.

    Energy, carbon, embodied carbon, water and cost, with intervals, tiers and bases; what is unknown, what
    other tools measured, and what is not covered stand apart. With `--json` a page is written only with
    `--out`.

    For example:

    - `ayni footprint report --from 2026-01 --to 2026-12`
    - `ayni footprint report --member lab-a --out reports/`
    - `ayni footprint report --json`
    """
    from ayni.reports.sustainability.inputs import Period
    from ayni.workflows.footprint_report import footprint_report, write_footprint_report

    view = footprint_report(period=Period(first=first, last=last), member=member)
    path = None if json and out is None else write_footprint_report(view, out=out)
    if json:
        terminal.print_json(view)
        return
    from ayni.cli import footprint_parts

    for part in footprint_parts.report_parts(view, path):
        terminal.show(part)
