"""What a pool simulation says first: a title, a few sentences, and two strips of figures.

Everything is measured against every member alone, or says that this is unknown.

Not covered: which policy is best. That depends on what a pool wants, and the plots show what it costs.
"""

from collections.abc import Mapping
from typing import Any

from ayni.reports import formats

View = Mapping[str, Any]
Policy = Mapping[str, Any]
ALONE, MARKET = "alone", "market"


def find_policy(view: View, name: str) -> Policy | None:
    """The part of the simulation object of one policy; None where it was not replayed."""
    return next((policy for policy in view["policies"] if policy["name"] == name), None)


def chosen_policy(view: View) -> Policy:
    """The policy that the report is about: the market, else the last that was asked for."""
    policy: Policy = find_policy(view, MARKET) or view["policies"][-1]
    return policy


def title(view: View) -> str:
    """What the chosen policy changes against every member alone, in one line."""
    chosen, alone = chosen_policy(view), find_policy(view, ALONE)
    if alone is None or chosen is alone:
        emitted = grams(chosen["measures"]["grams_per_reference_hour"])
        return f"{_called(chosen)}: {emitted} of CO2e for an hour of one machine"
    carbon = _change(chosen, alone, "grams_per_reference_hour")
    cost = _change(chosen, alone, "microcredits_per_reference_hour")
    return f"{_called(chosen)}: {_in_words(carbon)} CO2e than every member alone, at {_cost_words(cost)}"


def lede(view: View) -> list[str]:
    """What was replayed on what."""
    hours = view["hours_of_releases"]
    sentences = [
        f"{view['num_jobs']:,} jobs of {len(view['machines_by_member'])} members, released within "
        f"{formats.digits(hours / 24, 2)} days, on {view['num_machines']:,} machines at {len(view['sites'])} "
        f"sites: a load of {formats.share(view['load'], 1.0)}.",
        f"{len(view['policies'])} policies were replayed on the same jobs; every job is run to its end.",
    ]
    if find_policy(view, ALONE) is None:
        sentences.append("A member cannot hold its own largest gang, so nothing is known of members alone.")
    return sentences


def outcome(view: View) -> list[dict[str, str]]:
    """The chosen policy's figures beside those of every member alone."""
    chosen, alone = chosen_policy(view), find_policy(view, ALONE)
    there = None if alone is None or alone is chosen else alone["measures"]
    here, fairness = chosen["measures"], chosen["fairness"] or {}
    least = fairness.get("min_share_ratio")
    return [
        _figure(
            "Carbon of a machine-hour, CO2e",
            grams(here["grams_per_reference_hour"]),
            there and f"alone {grams(there['grams_per_reference_hour'])}",
        ),
        _figure(
            "Cost of a machine-hour",
            formats.credits(round(here["microcredits_per_reference_hour"])),
            there and f"alone {formats.credits(round(there['microcredits_per_reference_hour']))}",
        ),
        _figure(
            "Waiting, mean",
            formats.seconds(here["waiting_mean_seconds"]),
            there and f"alone {formats.seconds(there['waiting_mean_seconds'])}",
        ),
        _figure(
            "Least share ratio of a member",
            formats.UNKNOWN if least is None else f"{least:.2f}",
            "work done in time, over that alone",
        ),
    ]


def promises(view: View) -> list[dict[str, str]]:
    """What the market expected to save and what came true; empty without the market."""
    chosen = chosen_policy(view)
    market, measures = chosen["market"], chosen["measures"]
    if market is None:
        return []
    lost = measures["grams_lost"] / measures["at_once_grams"] if measures["at_once_grams"] else 0.0
    return [
        _figure(
            "Saving of carbon, expected",
            _percent(market["expected_saving"]),
            "by yesterday's hours, against every job at home and at once",
        ),
        _figure("Saving, realised", _percent(measures["realised_saving"]), "by the hours as they came"),
        _figure(
            "Lost by jobs that got worse",
            _percent(lost),
            f"{measures['jobs_lost']:,} of {measures['num_jobs']:,} jobs; inside the saving",
        ),
        _figure(
            "Surplus of the cooperative",
            formats.credits(market["surplus_microcredits"]),
            "paid beyond asks and carbon charges; returns as a dividend",
        ),
    ]


def grams(value: float) -> str:
    """Grams with three digits: policies are compared, and two would make most of them alike."""
    return formats.quantity(value, formats.GRAM_SCALES)


def _figure(name: str, value: str, note: str | None) -> dict[str, str]:
    return {"name": name, "value": value, "note": note or ""}


def _called(policy: Policy) -> str:
    return "The market" if policy["name"] == MARKET else str(policy["name"])


def _change(here: Policy, there: Policy, key: str) -> float:
    before = there["measures"][key]
    return float(here["measures"][key] / before - 1.0) if before else 0.0


def _percent(share: float) -> str:
    text = formats.share(abs(share), 1.0) if share else f"0{formats.NO_BREAK_SPACE}%"
    return f"{formats.MINUS}{text}" if share < 0 else text


def _in_words(change: float) -> str:
    if abs(change) < 0.005:
        return "as much"
    return f"{formats.share(abs(change), 1.0)} {'less' if change < 0 else 'more'}"


def _cost_words(change: float) -> str:
    if abs(change) < 0.001:
        return "the same cost"
    return f"{formats.share(abs(change), 1.0)} {'lower' if change < 0 else 'higher'} cost"
