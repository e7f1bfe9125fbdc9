"""Receipts: signed, chained records of what each step of a run drew, emitted and cost.

A receipt names the windows that it adds up (numbers and SHA-256) and the terms that it computes with (grid
hour by hour, PUE, water, machines, prices), so that anybody can compute it again. IT energy and
facility energy (times PUE) are separate fields and never mixed. What is not known is null, and so is
every sum that holds it.

    facility energy = IT energy * PUE
    grams CO2e      = sum over hours of facility energy * grams per kWh               (`emissions`)
    embodied        = making of the machine * reserved hours / lifetime * reserved share   (`embodied`)
    litres          = IT energy * WUE + facility energy * litres per kWh              (`water`)
    electricity     = sum over hours of facility energy * price                       (`tariffs`)
    machine         = reserved core-hours * ask

A signature proves who said it, not that the watts are true: the tier stands beside every number.

Not covered: making of buildings and networks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayni.errors import AyniError
from ayni.files import read_json, write_json
from ayni.footprint.grid.tariffs import electricity_cost
from ayni.footprint.impacts.embodied import embodied_grams
from ayni.footprint.impacts.emissions import (
    Emissions,
    HourlyEnergy,
    emissions_of,
    facility_microjoules,
    hourly_energy,
)
from ayni.footprint.impacts.quantities import Quantity, correlated_sum
from ayni.footprint.impacts.sci import FunctionalUnit
from ayni.footprint.impacts.water import water_of
from ayni.footprint.receipts.receipt_terms import BY_CORES, WHOLE, ReceiptTerms
from ayni.footprint.receipts.site_conditions import SiteConditions
from ayni.footprint.windows.window_file import EnergyTotal, Row, total_of_windows
from ayni.signing import FIRST_OF_CHAIN, SigningKey, sign_record
from ayni.units import microjoules_to_kwh

SCHEMA = "ayni/receipt/2"
_SECONDS_PER_HOUR = 3600.0
Receipt = dict[str, Any]


class DamagedReceiptError(AyniError):
    """A receipt file is not JSON, or not a receipt."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"{path} does not hold a receipt. Put the same file back from a backup or a copy of the run. "
            "Receipts of the steps before publishing are also in the published repository, in its folder "
            "receipts/."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptSubject:
    """Whose work this was, and where: names, as the job file and the machine give them."""

    run: str
    job: str
    member: str
    site: str
    node: str


def receipt_of_step(
    rows: Iterable[Row],
    step: str,
    *,
    subject: ReceiptSubject,
    conditions: SiteConditions,
    functional_unit: FunctionalUnit | None = None,
    previous_hash: str = FIRST_OF_CHAIN,
    privacy: Mapping[str, Any] | None = None,
) -> Receipt:
    """The body of one step's receipt over its windows, not yet signed.

    `privacy` is what the step promises about its data; a receipt without a promise has no such key.

    Raises:
        ValueError: the step has no window.
        UnknownZoneError, BasisMismatchError, MarginalReceiptError: see `SiteConditions.terms_for`.
    """
    all_rows = list(rows)
    energy = hourly_energy(all_rows, step, job=subject.run)
    terms = conditions.terms_for(
        () if energy is None else energy.microjoules, functional_unit=functional_unit
    )
    total = total_of_windows(all_rows, step, job=subject.run)
    receipt = build_receipt(total, energy, subject=subject, terms=terms, previous_hash=previous_hash)
    return receipt if privacy is None else {**receipt, "privacy": dict(privacy)}


