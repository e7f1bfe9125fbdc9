"""The object of a sustainability report: sums of receipts, what they rest on, and what they leave out.

Keys end in their unit; docs/footprint-report.md names them all. Every sum has its interval, says how many
of its parts are unknown, and is null then. Carbon has one sum a basis. What was imported stands apart.

Signatures and chains are checked here, since that takes the receipts alone. Sums against windows are for
`ayni footprint verify`.

Not covered: how it looks (`page`).
"""

from collections.abc import Callable, Sequence
from typing import Any

from ayni.footprint.sums.entries import FootprintEntry
from ayni.footprint.sums.kept_footprints import KeptFootprint
from ayni.footprint.sums.third_party import ImportedFile
from ayni.footprint.sums.totals import total_of
from ayni.reports.sustainability.inputs import ReportInputs, Selection, select
from ayni.reports.sustainability.node_accounts import node_accounts
from ayni.reports.sustainability.not_covered import not_covered, problems
from ayni.signing import BadSignatureError, verify_chain, verify_record

SCHEMA = "ayni/footprint-report/1"


def sustainability_view(inputs: ReportInputs) -> dict[str, Any]:
    """The report as plain JSON."""
    selection = select(inputs)
    counted, imported = selection.counted, selection.imported
    return {
        "schema": SCHEMA,
        "made_at": inputs.made_at.isoformat(),
        "version": inputs.version,
        "member": inputs.member,
        "period": _period(inputs, selection),
        "interval": "90 %",
        "totals": total_of(counted).to_json(),
        "by_month": _groups(counted, "month", lambda entry: entry.month),
        "by_member": _groups(counted, "member", lambda entry: entry.member),
        "by_job": _groups(counted, "job", lambda entry: entry.job),
        "by_model": _groups(counted, "model", lambda entry: entry.model),
        "by_tier": _groups(counted, "tier", lambda entry: entry.tier),
        "by_zone": _groups(counted, "zone", lambda entry: entry.zone),
        "imported": {
            "totals": total_of(imported).to_json(),
            "by_month": _groups(imported, "month", lambda entry: entry.month),
            "by_member": _groups(imported, "member", lambda entry: entry.member),
            "statements": [_statement(each, imported) for each in inputs.imports if _is_in(each, imported)],
        },
        "nodes": node_accounts(counted),
        "checks": _checks(inputs, selection),
        "not_covered": not_covered(inputs, selection),
        "left_out": problems(inputs),
        "entries": [_entry(entry) for entry in counted],
        "nested": [_entry(entry) for entry in selection.nested],
        "imported_entries": [_entry(entry) for entry in imported],
    }


def _period(inputs: ReportInputs, selection: Selection) -> dict[str, Any]:
    entries = [*selection.counted, *selection.imported]
    months = sorted(entry.month for entry in entries)
    return {
        "from": inputs.period.first,
        "to": inputs.period.last,
        "first_month": months[0] if months else None,
        "last_month": months[-1] if months else None,
        "first_started_at": min(entry.started_at for entry in entries).isoformat() if entries else None,
        "last_ended_at": max(entry.ended_at for entry in entries).isoformat() if entries else None,
    }


def _groups(
    entries: Sequence[FootprintEntry], name: str, key: Callable[[FootprintEntry], str | None]
) -> list[dict[str, Any]]:
    """One total a value of the key, in its order; None last."""
    groups: dict[str | None, list[FootprintEntry]] = {}
    for entry in entries:
        groups.setdefault(key(entry), []).append(entry)
    ordered = sorted(groups, key=lambda value: (value is None, value or ""))
    return [{name: value, **total_of(groups[value]).to_json()} for value in ordered]


def _statement(imported: ImportedFile, entries: Sequence[FootprintEntry]) -> dict[str, Any]:
    counted = [entry for entry in entries if entry.source.startswith(f"{imported.folder.name}/")]
    return {**imported.to_json(), "entries": len(counted)}


def _is_in(imported: ImportedFile, entries: Sequence[FootprintEntry]) -> bool:
    return any(entry.source.startswith(f"{imported.folder.name}/") for entry in entries)


def _checks(inputs: ReportInputs, selection: Selection) -> dict[str, Any]:
    """Which of the receipts behind the sums are as their keys signed them."""
    wanted = {entry.run for entry in [*selection.counted, *selection.nested]}
    kept = [each for each in inputs.kept if any(entry.run in wanted for entry in each.entries)]
    found = [text for each in kept if (text := _problem(each)) is not None]
    keys: dict[str, int] = {}
    for entry in [*selection.counted, *selection.nested]:
        keys[entry.public_key or "none"] = keys.get(entry.public_key or "none", 0) + 1
    return {
        "receipts": len(selection.counted) + len(selection.nested),
        "chains": len(kept),
        "chains_ok": len(kept) - len(found),
        "problems": found,
        "keys": [
            {"public_key": key, "receipts": num, "is_of_this_home": key == inputs.public_key}
            for key, num in sorted(keys.items())
        ],
    }


def _problem(kept: KeptFootprint) -> str | None:
    """What is wrong with the signatures or the chain of a folder; None when nothing is."""
    try:
        if not kept.problems:
            verify_chain(kept.receipts)
            return None
        for receipt in kept.receipts:
            verify_record(receipt)
    except BadSignatureError as error:
        return f"{kept.name}: {error}"
    return f"{kept.name}: a receipt of this chain cannot be added up, so that the chain has a hole"


def _entry(entry: FootprintEntry) -> dict[str, Any]:
    facility = entry.facility_microjoules
    return {
        **{name: getattr(entry, name) for name in ("run", "step", "job", "member", "model", "site", "node")},
        "month": entry.month,
        "started_at": entry.started_at.isoformat(),
        "ended_at": entry.ended_at.isoformat(),
        "wall_seconds": entry.wall_seconds,
        "tier": entry.tier,
        "meter": entry.meter,
        "scope": entry.scope,
        "energy_microjoules": None if entry.energy is None else entry.energy.to_json(),
        "pue": entry.pue,
        "facility_energy_microjoules": facility,
        "grams_co2e": None if entry.carbon is None else entry.carbon.to_json(),
        "basis": entry.basis,
        "zone": entry.zone,
        "grid_source": entry.grid_source,
        "worst_link": entry.worst_link,
        "embodied_grams_co2e": None if entry.embodied is None else entry.embodied.to_json(),
        "on_site_water_litres": None if entry.on_site_litres is None else entry.on_site_litres.to_json(),
        "off_site_water_litres": None if entry.off_site_litres is None else entry.off_site_litres.to_json(),
        "electricity_microcredits": entry.electricity_microcredits,
        "machine_microcredits": entry.machine_microcredits,
        "within": list(entry.within),
        "within_microjoules": entry.within_microjoules,
        "origin": entry.origin,
        "source": entry.source,
        "hash": entry.hash,
        "public_key": entry.public_key,
    }
