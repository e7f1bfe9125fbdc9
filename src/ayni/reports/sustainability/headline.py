"""What a reader takes away: the title, a few sentences, and the sums in large type.

Not covered: what stands in tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ayni.reports import formats
from ayni.reports.sustainability.tables import (
    AT_LEAST,
    Sum,
    energy_text,
    grams_text,
    known_cost,
    litres_text,
    month_name,
    watt_hours,
)
from ayni.units import MICROJOULES_PER_JOULE

View = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One number of a strip; the template's macro reads these names."""

    name: str
    value: str
    note: str = ""


def title(view: View) -> str:
    """What, whose, when, how much."""
    whose = f" of {view['member']}" if view["member"] else ""
    if not view["entries"]:
        return f"Footprint{whose}, {_months(view)}: nothing metered"
    carbon = view["totals"]["carbon"]
    energy = _most(view["totals"]["energy_microjoules"], energy_text)
    # Figures of different bases must not look like parts of one.
    emitted = f"{_most(carbon[0]['grams_co2e'], grams_text)} CO2e"
    if len(carbon) > 1:
        emitted = f"carbon on {len(carbon)} bases"
    return f"Footprint{whose}, {_months(view)}: {energy}, {emitted}".replace(AT_LEAST, "at least ")


def lede(view: View) -> list[str]:
    """Sentences on what was added up and how far it is to be trusted."""
    entries, checks = view["entries"], view["checks"]
    if not entries:
        return ["No receipt lies in this period."]
    members = len({entry["member"] for entry in entries})
    jobs = len({entry["job"] for entry in entries})
    runs = len({entry["run"] for entry in entries})
    told = [
        f"{_plural(len(entries), 'signed receipt')} of {_plural(runs, 'run')}, {_plural(jobs, 'job')} and "
        f"{_plural(members, 'member')}.",
        f"The least certain figures are of tier {view['totals']['tier']}.",
    ]
    if checks["chains_ok"] == checks["chains"]:
        told.append("All of them are as their keys signed them.")
    foreign = sum(key["receipts"] for key in checks["keys"] if not key["is_of_this_home"])
    if foreign:
        told.append(f"{_plural(foreign, 'receipt')} signed by other keys than this home's.")
    if view["imported_entries"]:
        told.append("What other tools measured is below by itself, and in no sum here.")
    return told


def metered_strip(view: View) -> list[Headline]:
    """The sums of all receipts."""
    totals = view["totals"]
    facility = totals["facility_energy_microjoules"]
    strip = [
        _ranged("Energy of the machines", totals["energy_microjoules"], energy_text, _in_joules(totals)),
        Headline(name="Energy of the facility", value=_most(facility, energy_text), note="times PUE"),
    ]
    for each in totals["carbon"]:
        strip.append(_ranged("Operational carbon, CO2e", each["grams_co2e"], grams_text, each["basis"]))
    strip.append(
        _ranged("Embodied carbon, CO2e", totals["embodied_grams_co2e"], grams_text, "making of machines")
    )
    strip.append(_ranged("Water at power plants", totals["off_site_water_litres"], litres_text, "off site"))
    strip.append(_ranged("Water on the sites", totals["on_site_water_litres"], litres_text, "cooling"))
    cost = totals["cost"]
    note = f"machines {formats.credits(cost['machine_microcredits'])}"
    if cost["total_microcredits"] is None:
        note = f"{formats.credits(known_cost(cost))} known, {note}"
    strip.append(Headline(name="Cost", value=formats.credits(cost["total_microcredits"]), note=note))
    strip.append(
        Headline(
            name="Metered time",
            value=formats.seconds(totals["wall_seconds"]),
            note=_plural(totals["entries"], "receipt"),
        )
    )
    return strip if view["entries"] else []


def imported_strip(view: View) -> list[Headline]:
    """The sums of what was imported; none when nothing was."""
    totals = view["imported"]["totals"]
    if not view["imported_entries"]:
        return []
    carbon = [
        Headline(name="Carbon, CO2e", value=_most(each["grams_co2e"], grams_text), note="basis not declared")
        for each in totals["carbon"]
    ]
    return [
        Headline(
            name="Energy of the machines",
            value=_most(totals["energy_microjoules"], energy_text),
            note="no interval",
        ),
        Headline(
            name="Energy of the facility",
            value=_most(totals["facility_energy_microjoules"], energy_text),
            note="as the tool says",
        ),
        *carbon,
        Headline(name="Figures", value=formats.count(totals["entries"]), note="third-party"),
    ]


def _months(view: View) -> str:
    period = view["period"]
    first, last = period["from"] or period["first_month"], period["to"] or period["last_month"]
    if first is None or last is None:
        return "all time" if first == last else month_name(first or last)
    return month_name(first) if first == last else f"{month_name(first)} to {month_name(last)}"


def _most(total: Sum, written: Any) -> str:
    """A sum without its interval."""
    value: str = written(total).partition(" (")[0]
    return value


def _ranged(name: str, total: Sum, written: Any, note: str) -> Headline:
    _, bracket, ends = written(total).partition(" (")
    interval = f"({ends}" if bracket else ""
    return Headline(name=name, value=_most(total, written), note=", ".join(filter(None, (interval, note))))


def _in_joules(totals: Mapping[str, Any]) -> str:
    known = totals["energy_microjoules"]["known"]
    if known is None or watt_hours(known["value"]) == 0:
        return ""
    return formats.joules(known["value"] / MICROJOULES_PER_JOULE)


def _plural(number: int, noun: str) -> str:
    return f"{formats.count(number)} {noun}{'' if number == 1 else 's'}"