def build_receipt(
    total: EnergyTotal,
    energy: HourlyEnergy | None,
    *,
    subject: ReceiptSubject,
    terms: ReceiptTerms,
    previous_hash: str = FIRST_OF_CHAIN,
) -> Receipt:
    """The body of a receipt of `total`, whose energy by the hour is `energy` (None: unknown), on `terms`."""
    emissions = None
    if energy is not None:
        emissions = emissions_of(
            energy, terms.weights, basis=terms.basis, pue=terms.pue, pue_factors=terms.pue_factors
        )
    unit = terms.functional_unit
    return {
        "schema": SCHEMA,
        "run": subject.run,
        "job": subject.job,
        "step": total.step,
        "member": subject.member,
        "site": subject.site,
        "node": subject.node,
        "within": _within(total),
        "attempts": total.num_attempts,
        "started_at": total.started_at,
        "ended_at": total.ended_at,
        "wall_seconds": total.wall_seconds,
        "cpu_seconds": total.cpu_seconds,
        **_energy_fields(total, terms.pue),
        "carbon": _carbon_fields(emissions, terms),
        "embodied": _embodied_fields(total, terms),
        "water": _water_fields(total, terms),
        "cost": _cost_fields(total, emissions, terms),
        "functional_unit": None if unit is None else {"name": unit.name, "count": unit.count},
        "node_account": {
            "node_microjoules": total.node_microjoules,
            "job_microjoules": total.job_microjoules,
            "other_jobs_microjoules": total.other_jobs_microjoules,
            "other_microjoules": total.other_microjoules,
            "unreserved_idle_microjoules": total.unreserved_idle_microjoules,
            "neighbours_microjoules": total.neighbours_microjoules,
        },
        "windows": {
            "first": total.window_ranges[0][0],
            "last": total.window_ranges[-1][1],
            "count": total.num_windows,
            "ranges": [list(pair) for pair in total.window_ranges],
            "sha256": total.windows_sha256,
        },
        "unmetered_seconds_at_most": total.unmetered_seconds_at_most,
        "previous_hash": previous_hash,
    }


def _within(total: EnergyTotal) -> dict[str, Any] | None:
    """The meters that this one ran inside of, nearest first, and how much of its energy they hold as well."""
    if not total.within_runs:
        return None
    return {
        "run": total.within_runs[0],
        "runs": list(total.within_runs),
        "energy_microjoules": total.within_microjoules,
    }


def _energy_fields(total: EnergyTotal, pue: float) -> dict[str, Any]:
    parts = [part for meter in total.meters for part in (meter["processor"], meter["device"]) if part]
    return {
        "energy_microjoules": total.job_microjoules,
        "energy_low_microjoules": total.low_microjoules,
        "energy_high_microjoules": total.high_microjoules,
        "tier": total.tier,
        "meter": "; ".join(dict.fromkeys(part["method"] for part in parts)),
        "scope": "; ".join(dict.fromkeys(part["scope"] for part in parts)),
        "unknown_parts": sorted({name for meter in total.meters for name in meter["unknown"]}),
        "meter_notes": list(dict.fromkeys(note for meter in total.meters for note in meter["notes"])),
        "pue": pue,
        "facility_energy_microjoules": facility_microjoules(total.job_microjoules, pue),
    }


_CARBON_OF_UNKNOWN_ENERGY: dict[str, Any] = {
    "grams_co2e": None,
    "low_grams_co2e": None,
    "high_grams_co2e": None,
    "zone": "unknown",
    "source": "none: the energy is unknown",
    "worst_link": "unknown",
    "facility_microjoules_by_link": {},
    "grams_co2e_per_kwh": None,
    "hours": [],
}


def _carbon_fields(emissions: Emissions | None, terms: ReceiptTerms) -> dict[str, Any]:
    known = _CARBON_OF_UNKNOWN_ENERGY if emissions is None else emissions.to_json()
    return {
        **known,
        "declared_zone": terms.declared_zone,
        "basis": str(terms.basis),
        "pue": terms.pue,
        "pue_factors": list(terms.pue_factors),
        "notes": list(terms.notes),
    }


def _embodied_fields(total: EnergyTotal, terms: ReceiptTerms) -> dict[str, Any]:
    """What making the machines adds; its sum is None where the machine is not known."""
    hours = total.wall_seconds / _SECONDS_PER_HOUR
    num_cores = max(meter["cores"] for meter in total.meters)
    core_seconds = total.wall_seconds * num_cores
    core_share = min(1.0, total.core_seconds / core_seconds) if core_seconds else 1.0
    machines = [] if terms.machine is None else [(terms.machine, core_share, BY_CORES)]
    reserved = [*machines, *((device, total.device_share, WHOLE) for device in terms.accelerators)]
    grams = correlated_sum(
        embodied_grams(device, reserved_hours=hours, reserved_share=share) for device, share, _ in reserved
    )
    devices = [
        {**device.to_json(), "reserved_hours": hours, "reserved_share": share, "reserved_by": reserved_by}
        for device, share, reserved_by in reserved
    ]
    return {**_ends(None if terms.machine is None else grams, "grams_co2e"), "devices": devices}


