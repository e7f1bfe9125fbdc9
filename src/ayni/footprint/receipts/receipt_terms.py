"""What a receipt computes with: grid, overhead, water, machines and prices, as they stood for its hours.

The terms are asked for once, when the receipt is made, and stand in it. Whoever verifies reads them back
and computes everything again from the windows: no file of a grid and no network is needed, and what was
changed since changes nothing.

    conditions of a site  --(hours of the energy)-->  terms  --(windows)-->  receipt  --> terms

Not covered: whether the terms are true; a receipt names their sources.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ayni.footprint.grid.basis import Basis
from ayni.footprint.grid.intensity_chain import HourIntensity
from ayni.footprint.grid.tariffs import Tariff
from ayni.footprint.impacts.embodied import Device
from ayni.footprint.impacts.emissions import weight_from_json
from ayni.footprint.impacts.quantities import Quantity
from ayni.footprint.impacts.sci import FunctionalUnit
from ayni.footprint.impacts.water import WaterIntensity

BY_CORES, WHOLE = "cores", "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptTerms:
    """What one receipt computes with.

    `weights` has each hour of the energy, none where the energy is unknown. `machine` is shared by reserved
    cores, `accelerators` are the job's as a whole. `wue_litres_per_kwh` None: the site does not say.
    `notes` says which source of the grid did not answer.
    """

    declared_zone: str | None
    basis: Basis
    weights: tuple[HourIntensity, ...]
    pue: float
    water: WaterIntensity
    tariff: Tariff
    ask_microcredits_per_core_hour: int
    pue_factors: tuple[float, float] = (1.0, 1.0)
    wue_litres_per_kwh: float | None = None
    machine: Device | None = None
    accelerators: tuple[Device, ...] = ()
    functional_unit: FunctionalUnit | None = None
    notes: tuple[str, ...] = ()


def terms_of_receipt(receipt: Mapping[str, Any]) -> ReceiptTerms:
    """The terms that a receipt states, to compute it again with.

    Raises:
        KeyError, TypeError, ValueError: the receipt lacks their form.
    """
    carbon, water, cost, unit = (receipt[name] for name in ("carbon", "water", "cost", "functional_unit"))
    devices = [(_device(entry), entry["reserved_by"]) for entry in receipt["embodied"]["devices"]]
    machines = [device for device, reserved_by in devices if reserved_by == BY_CORES]
    if len(machines) > 1 or any(reserved_by not in (BY_CORES, WHOLE) for _, reserved_by in devices):
        raise ValueError("a receipt embodies one machine by its cores, and whole accelerators")
    return ReceiptTerms(
        declared_zone=carbon["declared_zone"],
        basis=Basis.of_text(carbon["basis"]),
        weights=tuple(weight_from_json(hour) for hour in carbon["hours"]),
        pue=receipt["pue"],
        pue_factors=(carbon["pue_factors"][0], carbon["pue_factors"][1]),
        wue_litres_per_kwh=water["wue_litres_per_kwh"],
        water=WaterIntensity(
            litres_per_kwh=Quantity(**water["litres_per_kwh"]), zone=water["zone"], source=water["source"]
        ),
        machine=machines[0] if machines else None,
        accelerators=tuple(device for device, reserved_by in devices if reserved_by == WHOLE),
        tariff=_tariff(cost),
        ask_microcredits_per_core_hour=cost["ask_microcredits_per_core_hour"],
        functional_unit=None if unit is None else FunctionalUnit(**unit),
        notes=tuple(carbon["notes"]),
    )


def _device(entry: Mapping[str, Any]) -> Device:
    return Device(
        name=entry["name"],
        kilograms_co2e=Quantity(**entry["kilograms_co2e"]),
        lifetime_hours=entry["lifetime_hours"],
        method=entry["method"],
    )


def _tariff(cost: Mapping[str, Any]) -> Tariff:
    prices = {_hour(each["hour"]): each["microcredits_per_kwh"] for each in cost["prices"]}
    flat = cost["tariff_microcredits_per_kwh"]
    if not prices:
        return Tariff(name=cost["tariff"], flat_microcredits_per_kwh=flat)
    first = min(prices)
    num_hours = (max(prices) - first) // timedelta(hours=1) + 1
    return Tariff(
        name=cost["tariff"],
        flat_microcredits_per_kwh=flat,
        first_hour=first,
        microcredits_per_kwh=tuple(prices.get(first + timedelta(hours=index)) for index in range(num_hours)),
    )


def _hour(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
