"""What a run cost: the sums over its signed receipts, with their intervals.

Energy, carbon and cost of the receipts are added up; low and high ends are added too, because the
windows of one meter are wrong together, not independently (the interval does not shrink with their
number). A sum with an unknown part is unknown.

Not covered: whether the receipts are true to their windows; `ayni verify` checks that.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ayni.footprint.counters.meters import TIERS
from ayni.footprint.grid.intensity_chain import LINKS
from ayni.units import MICROJOULES_PER_JOULE, joules_to_kwh

NODE_KEYS = (
    "node_microjoules",
    "job_microjoules",
    "other_jobs_microjoules",
    "other_microjoules",
    "unreserved_idle_microjoules",
    "neighbours_microjoules",
)


def footprint_view(receipts: Sequence[Mapping[str, Any]], *, folder: Path) -> dict[str, Any] | None:
    """Totals of a run and one entry a receipt; None when no step has been settled."""
    if not receipts:
        return None
    steps = [_step(receipt) for receipt in receipts]
    first = steps[0]
    return {
        "energy_joules": _sum(steps, "energy_joules"),
        "energy_low_joules": _sum(steps, "energy_low_joules"),
        "energy_high_joules": _sum(steps, "energy_high_joules"),
        "energy_tier": _worst_tier(steps),
        "meter": first["meter"],
        "facility_energy_joules": _sum(steps, "facility_energy_joules"),
        "pue": first["pue"],
        "grams_co2e": _sum(steps, "grams_co2e"),
        "low_grams_co2e": _sum(steps, "low_grams_co2e"),
        "high_grams_co2e": _sum(steps, "high_grams_co2e"),
        "grams_co2e_per_kwh": _mean_intensity(steps),
        "zone": _joined(steps, "zone"),
        "basis": _joined(steps, "basis"),
        "source": _joined(steps, "source"),
        "carbon_link": _worst_link(steps),
        "embodied_grams_co2e": _sum(steps, "embodied_grams_co2e"),
        "low_embodied_grams_co2e": _sum(steps, "low_embodied_grams_co2e"),
        "high_embodied_grams_co2e": _sum(steps, "high_embodied_grams_co2e"),
        "on_site_litres": _sum(steps, "on_site_litres"),
        "off_site_litres": _sum(steps, "off_site_litres"),
        "water_litres": _sum(steps, "water_litres"),
        "electricity_microcredits": _sum(steps, "electricity_microcredits"),
        "machine_microcredits": _sum(steps, "machine_microcredits"),
        "cost_microcredits": _sum(steps, "cost_microcredits"),
        "wall_seconds": _sum(steps, "wall_seconds"),
        "unmetered_seconds_at_most": _sum(steps, "unmetered_seconds_at_most"),
        "node": _node_account(receipts),
        "steps": steps,
    }


def _step(receipt: Mapping[str, Any]) -> dict[str, Any]:
    carbon = receipt.get("carbon") or {}
    cost = receipt.get("cost") or {}
    embodied = receipt.get("embodied") or {}
    return {
        "step": receipt.get("step"),
        "attempts": receipt.get("attempts"),
        "started_at": receipt.get("started_at"),
        "ended_at": receipt.get("ended_at"),
        "wall_seconds": receipt.get("wall_seconds"),
        "site": receipt.get("site"),
        "energy_joules": _joules(receipt.get("energy_microjoules")),
        "energy_low_joules": _joules(receipt.get("energy_low_microjoules")),
        "energy_high_joules": _joules(receipt.get("energy_high_microjoules")),
        "energy_tier": receipt.get("tier"),
        "meter": receipt.get("meter"),
        "facility_energy_joules": _joules(receipt.get("facility_energy_microjoules")),
        "pue": receipt.get("pue"),
        "grams_co2e": carbon.get("grams_co2e"),
        "low_grams_co2e": carbon.get("low_grams_co2e"),
        "high_grams_co2e": carbon.get("high_grams_co2e"),
        "grams_co2e_per_kwh": carbon.get("grams_co2e_per_kwh"),
        "zone": carbon.get("zone"),
        "basis": carbon.get("basis"),
        "source": carbon.get("source"),
        "carbon_link": carbon.get("worst_link"),
        "embodied_grams_co2e": embodied.get("grams_co2e"),
        "low_embodied_grams_co2e": embodied.get("low_grams_co2e"),
        "high_embodied_grams_co2e": embodied.get("high_grams_co2e"),
        "on_site_litres": _litres(receipt, "on_site_litres"),
        "off_site_litres": _litres(receipt, "off_site_litres"),
        "water_litres": _litres(receipt, "total_litres"),
        "electricity_microcredits": cost.get("electricity_microcredits"),
        "machine_microcredits": cost.get("machine_microcredits"),
        "cost_microcredits": cost.get("total_microcredits"),
        "unmetered_seconds_at_most": receipt.get("unmetered_seconds_at_most"),
        "hash": receipt.get("hash"),
        "public_key": receipt.get("public_key"),
    }


def _litres(receipt: Mapping[str, Any], name: str) -> float | None:
    litres = (receipt.get("water") or {}).get(name)
    return None if litres is None else litres["value"]


def _joules(microjoules: int | None) -> float | None:
    return None if microjoules is None else microjoules / MICROJOULES_PER_JOULE


def _sum(steps: Sequence[Mapping[str, Any]], key: str) -> Any:
    values = [step[key] for step in steps]
    return None if any(value is None for value in values) else sum(values)


def _mean_intensity(steps: Sequence[Mapping[str, Any]]) -> float | None:
    """Grams of CO2e over kilowatt-hours of the facility: the mean that the energy itself saw."""
    grams, joules = _sum(steps, "grams_co2e"), _sum(steps, "facility_energy_joules")
    return None if grams is None or not joules else grams / joules_to_kwh(joules)


def _joined(steps: Sequence[Mapping[str, Any]], key: str) -> str | None:
    """The different texts of the steps; None where there is none."""
    texts = dict.fromkeys(step[key] for step in steps if step[key] is not None)
    return "; ".join(texts) or None


def _worst_tier(steps: Sequence[Mapping[str, Any]]) -> str | None:
    tiers = [step["energy_tier"] for step in steps]
    return max(tiers, key=TIERS.index) if all(tier in TIERS for tier in tiers) else None


def _worst_link(steps: Sequence[Mapping[str, Any]]) -> str | None:
    """Which link of the chain of carbon intensities the sum is as good as."""
    links = [step["carbon_link"] for step in steps]
    return max(links, key=LINKS.index) if all(link in LINKS for link in links) else None


def _node_account(receipts: Sequence[Mapping[str, Any]]) -> dict[str, int] | None:
    """Where every microjoule of the machine went while the run was metered; integers that add up."""
    accounts = [receipt.get("node_account") or {} for receipt in receipts]
    if not all(isinstance(account.get(key), int) for account in accounts for key in NODE_KEYS):
        return None
    return {key: sum(account[key] for account in accounts) for key in NODE_KEYS}
