"""Offers, jobs and rounds of a pool as tables for a terminal of 80 columns or more.

Not covered: everything that is known of them; `--json` has it all.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from ayni.cli.tables import plain_table
from ayni.reports import formats
from ayni.units import microcredits_to_credits

Json = Mapping[str, Any]
_NUM_REFUSED = 5


def added_parts(found: Json, *, is_trial: bool = False) -> list[RenderableType]:
    """What was offered, and what was not and why."""
    parts: list[RenderableType] = [offers_table(found["added"])]
    offers = _counted(len(found["added"]), "offer")
    parts.append(f"{offers} would be added. Nothing was." if is_trial else f"{offers} added.")
    refused = list(found["refused"].items())
    if refused:
        parts.append(f"Not offered are {len(refused)} others:")
        parts += [f"  {name}: {reason}" for name, reason in refused[:_NUM_REFUSED]]
        if len(refused) > _NUM_REFUSED:
            parts.append(f"  and {len(refused) - _NUM_REFUSED} more; `--json` names all.")
    return parts


def offers_table(offers: Sequence[Json]) -> Table:
    """One line for each offer."""
    table = plain_table("offer", "machines", "ask/h", "zone", "until (UTC)", "price of", left=_LEFT)
    for entry in offers:
        offer = entry["offer"]
        table.add_row(
            str(entry["id"]),
            _machines(offer),
            f"{microcredits_to_credits(offer['ask_microcredits_per_machine_hour']):.4g}",
            offer["zone"] or formats.UNKNOWN,
            _minute(offer["windows"][-1][1]) if entry["state"] == "open" else entry["state"],
            offer["dated"] or "-",
        )
    return table


def jobs_table(jobs: Sequence[Json]) -> Table:
    """One line for each submitted job."""
    table = plain_table("job", "member", "work", "machines", "pays at most", "until (UTC)", left=_LEFT)
    for entry in jobs:
        bid = entry["bid"]
        table.add_row(
            str(entry["id"]),
            str(bid["member"]),
            f"{bid['work_reference_hours']:.4g} h",
            str(bid["gang"]),
            f"{microcredits_to_credits(_limit(bid)):.4g}",
            _minute(bid["deadline"]) if entry["state"] == "waiting" else entry["state"],
        )
    return table


def submitted_parts(entry: Json) -> list[RenderableType]:
    """A submitted job, and what to look at next."""
    return [
        jobs_table([entry]),
        f"It waits. What a round would give it now: ayni jobs explain {entry['id']}",
    ]


def round_parts(found: Json) -> list[RenderableType]:
    """Who would run where and when, what each pays, and who gets nothing."""
    parts: list[RenderableType] = [
        f"A round over {_counted(found['num_jobs'], 'job')} and {_counted(found['num_offers'], 'offer')}, "
        f"{found['hours']:g} hours from {_minute(found['start'])} UTC. Nothing was booked."
    ]
    if found["placed"]:
        parts.append(places_table(found["placed"]))
    for each in found["refused"]:
        parts.append(f"{each['job']} gets nothing: {each['reason']}")
    if found["placed"]:
        surplus = microcredits_to_credits(found["surplus_microcredits"])
        parts.append(f"Payments are {surplus:.4g} credits above asks and carbon charges.")
    if annual := sorted(zone for zone, link in found["carbon_from"].items() if link.startswith("annual")):
        parts.append(
            f"CO2e of {', '.join(annual)} is by annual means, so no hour looks greener than another."
        )
    return parts


def places_table(places: Sequence[Json]) -> Table:
    """One line for each job that has a place."""
    table = plain_table("job", "where", "from (UTC)", "time", "CO2e", "asks", "pays", left=_LEFT)
    for each in places:
        table.add_row(
            str(each["job"]),
            _where(each),
            _minute(each["start"]),
            _hours(each),
            formats.grams(each["grams_co2e"]),
            f"{microcredits_to_credits(each['ask_microcredits']):.4g}",
            f"{microcredits_to_credits(each['payment_microcredits']):.4g}",
        )
    return table


_LEFT = ("machines", "zone", "until (UTC)", "price of", "member", "where", "from (UTC)")


def _machines(offer: Json) -> str:
    """`4 x v100`; of a cloud what is in one machine, for it has as many as anybody asks for."""
    machine = offer["machine_class"]
    if offer["source"] == "member":
        return f"{offer['count']} x {machine['name']}"
    return str(machine["accelerator"] or f"{machine['cores']} cores")


def _where(place: Json) -> str:
    """Site and machines; the price list's date where there is one."""
    machines = (
        f"{place['machines']} x {place['machine_class']}" if place["machines"] > 1 else place["machine_class"]
    )
    dated = f", prices of {place['dated']}" if place["dated"] else ""
    return f"{place['site']}, {machines}{dated}"


def _hours(place: Json) -> str:
    stops = f", {place['num_stops']} stops" if place["num_stops"] else ""
    return f"{place['hours']:.3g} h{stops}"


def _limit(bid: Json) -> int:
    budget = bid["budget_microcredits"]
    return int(bid["worth_microcredits"] if budget is None else min(bid["worth_microcredits"], budget))


def _minute(text: str) -> str:
    return datetime.fromisoformat(text).strftime("%m-%d %H:%M")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def explanation_parts(found: Json) -> list[RenderableType]:
    """What a job would get, why, and what would change that."""
    parts: list[RenderableType] = [f"In a round at {_minute(found['start'])} UTC; nothing was booked."]
    others = [f"{each['job']} ({each['member']})" for each in found["others"]]
    if (place := found["placed"]) is not None:
        return [*parts, places_table([place]), _why_so_much(place, others)]
    parts.append(f"{found['job']} gets nothing: {found['refused']['reason']}")
    if found["least_worth_microcredits"] is not None:
        worth = microcredits_to_credits(found["least_worth_microcredits"])
        parts.append(f"It would win if it paid {worth:.6g} credits or more{_at_cost_of(others)}.")
    if found["least_deadline"] is not None:
        parts.append(f"It would win as it is with time until {_minute(found['least_deadline'])} UTC.")
    if found["least_worth_microcredits"] is None and found["least_deadline"] is None:
        parts.append("Neither more worth nor more time would win it a place.")
    return parts


def _why_so_much(place: Json, others: Sequence[str]) -> str:
    above = place["payment_microcredits"] - place["cost_microcredits"]
    if above <= 0:
        return "It pays what the place costs; it would pay so with any worth above that."
    wanted = f", because others want it too: {', '.join(others)}" if others else ""
    return f"It pays {microcredits_to_credits(above):.4g} credits more than the place costs{wanted}."


def _at_cost_of(others: Sequence[str]) -> str:
    return f"; then {', '.join(others)} would get another place or none" if others else ""
