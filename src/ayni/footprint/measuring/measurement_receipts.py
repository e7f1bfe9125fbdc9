"""Receipts of a measurement that no job was made for: from its folder alone, also long afterwards.

Not covered: water on site, tariffs and prices: who has these has a site, and declares it in a job.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ayni.errors import AyniError
from ayni.files import read_json_lines
from ayni.footprint.grid.importers import read_intensity_file
from ayni.footprint.grid.intensity_series import GivenSeries
from ayni.footprint.impacts.sci import FunctionalUnit
from ayni.footprint.impacts.this_machine import this_machine
from ayni.footprint.measuring.measured_footprint import footprint_of
from ayni.footprint.measuring.measurement_folder import (
    Terms,
    abandoned_folders,
    read_result,
    settle_mark,
    write_result,
)
from ayni.footprint.receipts.receipt import (
    Receipt,
    ReceiptSubject,
    last_hash,
    read_receipt,
    receipt_of_step,
    receipt_paths,
    write_receipt,
)
from ayni.footprint.receipts.site_conditions import SiteConditions
from ayni.footprint.windows.node_meter import END
from ayni.footprint.windows.window_file import Row
from ayni.signing import SigningKey

MEMBER, SITE = "me", "own"


def conditions_here(zone: str | None, pue: float, grid_files: Iterable[Path] = ()) -> SiteConditions:
    """What holds for this machine: the grid by these files and, where they end, by the chain behind them.

    The first file's zone is taken where none is given.

    Raises:
        UnknownZoneError, GridFileError, MarginalReceiptError, BasisMismatchError: not with this zone and
        files.
    """
    series = [read_intensity_file(path, zone=zone) for path in grid_files]
    known_zone = zone or next((each.zone for each in series), None)
    series = [replace(each, zone=known_zone or each.zone) for each in series]
    conditions = SiteConditions(
        zone=known_zone,
        pue=pue,
        sources=(GivenSeries(*series),) if series else (),
        machine=this_machine(),
    )
    # Asked once before any work begins: later it would be too late to mend.
    conditions.terms_for([datetime.now(UTC)])
    return conditions


def receipts_of_windows(
    folder: Path,
    terms: Terms,
    conditions: SiteConditions,
    *,
    key: SigningKey | None,
    units: Mapping[str, FunctionalUnit],
) -> list[Receipt]:
    """A receipt for each step that has windows, signed and written unless that was done; in order of begin.

    Without a key they are only made: not chained, not signed, not written. `units` are by step.

    Raises:
        DamagedReceiptError: one that is there cannot be read.
        NotWritableError, DiskFullError: they cannot be written.
    """
    rows = [row for row in read_json_lines(folder / "meter" / "windows.jsonl") if isinstance(row, dict)]
    rows_by_step = _rows_by_step(rows)
    subject = ReceiptSubject(run=terms.id, job=terms.name, member=MEMBER, site=SITE, node=terms.node)
    receipts_folder = folder / "receipts"
    receipts = [read_receipt(path) for path in receipt_paths(receipts_folder)]
    have = {receipt["step"] for receipt in receipts}
    for step, of_step in rows_by_step.items():
        if step in have:
            continue
        body = receipt_of_step(
            of_step,
            step,
            subject=subject,
            conditions=conditions,
            functional_unit=units.get(step),
            previous_hash=last_hash(receipts_folder),
        )
        receipts.append(body if key is None else read_receipt(write_receipt(receipts_folder, body, key)))
    return receipts


def _rows_by_step(rows: list[Row]) -> dict[str, list[Row]]:
    """What each step's receipt needs: all meters, and its own lines. Steps are many, hours are long."""
    meters = [row for row in rows if row.get("kind") == "meter"]
    by_step: dict[str, list[Row]] = {}
    for row in rows:
        if row.get("kind") == "window" and row["step"] != END:
            by_step.setdefault(row["step"], [*meters]).append(row)
    for row in rows:
        if row.get("kind") == "interruption" and row["step"] in by_step:
            by_step[row["step"]].append(row)
    return by_step


def finish_abandoned(parent: Path, key: SigningKey) -> list[Path]:
    """Write the receipts of measurements in this home whose process was killed; the folders that it did.

    One that cannot be finished stays as it is, and says so in its result.json, which still reads "running".
    """
    done = []
    for folder in abandoned_folders(parent):
        try:
            _finish(folder, key)
        except (AyniError, OSError, ValueError, KeyError, TypeError):
            continue
        settle_mark(folder)
        done.append(folder)
    return done


def _finish(folder: Path, key: SigningKey) -> None:
    data = read_result(folder)
    if data["status"] != "running":
        return  # it ended between the look at its mark and the look at its lock
    terms = Terms.from_json(data)
    if terms.node != os.uname().nodename:
        raise ValueError(f"{folder} was measured on {terms.node}, whose locks are not seen from here")
    conditions = conditions_here(terms.zone, terms.pue, [Path(name) for name in terms.grid_files])
    receipts = receipts_of_windows(folder, terms, conditions, key=key, units=_units(data))
    write_result(
        folder,
        terms,
        "interrupted",
        **{name: data.get(name) for name in ("pid", "started_at")},
        # Killed before its first window was written, it measured nothing.
        ended_at=receipts[-1]["ended_at"] if receipts else None,
        footprint=footprint_of(receipts).to_json() if receipts else None,
    )


def _units(data: Mapping[str, Any]) -> dict[str, FunctionalUnit]:
    unit = data["functional_unit"]
    return {} if unit is None else {"run": FunctionalUnit(name=unit[0], count=unit[1])}
