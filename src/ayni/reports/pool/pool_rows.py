"""Rows of the tables of a pool simulation: policies, members, sites.

Not covered: how cells look; that is the template.
"""

from collections.abc import Mapping
from typing import Any

from ayni.reports import formats
from ayni.reports.pool.pool_words import ALONE, View, chosen_policy, find_policy, grams

Row = Mapping[str, Any]


def policy_rows(view: View) -> list[Row]:
    """One row a policy, in the order in which they were replayed, with changes against alone."""
    alone, bounds, chosen = find_policy(view, ALONE), view["bounds"], chosen_policy(view)
    rows: list[Row] = []
    for policy in view["policies"]:
        measures, fairness = policy["measures"], policy["fairness"] or {}
        rows.append(
            {
                "name": policy["name"],
                "meaning": policy["meaning"],
                "is_chosen": policy is chosen,
                "cost": formats.credits(round(measures["microcredits_per_reference_hour"])),
                "cost_change": change(policy, alone, "microcredits_per_reference_hour"),
                "grams": grams(measures["grams_per_reference_hour"]),
                "grams_change": change(policy, alone, "grams_per_reference_hour"),
                "waiting": formats.seconds(measures["waiting_mean_seconds"]),
                "waiting_p95": formats.seconds(measures["waiting_p95_seconds"]),
                "in_time": formats.share(measures["jobs_in_time"], measures["num_jobs"]),
                "min_share_ratio": _ratio(fairness.get("min_share_ratio")),
                "jain": _ratio(fairness.get("jain_index")),
                "envy": formats.count(fairness.get("envy_count")),
                "max_finish_time_ratio": _ratio(fairness.get("max_finish_time_ratio")),
                "of_bound": formats.share(policy["welfare_microcredits"], bounds["welfare"]["value"])
                if bounds
                else formats.UNKNOWN,
            }
        )
    return rows


def member_rows(view: View) -> list[Row]:
    """One row a member under the chosen policy, beside the same member alone."""
    chosen, alone = chosen_policy(view), find_policy(view, ALONE)
    fairness, market = chosen["fairness"] or {}, chosen["market"]
    rows: list[Row] = []
    for member, measures in chosen["members"].items():
        before = alone["members"][member] if alone else None
        rows.append(
            {
                "name": member,
                "machines": view["machines_by_member"][member],
                "zones": ", ".join(
                    dict.fromkeys(site["zone"] for site in view["sites"] if site["member"] == member)
                ),
                "hours": formats.digits(measures["reference_hours"], 3),
                "grams": grams(measures["grams_per_reference_hour"]),
                "grams_alone": grams(before["grams_per_reference_hour"]) if before else formats.UNKNOWN,
                "cost": formats.credits(round(measures["microcredits_per_reference_hour"])),
                "cost_alone": formats.credits(round(before["microcredits_per_reference_hour"]))
                if before
                else formats.UNKNOWN,
                "waiting": formats.seconds(measures["waiting_mean_seconds"]),
                "waiting_alone": formats.seconds(before["waiting_mean_seconds"])
                if before
                else formats.UNKNOWN,
                "share_ratio": _ratio((fairness.get("share_ratios") or {}).get(member)),
                "paid": formats.credits(market["paid_microcredits"][member]) if market else formats.UNKNOWN,
                "earned": formats.credits(market["earned_microcredits"][member])
                if market
                else formats.UNKNOWN,
            }
        )
    return rows


def site_rows(view: View) -> list[Row]:
    """The sites as they were given."""
    return [
        {**site, "ask": formats.credits(site["ask_microcredits_per_hour"]), "watts": f"{site['watts']:g} W"}
        for site in view["sites"]
    ]


def change(policy: Mapping[str, Any], alone: Mapping[str, Any] | None, key: str) -> str:
    """A change against alone with its sign; empty for alone itself and where it is unknown."""
    if alone is None or policy is alone or not alone["measures"][key]:
        return ""
    ratio = policy["measures"][key] / alone["measures"][key] - 1.0
    return f"{ratio:+.1%}".replace("-", formats.MINUS).replace("%", f"{formats.NO_BREAK_SPACE}%")


def _ratio(value: float | None) -> str:
    return formats.UNKNOWN if value is None else f"{value:.2f}"