def _ends(quantity: Quantity | None, name: str) -> dict[str, float | None]:
    if quantity is None:
        return {name: None, f"low_{name}": None, f"high_{name}": None}
    return {name: quantity.value, f"low_{name}": quantity.low, f"high_{name}": quantity.high}


def _water_fields(total: EnergyTotal, terms: ReceiptTerms) -> dict[str, Any]:
    wue = terms.wue_litres_per_kwh
    used = water_of(
        _it_kwh(total),
        pue=terms.pue,
        wue_litres_per_kwh=None if wue is None else Quantity.exact(wue),
        intensity=terms.water,
    )
    return {
        **used.to_json(),
        "wue_litres_per_kwh": wue,
        "litres_per_kwh": terms.water.litres_per_kwh.to_json(),
        "source": terms.water.source,
    }


def _it_kwh(total: EnergyTotal) -> Quantity | None:
    energy, low, high = total.job_microjoules, total.low_microjoules, total.high_microjoules
    if energy is None or low is None or high is None:
        return None
    return Quantity(
        value=microjoules_to_kwh(energy), low=microjoules_to_kwh(low), high=microjoules_to_kwh(high)
    )


def _cost_fields(total: EnergyTotal, emissions: Emissions | None, terms: ReceiptTerms) -> dict[str, Any]:
    """Electricity and machine time in integer micro-credits, apart; unknown energy has no price."""
    machine = round(total.core_seconds / _SECONDS_PER_HOUR * terms.ask_microcredits_per_core_hour)
    by_hour = {} if emissions is None else emissions.facility_microjoules_by_hour
    electricity = None
    if emissions is not None:
        electricity = electricity_cost(by_hour, terms.tariff).microcredits
    hourly = [(hour.isoformat(), terms.tariff.hourly_price(hour)) for hour in sorted(by_hour)]
    is_flat = all(price is None for _, price in hourly)
    return {
        "electricity_microcredits": electricity,
        "machine_microcredits": machine,
        "total_microcredits": None if electricity is None else electricity + machine,
        "tariff": terms.tariff.name,
        "tariff_microcredits_per_kwh": terms.tariff.flat_microcredits_per_kwh,
        "prices": []
        if is_flat
        else [{"hour": hour, "microcredits_per_kwh": price} for hour, price in hourly],
        "ask_microcredits_per_core_hour": terms.ask_microcredits_per_core_hour,
    }


def write_receipt(folder: Path, body: Receipt, key: SigningKey) -> Path:
    """Sign a receipt and store it as the next of `folder` (receipts/0001-plan.json, ...).

    Raises:
        ValueError: the receipt does not follow the last one of the folder.
    """
    existing = receipt_paths(folder)
    last_hash = read_receipt(existing[-1])["hash"] if existing else FIRST_OF_CHAIN
    if body["previous_hash"] != last_hash:
        raise ValueError(
            f"the receipt of {body['step']} follows {body['previous_hash'][:12]}, not {last_hash[:12]}"
        )
    path = folder / f"{len(existing) + 1:04d}-{body['step']}.json"
    write_json(path, sign_record(body, key))
    return path


def last_hash(folder: Path) -> str:
    """The `previous_hash` for the next receipt of this folder."""
    existing = receipt_paths(folder)
    if not existing:
        return FIRST_OF_CHAIN
    value: str = read_receipt(existing[-1])["hash"]
    return value


def receipt_paths(folder: Path) -> list[Path]:
    """The receipts of a folder in the order of their chain."""
    return sorted(folder.glob("[0-9][0-9][0-9][0-9]-*.json"))


def read_receipt(path: Path) -> Receipt:
    """One signed receipt, not verified.

    Raises:
        DamagedReceiptError: not JSON, or not an object with a hash.
    """
    try:
        receipt = read_json(path)
    except (ValueError, OSError) as error:
        raise DamagedReceiptError(path) from error
    if not isinstance(receipt, dict) or not isinstance(receipt.get("hash"), str):
        raise DamagedReceiptError(path)
    return receipt
