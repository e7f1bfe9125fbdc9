"""Receipts: signed, chained records of what each step of a run drew, emitted and cost.

A receipt names the windows that it adds up (numbers and SHA-256), so that anybody can add them up
again. IT energy and facility energy (times PUE) are separate fields and never mixed. What is not known
is null: energy that no counter could tell, and water, which nothing here measures yet.

    facility energy = IT energy * PUE
    grams CO2e      = facility energy in kWh * grams per kWh
    interval        : logarithms of the independent factors (energy, intensity) add in quadrature
    machine         = reserved core-hours * ask
    electricity     = facility energy in kWh * tariff

A signature proves who said it, not that the watts are true: the tier stands beside every number.

Not covered: embodied carbon, water, tariffs and intensities that change by the hour.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayni.errors import AyniError
from ayni.files import read_json, write_json
from ayni.footprint.carbon import CarbonIntensity
from ayni.footprint.windows import EnergyTotal
from ayni.signing import FIRST_OF_CHAIN, SigningKey, sign_record
from ayni.units import microjoules_to_kwh

SCHEMA = "ayni/receipt/1"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a step cost in integer micro-credits, electricity and machine time apart.

    `electricity_microcredits` is None when its energy is unknown; then the total is, too. The prices
    (`tariff_microcredits_per_kwh` of facility energy, `ask_microcredits_per_core_hour`) are those that
    the amounts were computed with.
    """

    electricity_microcredits: int | None
    machine_microcredits: int
    tariff_microcredits_per_kwh: int
    ask_microcredits_per_core_hour: int

    @property
    def total_microcredits(self) -> int | None:
        """Electricity and machine time; None when the electricity is unknown."""
        if self.electricity_microcredits is None:
            return None
        return self.electricity_microcredits + self.machine_microcredits

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, with the total."""
        return {
            "electricity_microcredits": self.electricity_microcredits,
            "machine_microcredits": self.machine_microcredits,
            "total_microcredits": self.total_microcredits,
            "tariff_microcredits_per_kwh": self.tariff_microcredits_per_kwh,
            "ask_microcredits_per_core_hour": self.ask_microcredits_per_core_hour,
        }


def cost_of(
    total: EnergyTotal, *, pue: float, tariff_microcredits_per_kwh: int, ask_microcredits_per_core_hour: int
) -> Cost:
    """What the windows of a step cost at these prices; each line is rounded to the nearest micro-credit."""
    energy = total.job_microjoules
    core_hours = total.core_seconds / _SECONDS_PER_HOUR
    return Cost(
        electricity_microcredits=None
        if energy is None
        else round(microjoules_to_kwh(energy) * pue * tariff_microcredits_per_kwh),
        machine_microcredits=round(core_hours * ask_microcredits_per_core_hour),
        tariff_microcredits_per_kwh=tariff_microcredits_per_kwh,
        ask_microcredits_per_core_hour=ask_microcredits_per_core_hour,
    )


def facility_microjoules(it_microjoules: int | None, pue: float) -> int | None:
    """Energy of the whole facility: IT energy times PUE (power usage effectiveness, at least 1)."""
    if not pue >= 1:
        raise ValueError(f"PUE is facility energy over IT energy, so at least 1, not {pue}")
    return None if it_microjoules is None else round(it_microjoules * pue)


def grams_of_energy(
    total: EnergyTotal, pue: float, intensity: CarbonIntensity
) -> tuple[float, float, float] | None:
    """Grams of CO2e of a step with low and high (90 %); None when the energy is unknown."""
    energy, low, high = total.job_microjoules, total.low_microjoules, total.high_microjoules
    if energy is None or low is None or high is None:
        return None
    grams = microjoules_to_kwh(energy) * pue * intensity.grams_co2e_per_kwh
    if grams == 0:
        return 0.0, 0.0, 0.0
    low_factor = _in_quadrature(low / energy, intensity.low / intensity.grams_co2e_per_kwh)
    high_factor = _in_quadrature(high / energy, intensity.high / intensity.grams_co2e_per_kwh)
    return grams, grams / low_factor, grams * high_factor


def _in_quadrature(*factors: float) -> float:
    """exp(sqrt(sum ln(f)^2)): the factor of a product of independent quantities, above 1."""
    return math.exp(math.hypot(*(math.log(factor) for factor in factors if factor > 0)))


def build_receipt(
    total: EnergyTotal,
    *,
    subject: ReceiptSubject,
    intensity: CarbonIntensity,
    pue: float,
    cost: Cost,
    previous_hash: str = FIRST_OF_CHAIN,
) -> Receipt:
    """The body of one step's receipt, not yet signed."""
    return {
        "schema": SCHEMA,
        "run": subject.run,
        "job": subject.job,
        "step": total.step,
        "member": subject.member,
        "site": subject.site,
        "node": subject.node,
        "attempts": total.num_attempts,
        "started_at": total.started_at,
        "ended_at": total.ended_at,
        "wall_seconds": total.wall_seconds,
        "cpu_seconds": total.cpu_seconds,
        **_energy_fields(total, pue),
        "carbon": _carbon_fields(total, pue, intensity),
        "water": None,
        "cost": cost.to_json(),
        "node_account": {
            "node_microjoules": total.node_microjoules,
            "job_microjoules": total.job_microjoules,
            "other_jobs_microjoules": total.other_jobs_microjoules,
            "other_microjoules": total.other_microjoules,
            "unreserved_idle_microjoules": total.unreserved_idle_microjoules,
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
        "pue": pue,
        "facility_energy_microjoules": facility_microjoules(total.job_microjoules, pue),
    }


def _carbon_fields(total: EnergyTotal, pue: float, intensity: CarbonIntensity) -> dict[str, Any]:
    grams = grams_of_energy(total, pue, intensity)
    value, low, high = (None, None, None) if grams is None else grams
    return {
        "grams_co2e": value,
        "low_grams_co2e": low,
        "high_grams_co2e": high,
        "zone": intensity.zone,
        "grams_co2e_per_kwh": intensity.grams_co2e_per_kwh,
        "low_grams_co2e_per_kwh": intensity.low,
        "high_grams_co2e_per_kwh": intensity.high,
        "basis": intensity.basis,
        "source": intensity.source,
        "year": intensity.year,
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
