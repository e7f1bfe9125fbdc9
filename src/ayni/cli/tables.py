"""Results as tables for a terminal of 80 columns or more.

Numbers are written by the same functions as in the report, so that both say the same.

Not covered: everything that a run knows. The report and `--json` have it all.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ayni.reports import formats
from ayni.reports.comparison import baseline_remark
from ayni.units import JOULES_PER_KWH, MICROCREDITS_PER_CREDIT

Json = Mapping[str, Any]
CHOSEN_MARK = "*"
# With a longer name of a pipeline its numbers would not fit beside it; it goes on in the next line.
_NAME_WIDTH = 11


def run_parts(view: Json) -> list[RenderableType]:
    """The result of a run from top to bottom; the path of the report is the last line."""
    parts: list[RenderableType] = [f"Run {view['run']}: {view['status']}"]
    if view.get("error"):
        parts.append(str(view["error"]))
    if view.get("plan") and not view.get("variants"):
        parts += ["As it was planned:", plan_table(view["plan"])]
    if view.get("variants"):
        parts += ["", result_table(view), *_notes(view)]
    return parts + closing_parts(view)


def closing_parts(view: Json) -> list[RenderableType]:
    """What a run took and where its result is; the path of the report is the last line."""
    parts: list[RenderableType] = list(_footprint_lines(view))
    if view.get("published"):
        published = view["published"]
        parts.append(f"Published: {published['repository']} at {str(published['revision'])[:12]}")
        if published.get("folder"):
            parts.append(f"  in {published['folder']}")
    if view["status"] in ("interrupted", "failed"):
        parts.append(f"Go on with: ayni resume {view['run']}")
    if view.get("report"):
        parts.append(f"Report: {view['report']}")
    return parts


def result_table(view: Json) -> Table:
    """One row for each variant and one for the baseline; the chosen variant is marked."""
    metric_name = str((view.get("metric") or {}).get("name") or "metric")
    columns = ("variant", metric_name.replace("_", " "), "stored", "params", "p50", "energy/1000", "score")
    # Narrow gaps keep a variant with all its intervals on one line of 80 columns.
    table = plain_table(*columns, gap=0)
    for variant in view["variants"]:
        is_chosen = variant["name"] == view.get("chosen")
        low, high = variant.get("energy_low_joules_per_1000"), variant.get("energy_high_joules_per_1000")
        table.add_row(
            variant_name(variant["name"], is_chosen=is_chosen, width=_NAME_WIDTH),
            _metric(variant, metric_name),
            formats.stored_bytes(variant.get("stored_bytes")),
            _short_count(variant.get("num_parameters")),
            formats.seconds(variant.get("latency_p50_seconds")),
            formats.joules(variant.get("energy_joules_per_1000"), low, high),
            _score(variant.get("score")),
            style="bold" if is_chosen else None,
        )
    if baseline := view.get("baseline"):
        table.add_row("  baseline", _metric(baseline, metric_name), style="dim")
    return table


def variant_name(name: str, *, is_chosen: bool, width: int) -> str:
    """A name with its mark, in lines of at most `width` characters if its parts are no longer."""
    lines = [""]
    for part in re.findall(r"[^-]+-?|-", name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n   ".join([f"{CHOSEN_MARK if is_chosen else ' '} {lines[0]}", *lines[1:]])


def plan_table(plan: Json) -> Table:
    """Where and when each step would run and what it would take, with the totals."""
    table = plain_table("step", "where", "when (UTC)", "time", "energy", "CO2e", "credits")
    for row in plan.get("rows") or []:
        table.add_row(
            str(row.get("step")),
            str(row.get("site")),
            str(row.get("start") or "")[11:19],
            formats.seconds(formats.duration_between(row.get("start"), row.get("end"))),
            formats.joules(row.get("energy_joules"), row.get("low_joules"), row.get("high_joules")),
            formats.grams(row.get("grams_co2e")),
            _credits(row.get("cost_microcredits")),
        )
    if totals := plan.get("totals"):
        table.add_section()
        table.add_row(
            "total",
            "",
            "",
            formats.seconds(totals.get("seconds")),
            formats.joules(totals.get("energy_joules"), totals.get("low_joules"), totals.get("high_joules")),
            formats.grams(totals.get("grams_co2e")),
            _credits(totals.get("cost_microcredits")),
        )
    return table


def alternatives_text(plan: Json) -> Text:
    """Later hours and other places that were not taken, with the reason; empty without any."""
    by_reason: dict[str, list[str]] = {}
    for each in plan.get("alternatives") or []:
        by_reason.setdefault(str(each["reason"]), []).append(_alternative(each))
    lines = [f"  {'; '.join(places)}: {reason}" for reason, places in by_reason.items()]
    return Text("\n".join(["Looked at and not taken:", *lines]) if lines else "", style="dim")


def _alternative(each: Json) -> str:
    """Where and when it would be, at which price and with how much carbon, as far as that is known."""
    dated = f" (prices of {each['dated']})" if each["dated"] else ""
    where = f"{each['site']}, {each['machine_class']}{dated}"
    if each["start"] is None:
        return where
    grams = "" if each["grams_co2e"] is None else f" and {formats.grams(each['grams_co2e'])} CO2e"
    when = str(each["start"])[5:16].replace("T", " ")
    return f"{where}, from {when} for {_credits(each['price_microcredits'])} credits{grams}"


def statement_table(statement: Json) -> Table:
    """One line for each movement of a member's credits; credits with a sign are changes."""
    left = ("when (UTC)", "what", "why")
    table = plain_table("when (UTC)", "what", "spendable", "set aside", "balance", "why", left=left)
    opening = statement["opening"]
    table.add_row("", "before", "", "", _exact_credits(opening["available_microcredits"]), "", style="dim")
    for line in statement["lines"]:
        change, after = line["change"], line["after"]
        table.add_row(
            str(line["at"])[:16].replace("T", " "),
            line["kind"],
            _change(change["available_microcredits"]),
            _change(change["escrow_microcredits"] + change["bond_microcredits"]),
            _exact_credits(after["available_microcredits"]),
            line["memo"],
        )
    return table


