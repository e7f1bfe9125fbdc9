"""`ayni offers add|add-cloud|list|withdraw`: machines that a pool may use, and at which price.

Not covered: what becomes of them; `ayni market clear` shows it.
"""

from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ayni.cli import terminal

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Machines that a pool may use: add, add-cloud, list, withdraw.",
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
ForOption = Annotated[
    str, typer.Option("--for", metavar="TIME", help="How long the offer stands, such as 12h or 7d.")
]
ThroughputOption = Annotated[
    list[str] | None,
    typer.Option(
        "--throughput",
        metavar="KIND=RATIO",
        help="Work that a machine does in an hour where a V100 does 1, by kind of work: `any=0.5`, "
        "`vision=2`. By default what is known of its accelerator. May be given again.",
        show_default=False,
    ),
]


class Cloud(StrEnum):
    """Clouds of which a catalogue comes with Ayni."""

    GCP = "gcp"
    AWS = "aws"
    AZURE = "azure"
    ALIBABA = "alibaba"


@app.command("add")
def add_offer(
    site: Annotated[str, typer.Argument(metavar="SITE", help="What the place of the machines is called.")],
    *,
    ask: Annotated[
        float,
        typer.Option(metavar="CREDITS", help="Price of one machine for an hour, electricity included."),
    ],
    machines: Annotated[int, typer.Option(metavar="N", help="How many machines of the kind.")] = 1,
    cores: Annotated[int, typer.Option(metavar="N", help="Processor threads of one machine.")] = 8,
    memory: Annotated[float, typer.Option(metavar="GIB", help="Memory of one machine in GiB.")] = 32.0,
    accelerator: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its accelerator, such as V100 or A100.", show_default=False),
    ] = None,
    accelerators: Annotated[
        int, typer.Option(metavar="N", help="How many accelerators one machine has.")
    ] = 1,
    name: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="What machines of this kind are called; by default after the accelerator.",
            show_default=False,
        ),
    ] = None,
    watts: Annotated[
        float | None,
        typer.Option(
            metavar="WATTS",
            help="What one machine draws at work; by default from the accelerator and a model of the rest.",
            show_default=False,
        ),
    ] = None,
    throughput: ThroughputOption = None,
    zone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE",
            help="Grid of its electricity, such as DE or US-CA. Unknown is charged as a coal grid.",
            show_default=False,
        ),
    ] = None,
    pue: Annotated[
        float, typer.Option(metavar="RATIO", help="Energy of the building over that of machines.")
    ] = 1.0,
    reliability: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of machine-hours that end as they should.")
    ] = 1.0,
    member: Annotated[str, typer.Option(metavar="NAME", help="Who offers them, and is paid.")] = "me",
    from_: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            metavar="TIME",
            formats=["%Y-%m-%dT%H:%M%z", "%Y-%m-%dT%H:%M:%S%z"],
            help="When the offer begins, with its zone: 2026-03-01T20:00+0100; by default now.",
            show_default=False,
        ),
    ] = None,
    for_: ForOption = "7d",
    daily: Annotated[
        str | None,
        typer.Option(
            metavar="SPAN",
            help="Only at this time of each day, such as `20:00-06:00`, by the clock of `--timezone`.",
            show_default=False,
        ),
    ] = None,
    timezone: Annotated[
        str, typer.Option(metavar="NAME", help="Time zone of `--daily`, such as Europe/Berlin.")
    ] = "UTC",
    id_: Annotated[
        str | None,
        typer.Option(
            "--id", metavar="ID", help="What the offer is called; made up by default.", show_default=False
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Offer machines of your own to the pool.

    What is not said is taken from tables: throughput and power of the accelerator. What stands in no table
    must be said.

    For example:

    - `ayni offers add lab --machines 4 --accelerator V100 --ask 0.40 --zone DE --pue 1.3`
    - `ayni offers add lab --accelerator A100 --ask 1.10 --daily 20:00-06:00 --timezone Europe/Oslo --for 30d`
    - `ayni offers add office --cores 16 --memory 64 --ask 0.05 --zone FR --throughput any=0.06`
    """
    from ayni.market.offers import parse_duration
    from ayni.wiring import market as wiring
    from ayni.workflows.offer_machines import MachinesRequest, parse_throughput

    request = MachinesRequest(
        site=site,
        member=member,
        num_machines=machines,
        num_cores=cores,
        memory_gib=memory,
        ask_credits_per_hour=ask,
        seconds=parse_duration(for_),
        accelerator=accelerator,
        num_accelerators=accelerators,
        machine_class=name,
        watts=watts,
        throughput=parse_throughput(throughput or ()),
        zone=zone,
        pue=pue,
        reliability=reliability,
        start=from_,
        daily=daily,
        zone_of_clock=timezone,
        id=id_,
    )
    found = wiring.pool().add_offer(request)
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import pool_tables

    for part in pool_tables.added_parts(found):
        terminal.show(part)


@app.command("add-cloud")
def add_cloud(
    cloud: Annotated[Cloud, typer.Argument(metavar="CLOUD", help="`gcp`, `aws`, `azure` or `alibaba`.")],
    *,
    credits_per_dollar: Annotated[
        float,
        typer.Option(metavar="RATE", help="Credits that a US dollar costs; an exchange rate has no default."),
    ],
    accelerator: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only machines with this accelerator.", show_default=False),
    ] = None,
    region: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this region of the cloud.", show_default=False)
    ] = None,
    instance: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Only this machine type.", show_default=False)
    ] = None,
    spot: Annotated[
        bool, typer.Option("--spot", help="Capacity that the cloud may take back, at its lower price.")
    ] = False,
    prices: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Your own prices as CSV (region, instance_type, usd_per_hour) instead of the shipped ones.",
            show_default=False,
        ),
    ] = None,
    dated: Annotated[
        datetime | None,
        typer.Option(
            metavar="DATE",
            formats=["%Y-%m-%d"],
            help="Since when your prices hold, such as 2026-11-01.",
            show_default=False,
        ),
    ] = None,
    throughput: ThroughputOption = None,
    setup: Annotated[
        str, typer.Option(metavar="TIME", help="Billed time before work begins: start, software, data.")
    ] = "10m",
    lease: Annotated[
        str, typer.Option(metavar="TIME", help="Length of a lease over which the set-up is shared out.")
    ] = "4h",
    reliability: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Share of machine-hours that end as they should; assumed 0.999, and 0.9 with `--spot`.",
            show_default=False,
        ),
    ] = None,
    stale: Annotated[bool, typer.Option("--stale", help="Sell by prices that are out of date, too.")] = False,
    for_: ForOption = "7d",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be offered; add nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Offer machines of a cloud to the pool, at its list price with date and source.

    A job goes there only when it is worth so much and no member's machine is cheaper. Prices that are missing
    or stale are refused, never invented. Nothing is rented by this.

    For example:

    - `ayni offers add-cloud gcp --accelerator A100 --region europe-west4 --credits-per-dollar 0.9`
    - `ayni offers add-cloud aws --instance p3.2xlarge --credits-per-dollar 0.9 --dry-run`
    - `ayni offers add-cloud alibaba --prices mine.csv --dated 2026-11-01 --credits-per-dollar 0.9`
    """
    from ayni.market.offers import parse_duration
    from ayni.wiring import market as wiring
    from ayni.workflows.offer_cloud import CloudRequest, cloud_terms
    from ayni.workflows.offer_machines import parse_throughput

    request = CloudRequest(
        cloud=cloud.value,
        terms=cloud_terms(
            credits_per_dollar=credits_per_dollar,
            setup_seconds=parse_duration(setup),
            lease_seconds=parse_duration(lease),
            reliability=reliability,
            throughput=parse_throughput(throughput or ()),
            sells_stale=stale,
        ),
        seconds=parse_duration(for_),
        purchase="spot" if spot else "on-demand",
        accelerator=accelerator,
        region=region,
        instance_type=instance,
        prices=prices,
        dated=None if dated is None else date(dated.year, dated.month, dated.day),
    )
    found = wiring.pool().add_cloud(request, is_trial=dry_run)
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import pool_tables

    for part in pool_tables.added_parts(found, is_trial=dry_run):
        terminal.show(part)


@app.command("list")
def list_offers(
    all_: Annotated[bool, typer.Option("--all", help="Also those that are withdrawn or over.")] = False,
    json: JsonOption = False,
) -> None:
    """List the offers of the pool, the oldest first.

    For example:

    - `ayni offers list`
    - `ayni offers list --all --json`
    """
    from ayni.wiring import market as wiring

    offers = [each for each in wiring.pool().offers() if all_ or each["state"] == "open"]
    if json:
        terminal.print_json(offers)
    elif not offers:
        typer.echo(
            "Nothing is offered. Offer machines with: ayni offers add SITE --accelerator V100 --ask 0.4"
        )
    else:
        from ayni.cli import pool_tables

        terminal.show(pool_tables.offers_table(offers))


@app.command("withdraw")
def withdraw_offer(
    offer: Annotated[str, typer.Argument(metavar="OFFER", help="The id of the offer.")],
    json: JsonOption = False,
) -> None:
    """Take an offer back. It stays in the list of all, with the time.

    Example: `ayni offers withdraw lab-v100`
    """
    from ayni.wiring import market as wiring

    found = wiring.pool().withdraw_offer(offer)
    if json:
        terminal.print_json(found)
    else:
        typer.echo(f"Withdrawn: {found['id']}.")
