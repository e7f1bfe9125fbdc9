"""A report of Software Carbon Intensity: the score, its terms, its boundary, and the receipts behind it.

    SCI = (O + M) / R,   O = E * I,   E = facility energy, I = what its hours weighed on the mean

The standard asks for the score, the software boundary and the method of each component; a component is a step
here. A part that is unknown makes the score unknown, and `reason` says which.

Not covered: the separate scores of provider and consumer of "SCI for AI"; certificates and offsets, which the
standard shuts out.

Source: SCI specification 1.1.0, ISO/IEC 21031:2024, "Procedure" and "Software boundary".
"""

from collections.abc import Sequence
from typing import Any

from ayni.footprint.counters.meters import TIERS
from ayni.footprint.exports.options import ExportOptions, hardware_of, to_export, unit_of
from ayni.footprint.grid.basis import Basis, BasisMismatchError
from ayni.footprint.impacts.quantities import Quantity
from ayni.footprint.impacts.sci import FunctionalUnit, SciScore
from ayni.footprint.sums.amounts import Amount
from ayni.footprint.sums.entries import FootprintEntry
from ayni.footprint.sums.totals import FootprintTotal, total_of
from ayni.units import MICROJOULES_PER_KWH, microjoules_to_kwh

SCHEMA = "ayni/sci-report/1"
STANDARD = "ISO/IEC 21031:2024 (SCI specification 1.1)"
EXCLUDED = (
    "devices of end users",
    "networks between organisations",
    "buildings and cooling other than by PUE",
    "offsets, certificates and contracts",
)
# From here on a figure is a model of the hardware and no reading of it.
_FIRST_MODEL = TIERS.index("W2")


def sci_report(entries: Sequence[FootprintEntry], options: ExportOptions | None = None) -> dict[str, Any]:
    """The report over all entries, as plain JSON.

    Raises:
        BasisMismatchError: carbon was counted on different bases.
        UnitError: receipts count by different units.
        NothingToExportError: another tool measured them.
    """
    options = options or ExportOptions()
    given = to_export(entries)
    total = total_of(given)
    if len(total.carbon) > 1:
        raise BasisMismatchError(total.carbon)
    unit, hardware = unit_of(given, options), hardware_of(given, options)
    score = _score(total, unit, hardware)
    reason = _why_unknown(total)
    return {
        "schema": SCHEMA,
        "standard": STANDARD,
        "software": "; ".join(dict.fromkeys(entry.job for entry in given)),
        "started_at": min(entry.started_at for entry in given).isoformat(),
        "ended_at": max(entry.ended_at for entry in given).isoformat(),
        "interval": "90 %",
        "score": score.to_json(),
        "reason": reason,
        "terms": _terms(given, total, unit),
        "boundary": {
            "included": list(dict.fromkeys(entry.scope for entry in given)),
            "excluded": list(EXCLUDED),
        },
        "components": [_component(entry, unit) for entry in given],
        "receipts": [{"run": e.run, "step": e.step, "hash": e.hash} for e in given],
        "public_keys": sorted({entry.public_key for entry in given if entry.public_key}),
    }


def _score(total: FootprintTotal, unit: FunctionalUnit, hardware: str) -> SciScore:
    (basis, carbon), *_ = total.carbon.items()
    energy = total.energy.amount
    return SciScore(
        unit=unit,
        operational_grams=_quantity(carbon.amount),
        embodied_grams=_quantity(total.embodied.amount),
        it_kwh=None if energy is None else _quantity(energy.times(1 / MICROJOULES_PER_KWH)),
        basis=Basis.of_text(basis),
        measured_on=hardware,
    )


def _quantity(amount: Amount | None) -> Quantity | None:
    return None if amount is None else amount.quantity()


def _why_unknown(total: FootprintTotal) -> str | None:
    (carbon,) = total.carbon.values()
    missing = []
    if carbon.num_unknown:
        missing.append(f"operational carbon of {carbon.num_unknown} of {total.num_entries} steps")
    if total.embodied.num_unknown:
        missing.append(f"embodied carbon of {total.embodied.num_unknown} of {total.num_entries} steps")
    return f"Unknown: {' and '.join(missing)}. A score without it would not be one." if missing else None


def _terms(entries: Sequence[FootprintEntry], total: FootprintTotal, unit: FunctionalUnit) -> dict[str, Any]:
    facility, (carbon,) = total.facility.amount, total.carbon.values()
    kwh = None if facility is None else microjoules_to_kwh(facility.value)
    grams = carbon.amount
    return {
        "E": {
            "facility_kwh": kwh,
            "it_kwh": None if total.energy.amount is None else microjoules_to_kwh(total.energy.known.value),
            "pue": sorted({entry.pue for entry in entries}),
        },
        "I": {
            "grams_co2e_per_kwh": None if not kwh or grams is None else grams.value / kwh,
            "zones": sorted({entry.zone for entry in entries}),
            "sources": sorted({entry.grid_source for entry in entries}),
            "facility_microjoules_by_link": dict(total.facility_microjoules_by_link),
        },
        "M": {"devices": _devices(entries)},
        "R": {"functional_unit": unit.name, "count": unit.count, "units": unit.number},
    }


def _devices(entries: Sequence[FootprintEntry]) -> list[dict[str, Any]]:
    """Each device once, with all the time that it was reserved."""
    devices: dict[tuple[str, str, float], dict[str, Any]] = {}
    for device in (dict(device) for entry in entries for device in entry.devices):
        key = (device["name"], device["method"], device["reserved_share"])
        if key in devices:
            devices[key]["reserved_hours"] += device["reserved_hours"]
        else:
            devices[key] = device
    return list(devices.values())


def _component(entry: FootprintEntry, unit: FunctionalUnit) -> dict[str, Any]:
    is_model = entry.tier not in TIERS or TIERS.index(entry.tier) >= _FIRST_MODEL
    grams = (
        None if entry.carbon is None or entry.embodied is None else entry.carbon.value + entry.embodied.value
    )
    return {
        "run": entry.run,
        "component": entry.step,
        "quantification": "calculation" if is_model else "measurement",
        "tier": entry.tier,
        "method": entry.meter,
        "operational_grams_co2e": None if entry.carbon is None else entry.carbon.to_json(),
        "embodied_grams_co2e": None if entry.embodied is None else entry.embodied.to_json(),
        "sci_grams_co2e_per_unit": None if grams is None else grams / unit.number,
    }
