"""Receipts as a report in BoAmps, Boavizta's data model for the energy of AI tasks.

    measures[]         one a receipt: IT energy in kWh (`powerConsumption`), seconds, method and tier
    environment        the zone's country and what its electricity weighs, in g CO2e per kWh
    infrastructure     the devices whose making is on the receipts, with their reserved share
    quality            high, medium, low for errors up to 10, 25, 50 %; left out where the interval is wider

BoAmps asks what the task was (stage, family, algorithm, data), which no receipt knows. What nobody says is
`unknown`, an empty algorithm, data of the type `other`: such a report has its form and is thin. Carbon
and intervals have no field of their own and stand in `taskDescription`.

Not covered: `$hash`, which BoAmps fills with a signature by the publisher over the finished report.

Source: github.com/Boavizta/BoAmps, model/*.json and examples (format 1.1.0 of March 2025).
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ayni.footprint.exports.options import (
    RUN_UNIT,
    ExportOptions,
    UnknownFigureError,
    hardware_of,
    rounded,
    to_export,
    unit_of,
)
from ayni.footprint.grid.carbon import carbon_intensity, country_code
from ayni.footprint.receipts.receipt_terms import WHOLE
from ayni.footprint.sums.entries import FootprintEntry
from ayni.footprint.sums.totals import FootprintTotal, total_of
from ayni.units import microjoules_to_kwh

FORMAT_VERSION = "1.1.0"
SPECIFICATION = "https://github.com/Boavizta/BoAmps/tree/main/model"
CONFIDENTIALITIES = ("public", "internal", "confidential", "secret")
QUALITIES = (("high", 0.10), ("medium", 0.25), ("low", 0.50))
"""How far off a figure may be to be called so."""
UNKNOWN = "unknown"
_ROUNDING = 1e-9
_DATA_TYPE_OF_UNIT = {"1k images": "image", "1k tokens": "token"}


def boamps_report(
    entries: Sequence[FootprintEntry], options: ExportOptions | None = None, *, now: datetime
) -> dict[str, Any]:
    """The report over all entries, as plain JSON.

    Raises:
        UnknownFigureError: the energy of a step is unknown, and BoAmps has no word for that.
        UnitError: receipts count by different units.
        NothingToExportError: another tool measured them.
    """
    options = options or ExportOptions()
    given = to_export(entries)
    if unknown := [entry.step for entry in given if entry.energy is None]:
        raise UnknownFigureError("BoAmps", "energy", unknown)
    total = total_of(given)
    report = {
        "header": _header(given, options, now),
        "task": _task(given, total, options),
        "measures": [_measure(entry) for entry in given],
        "infrastructure": {"infraType": "other", "components": _components(given, options)},
        **_environment(given),
    }
    quality = _quality(total)
    return report if quality is None else {**report, "quality": quality}


def _header(entries: Sequence[FootprintEntry], options: ExportOptions, now: datetime) -> dict[str, Any]:
    # The same receipts make the same report: its name follows from them.
    hashes = "".join(entry.hash or entry.run + entry.step for entry in entries)
    publisher = {
        "name": "; ".join(dict.fromkeys(entry.member for entry in entries)),
        "projectName": "; ".join(dict.fromkeys(entry.job for entry in entries)),
        "confidentialityLevel": options.confidentiality,
    }
    keys = sorted({entry.public_key for entry in entries if entry.public_key})
    if len(keys) == 1:
        publisher["publicKey"] = keys[0]
    return {
        "formatVersion": FORMAT_VERSION,
        "formatVersionSpecificationUri": SPECIFICATION,
        "reportId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{SPECIFICATION}#{hashes}")),
        "reportDatetime": _time(now),
        "reportStatus": "draft",
        "publisher": publisher,
    }


def _task(entries: Sequence[FootprintEntry], total: FootprintTotal, options: ExportOptions) -> dict[str, Any]:
    unit = unit_of(entries, options)
    data: dict[str, Any] = {"dataUsage": "input", "dataType": _DATA_TYPE_OF_UNIT.get(unit.name, "other")}
    if unit.name in _DATA_TYPE_OF_UNIT:
        data["dataQuantity"] = unit.count
    task: dict[str, Any] = {
        "taskStage": options.stage or "+".join(dict.fromkeys(entry.step for entry in entries)),
        "taskFamily": options.family or UNKNOWN,
        "algorithms": [{}],
        "dataset": [data],
        "taskDescription": _description(total),
    }
    if unit.name == "1k requests":
        task["nbRequest"] = unit.count
    if unit.name == "epoch":
        task["algorithms"] = [{"epochsNumber": unit.count}]
    if unit.name == RUN_UNIT:
        task["taskDescription"] += f" {unit.count:g} run{'' if unit.count == 1 else 's'}."
    return task


def _description(total: FootprintTotal) -> str:
    energy = total.energy.known
    text = f"IT energy {rounded(microjoules_to_kwh(energy.value), 3)} kWh"
    if energy.low is not None and energy.high is not None:
        low, high = (rounded(microjoules_to_kwh(end), 2) for end in (energy.low, energy.high))
        text += f" (90 %: {low} to {high}), tier {total.tier}"
    for basis, carbon in total.carbon.items():
        if carbon.amount is not None:
            text += f"; {rounded(carbon.amount.value, 3)} g CO2e ({basis})"
    if total.embodied.amount is not None:
        text += f"; embodied {rounded(total.embodied.amount.value, 3)} g CO2e"
    return f"{text}."


def _measure(entry: FootprintEntry) -> dict[str, Any]:
    assert entry.energy is not None, "refused before"
    return {
        "measurementMethod": f"ayni, tier {entry.tier}, step {entry.step}: {entry.meter}",
        "powerConsumption": microjoules_to_kwh(entry.energy.value),
        "measurementDuration": entry.wall_seconds,
        "measurementDateTime": _time(entry.started_at),
    }


def _components(entries: Sequence[FootprintEntry], options: ExportOptions) -> list[dict[str, Any]]:
    """Each kind of device once: how many a step had at most, and the largest share that was reserved."""
    components: dict[str, dict[str, Any]] = {}
    for entry in entries:
        names = [str(device["name"]) for device in entry.devices]
        for name, device in zip(names, entry.devices, strict=True):
            before = components.get(name, {"nbComponent": 0, "share": 0.0})
            components[name] = {
                "componentName": name,
                # Machines are shared by cores, and what is taken as a whole is an accelerator.
                "componentType": "gpu" if device.get("reserved_by") == WHOLE else "server",
                "nbComponent": max(before["nbComponent"], names.count(name)),
                "share": max(before["share"], min(1.0, float(device["reserved_share"]))),
            }
    unknown = {"componentName": hardware_of(entries, options), "componentType": "other", "nbComponent": 1}
    return list(components.values()) or [unknown]


def _environment(entries: Sequence[FootprintEntry]) -> dict[str, Any]:
    """The country, where it is one and known; BoAmps has no word for an unknown one."""
    zones = {entry.zone for entry in entries}
    countries = {country_code(zone) for zone in zones}
    if len(countries) != 1 or None in countries:
        return {}
    zone, *others = sorted(zones)
    place: dict[str, Any] = {"country": carbon_intensity(next(iter(countries))).zone}
    if not others:
        place["location"] = zone
    weights = {entry.grams_co2e_per_kwh for entry in entries}
    if len(weights) == 1 and None not in weights:
        place["powerSourceCarbonIntensity"] = weights.pop()
    return {"environment": place}


def _quality(total: FootprintTotal) -> str | None:
    energy = total.energy.known
    if energy.low is None or energy.high is None or energy.value == 0:
        return None
    error = max(energy.high / energy.value - 1, 1 - energy.low / energy.value)
    return next((name for name, limit in QUALITIES if error <= limit + _ROUNDING), None)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
