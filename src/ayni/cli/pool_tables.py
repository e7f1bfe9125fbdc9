"""Offers, jobs, rounds, leases and budgets of a pool as tables for a terminal of 80 columns or more.

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
    """Who runs where and when, what each pays, who gets nothing, and what was booked."""
    booked = "Nothing was booked." if found["round"] is None else f"Booked as round {found['round']}."
    parts: list[RenderableType] = [
        f"A round over {_counted(found['num_jobs'], 'job')} and {_counted(found['num_offers'], 'offer')}, "
        f"{found['hours']:g} hours from {_minute(found['start'])} UTC. {booked}"
    ]
    if found["placed"]:
        parts.append(places_table(found["placed"]))
    parts += [f"{each['job']} was not booked and waits on: {each['reason']}" for each in found["not_held"]]
    for each in found["refused"]:
        parts.append(f"{each['job']} gets nothing: {each['reason']}")
    if found["placed"]:
        surplus = microcredits_to_credits(found["surplus_microcredits"])
        parts.append(f"Payments are {surplus:.4g} credits above asks and carbon charges.")
        parts.append(_saving(found["expected_saving_grams"], "are expected to save"))
        parts.append(_fairness(found["fairness"]))
    if annual := sorted(zone for zone, link in found["carbon_from"].items() if link.startswith("annual")):
        parts.append(
            f"CO2e of {', '.join(annual)} is by annual means, so no hour looks greener than another."
        )
    if found["placed"] and found["round"] is not None:
        parts.append(
            "Sites are not told by this installation: start the work there by hand. Leases: ayni market "
            "leases. Credits back: ayni market release LEASE."
        )
    return parts


def _fairness(found: Json) -> str:
    """The fairness of a round in a sentence; the words are those of the glossary."""
    shares = ", ".join(f"{member} {share:.0%}" for member, share in found["dominant_shares"].items())
    least = found["least_share_ratio"]
    waits = "" if least is None else f", least share ratio of who was outbid {least:.2f}"
    jain = formats.UNKNOWN if found["jain"] is None else f"{found['jain']:.2f}"
    envious = _counted(found["num_envious"], "envious pair")
    return f"Shares of the pool: {shares}. Jain index {jain}{waits}, {envious}."


def leases_table(leases: Sequence[Json]) -> Table:
    """One line for each lease."""
    table = plain_table("lease", "where", "from (UTC)", "until (UTC)", "state", "pays", left=_LEFT)
    for each in leases:
        table.add_row(
            str(each["id"]),
            f"{each['site']}, {each['machines']} x {each['machine_class']}",
            _minute(each["windows"][0][0]),
            _minute(each["windows"][-1][1]),
            str(each["state"]),
            f"{microcredits_to_credits(each['payment_microcredits']):.4g}",
        )
    return table


def budgets_table(budgets: Sequence[Json]) -> Table:
    """One line for each carbon budget."""
    table = plain_table("member", "month", "budget", "used", "left", left=("month",))
    for each in budgets:
        grams = (formats.grams(each[name]) for name in ("grams", "used_grams", "left_grams"))
        table.add_row(str(each["member"]), str(each["month"]), *grams)
    return table


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


_LEFT = ("machines", "zone", "until (UTC)", "price of", "member", "where", "from (UTC)", "state")


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
    """What a job has got or would get, why, and what would change that."""
    if found["state"] != "waiting":
        return _placed_parts(found)
    parts: list[RenderableType] = []
    if found["leases"]:
        parts.append(f"{found['job']} had {_counted(len(found['leases']), 'lease')} and waits again.")
        parts += _lease_parts(found)
    parts.append(f"In a round at {_minute(found['start'])} UTC; nothing was booked.")
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


def _placed_parts(found: Json) -> list[RenderableType]:
    return [f"{found['job']} is {found['state']}.", *_lease_parts(found)]


def _lease_parts(found: Json) -> list[RenderableType]:
    """The leases of a job, why they ended, and what they save of carbon."""
    parts: list[RenderableType] = [leases_table(found["leases"])]
    parts += [f"{each['id']} ended: {each['reason']}" for each in found["leases"] if each["reason"]]
    parts.append(_saving(found["expected_saving_grams"], "were expected to save"))
    if found["realised_saving_grams"] is not None:
        parts.append(_saving(found["realised_saving_grams"], "have saved"))
    return parts


def _saving(grams: float | None, verb: str) -> str:
    if grams is None:
        return "What the place saves of CO2e is not known: a zone is not."
    if grams < 0:
        grams, verb = -grams, verb.replace("saved", "cost").replace("save", "cost")
    return f"Place and hour {verb} {formats.grams(grams)} CO2e beside beginning at once."


def _why_so_much(place: Json, others: Sequence[str]) -> str:
    above = place["payment_microcredits"] - place["cost_microcredits"]
    if above <= 0:
        return "It pays what the place costs; it would pay so with any worth above that."
    wanted = f", because others want it too: {', '.join(others)}" if others else ""
    return f"It pays {microcredits_to_credits(above):.4g} credits more than the place costs{wanted}."


def _at_cost_of(others: Sequence[str]) -> str:
    return f"; then {', '.join(others)} would get another place or none" if others else ""


def policy_table(policy: Json) -> Table:
    """One line for each amount and rate that a pool declares; None is shown as not declared."""
    table = plain_table("of", "policy", "value", left=("policy",))
    for part, values in policy.items():
        for name, value in values.items():
            # Parts are told apart by their first line alone.
            table.add_row(part if name == next(iter(values)) else "", name, _declared(value))
    return table


def quarter_parts(found: Json) -> list[RenderableType]:
    """What closing a quarter moves, by member."""
    decay, dividend = found["decay_microcredits"], found["dividend_microcredits"]
    work = found["verified_hours_before"]
    parts: list[RenderableType] = []
    if members := sorted({*decay, *dividend, *work}):
        table = plain_table("member", "work before", "dividend", "decay")
        for member in members:
            table.add_row(
                member,
                f"{work.get(member, 0.0):.4g} h",
                f"{microcredits_to_credits(dividend.get(member, 0)):.6f}",
                f"{-microcredits_to_credits(decay.get(member, 0)):.6f}",
            )
        parts.append(table)
    if found["was_closed_at"] is not None:
        closed = (
            f"{found['period']} was closed on {_minute(found['was_closed_at'])} UTC with these movements."
        )
        return [*parts, f"{closed} Nothing was changed."]
    if found["is_trial"]:
        return [*parts, f"{found['period']} is not closed; this is what would move."]
    return [*parts, f"{found['period']} is closed."]


def _declared(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value is None else str(value)
