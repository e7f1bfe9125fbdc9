"""Write the receipts that a run owes: one for each finished step, over all its energy windows."""

from collections.abc import Sequence
from typing import Any

from ayni.files import read_json_lines
from ayni.footprint.receipts.receipt import (
    ReceiptSubject,
    last_hash,
    read_receipt,
    receipt_of_step,
    receipt_paths,
    write_receipt,
)
from ayni.jobs.runs import Run
from ayni.workflows.house import House
from ayni.workflows.site_conditions import conditions_of_run


def write_owed_receipts(run: Run, house: House, steps: Sequence[str]) -> None:
    """Sign a receipt for each of the finished steps that has none yet.

    Raises:
        DamagedReceiptError: the chain so far cannot be read.
        GridFileError: the run's copy of a grid or price file was changed.
    """
    folder = run.folder / "receipts"
    have = {receipt["step"] for receipt in receipts_of(run)}
    spec = run.job.spec
    subject = ReceiptSubject(
        run=run.id, job=spec.name, member=spec.member, site=spec.site.name, node=house.node
    )
    conditions = conditions_of_run(run, house)
    rows = read_json_lines(run.folder / "meter" / "windows.jsonl")
    for step in steps:
        if step not in have:
            body = receipt_of_step(
                rows,
                step,
                subject=subject,
                conditions=conditions,
                previous_hash=last_hash(folder),
                privacy=(run.result(step) or {}).get("privacy") if step == "train" else None,
            )
            write_receipt(folder, body, house.key)


def receipts_of(run: Run) -> list[dict[str, Any]]:
    """The signed receipts of a run in the order of their chain."""
    return [read_receipt(path) for path in receipt_paths(run.folder / "receipts")]