def _change(microcredits: int) -> str:
    return f"{'+' if microcredits > 0 else ''}{_exact_credits(microcredits)}" if microcredits else ""


def _exact_credits(microcredits: int) -> str:
    """All six digits: the columns of a ledger must add up for whoever checks them."""
    whole, rest = divmod(abs(microcredits), MICROCREDITS_PER_CREDIT)
    return f"{'-' if microcredits < 0 else ''}{whole:,}.{rest:06d}"


def violations_text(plan: Json) -> Text:
    """Which limits of the job the plan exceeds, or that it exceeds none."""
    violations, risks = plan.get("violations") or [], plan.get("risks") or []
    if violations:
        head = "The plan exceeds limits of the job:"
        return Text("\n".join([head, *map(_limit_line, violations)]), style="yellow")
    if risks:
        head = "Within the limits of the job, but the high end of the estimate is not:"
        return Text("\n".join([head, *map(_limit_line, risks)]))
    return Text(f"Within the limits of the job{_budget(plan)}.")


def _budget(plan: Json) -> str:
    """What the plan would use of each limit; empty when the job has none."""
    limits, totals = plan.get("limits") or {}, plan.get("totals") or {}
    compared = (
        ("credits", limits.get("credits"), totals.get("cost_microcredits"), MICROCREDITS_PER_CREDIT),
        ("kWh", limits.get("energy_kwh"), totals.get("energy_joules"), JOULES_PER_KWH),
        ("g CO2e", limits.get("carbon_grams"), totals.get("grams_co2e"), 1.0),
        ("s", limits.get("deadline_seconds"), totals.get("seconds"), 1.0),
    )
    shares = [
        f"{used / scale:.2g} of {allowed:g} {unit}"
        for unit, allowed, used, scale in compared
        if allowed is not None and used is not None
    ]
    return f": {', '.join(shares)}" if shares else ""


