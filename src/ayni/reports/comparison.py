"""The model beside its baseline, the plan beside what happened, each limit beside what was used of it.

Not covered: prices of a plan that was approved although it exceeded a limit; the plan's violations
are shown as they were written.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ayni.reports import formats
from ayni.reports.variants import View, kept_variant
from ayni.units import JOULES_PER_KWH, MICROCREDITS_PER_CREDIT


def baseline_remark(view: View) -> str | None:
    """That the baseline beats what the run kept, in words; None when it does not, or nobody knows.

    For example: logistic regression does better: 98.2 % against 93.0 %
    """
    better = baseline_that_is_better(view)
    if better is None:
        return None
    kept, name = kept_variant(view) or {}, view["metric"]["name"]
    overlap = (
        ", with intervals that overlap" if _overlap(kept["interval"], view["baseline"]["interval"]) else ""
    )
    ours = formats.metric(kept["metrics"][name], name)
    return f"{view['baseline']['name']} does better: {better} against {ours}{overlap}"


def baseline_that_is_better(view: View) -> str | None:
    """The baseline's first metric as people read it, when it beats the kept variant's; else None.

    Both are of the test data. Values that read the same count as equal.
    """
    name, kept, baseline = view["metric"]["name"], kept_variant(view), view["baseline"]
    ours, theirs = ((model or {}).get("metrics") or {} for model in (kept, baseline))
    if ours.get(name) is None or theirs.get(name) is None:
        return None
    sign = -1 if view["metric"]["better"] == "lower" else 1
    written = formats.metric(theirs[name], name)
    is_better = sign * theirs[name] > sign * ours[name] and written != formats.metric(ours[name], name)
    return written if is_better else None


def planned_steps(view: View) -> list[dict[str, Any]]:
    """One row a step: planned and real time and energy; a side that is not there is None."""
    planned = {row["step"]: row for row in (view["plan"] or {}).get("rows", [])}
    real = {row["step"]: row for row in (view["footprint"] or {}).get("steps", [])}
    names = list(real) + [name for name in planned if name not in real]
    return [_planned_step(name, planned.get(name), real.get(name)) for name in names]


def limits(view: View) -> list[dict[str, Any]]:
    """One row a declared limit: allowed, planned and used in people's units, and the share used."""
    plan, footprint = view["plan"] or {}, view["footprint"] or {}
    declared, totals = plan.get("limits") or {}, plan.get("totals") or {}
    rows = [
        _limit(
            "Credits",
            _scaled(declared.get("credits"), MICROCREDITS_PER_CREDIT),
            totals.get("cost_microcredits"),
            footprint.get("cost_microcredits"),
            formats.credits,
        ),
        _limit(
            "Energy",
            _scaled(declared.get("energy_kwh"), JOULES_PER_KWH),
            totals.get("energy_joules"),
            footprint.get("energy_joules"),
            formats.joules,
        ),
        _limit(
            "Carbon, CO2e",
            declared.get("carbon_grams"),
            totals.get("grams_co2e"),
            footprint.get("grams_co2e"),
            formats.grams,
        ),
        _limit(
            "Time",
            declared.get("deadline_seconds"),
            totals.get("seconds"),
            footprint.get("wall_seconds"),
            formats.seconds,
        ),
    ]
    return [row for row in rows if row is not None]


def _planned_step(
    name: str, planned: Mapping[str, Any] | None, real: Mapping[str, Any] | None
) -> dict[str, Any]:
    if planned is not None:
        planned = {**planned, "seconds": formats.duration_between(planned["start"], planned["end"])}
    return {"step": name, "planned": planned, "real": real}


def _overlap(one: Mapping[str, float] | None, other: Mapping[str, float] | None) -> bool:
    if one is None or other is None:
        return False
    return one["low"] <= other["high"] and other["low"] <= one["high"]


def _limit(
    name: str, allowed: float | None, planned: float | None, used: float | None, written: Callable[[Any], str]
) -> dict[str, Any] | None:
    if allowed is None:
        return None
    return {
        "name": name,
        "allowed": written(allowed),
        "planned": written(planned),
        "used": written(used),
        "share": formats.share(used, allowed),
        "ratio": None if used is None or not allowed else used / allowed,
    }


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
