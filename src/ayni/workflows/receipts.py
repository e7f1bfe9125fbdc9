"""Write the receipts that a run owes: one for each finished step, over all its energy windows."""

from collections.abc import Sequence
from typing import Any

from ayni.files import read_json_lines
from ayni.footprint.carbon import carbon_intensity
from ayni.footprint.receipts import (
    ReceiptSubject,
    build_receipt,
    cost_of,
    last_hash,
    read_receipt,
    receipt_paths,
    write_receipt,
)
from ayni.footprint.windows import total_of_windows
from ayni.jobs.runs import Run
from ayni.workflows.house import House
from ayni.workflows.offer import offer_of


def write_owed_receipts(run: Run, house: House, steps: Sequence[str]) -> None:
    """Sign a receipt for each of the finished steps that has none yet.

    Raises:
        DamagedReceiptError: the chain so far cannot be read.
    """
    folder = run.folder / "receipts"
    have = {receipt["step"] for receipt in receipts_of(run)}
    spec = run.job.spec
    subject = ReceiptSubject(
        run=run.id, job=spec.name, member=spec.member, site=spec.site.name, node=house.node
    )
    offer = offer_of(spec, house)
    rows = read_json_lines(run.folder / "meter" / "windows.jsonl")
    for step in steps:
        if step not in have:
            total = total_of_windows(rows, step, job=run.id)
            body = build_receipt(
                total,
                subject=subject,
                intensity=carbon_intensity(spec.site.zone),
                pue=spec.site.pue,
                cost=cost_of(
                    total,
                    pue=spec.site.pue,
                    tariff_microcredits_per_kwh=offer.electricity_microcredits_per_kwh,
                    ask_microcredits_per_core_hour=offer.ask_microcredits_per_core_hour,
                ),
                previous_hash=last_hash(folder),
            )
            write_receipt(folder, body, house.key)


def receipts_of(run: Run) -> list[dict[str, Any]]:
    """The signed receipts of a run in the order of their chain."""
    return [read_receipt(path) for path in receipt_paths(run.folder / "receipts")]