def runs_table(summaries: Sequence[Json]) -> Table:
    """One line for each run."""
    table = plain_table("run", "status", "started", "last step", left=("status", "started", "last step"))
    for summary in summaries:
        steps = summary.get("finished_steps") or ["-"]
        started = str(summary.get("created_at") or "-")[:16].replace("T", " ")
        table.add_row(str(summary["run"]), str(summary["status"]), started, str(steps[-1]))
    return table


def predictions_table(predictions: Sequence[Json]) -> Table:
    """One line for each file, with the label and how sure the model is."""
    table = plain_table("file", "prediction", "probability")
    for one in predictions:
        label = one.get("label") if one.get("label") is not None else one.get("prediction")
        shown = str(label) if str(label).strip() and str(label).isprintable() else repr(label)
        table.add_row(str(one["file"]), shown, _highest_probability(one.get("probabilities")))
    return table


def _limit_line(one: Json) -> str:
    unit = one.get("unit") or ""
    high = f" (up to {one['high']:.4g})" if one.get("high") is not None else ""
    return f"  {one['limit']}: about {one['estimated']:.4g} {unit}{high}, allowed {one['allowed']:.4g}"


def plain_table(*names: str, left: Sequence[str] = (), gap: int = 1) -> Table:
    """An empty table without frame; columns are flush right but for the first and those in `left`."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, gap, 0, 0), pad_edge=False)
    for position, name in enumerate(names):
        is_left = position == 0 or name in left
        table.add_column(name, justify="left" if is_left else "right", no_wrap=position == 0, overflow="fold")
    return table


def _notes(view: Json) -> list[str]:
    """What the marks and names of the result table mean."""
    head = f"{CHOSEN_MARK} chosen" if view.get("chosen") else "No variant was chosen"
    notes = [f"{head}: {view['reason']}" if view.get("reason") else head]
    if (view.get("baseline") or {}).get("name"):
        notes.append(f"  baseline: {str(view['baseline']['name']).replace('_', ' ')}")
    if remark := baseline_remark(view):
        notes.append(f"WARNING: {remark}.")
    return notes + _data_notes(view.get("data") or {})


def _data_notes(data: Json) -> list[str]:
    """What the data are, as the task says, and whether its splits share examples."""
    stated = [str(data[key]) for key in ("name", "note") if data.get(key)]
    notes = [f"Data: {'. '.join(stated)}"] if stated else []
    shared = {
        pair: count for pair, count in ((data.get("splits") or {}).get("num_shared") or {}).items() if count
    }
    if shared:
        counts = ", ".join(f"{pair} {count}" for pair, count in shared.items())
        notes.append(f"WARNING: splits share examples ({counts}), so the result on test data means little.")
    return notes


def _footprint_lines(view: Json) -> list[str]:
    total = view.get("footprint")
    if not total:
        return []
    energy = formats.joules(
        total.get("energy_joules"), total.get("energy_low_joules"), total.get("energy_high_joules")
    )
    tier = f", tier {total['energy_tier']}" if total.get("energy_tier") else ""
    return [
        f"Took {energy}{tier}; {formats.grams(total.get('grams_co2e'))} CO2e; "
        f"{_credits(total.get('cost_microcredits'))} credits"
    ]


def _metric(row: Json, name: str) -> str:
    interval = row.get("interval") or {}
    value = (row.get("metrics") or {}).get(name)
    return formats.metric(value, name, interval.get("low"), interval.get("high"))


def _short_count(value: int | None) -> str:
    if value is None or value < 10_000:
        return formats.count(value)
    return f"{value / 1000:.0f}k" if value < 1_000_000 else f"{value / 1e6:.1f}M"


def _score(value: float | None) -> str:
    return formats.UNKNOWN if value is None else f"{value:.3f}"


def _credits(microcredits: int | None) -> str:
    """The number alone, for a column that says "credits"."""
    return formats.credits(microcredits).split(formats.NO_BREAK_SPACE)[0]


def _highest_probability(probabilities: Any) -> str:
    """Of a list of numbers, of pairs or of mappings with a `probability`, the largest in per cent."""
    if not probabilities:
        return "-"
    values = probabilities.values() if isinstance(probabilities, Mapping) else probabilities
    numbers = [one["probability"] if isinstance(one, Mapping) else one for one in values]
    return f"{max(numbers):.1%}"
