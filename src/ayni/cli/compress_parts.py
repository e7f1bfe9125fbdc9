"""The variants of a run as two tables and what is to be said of them, for a terminal of 80 columns or more.

    quality and size     accuracy with its interval, drop, bytes, share of the original's, front
    speed and energy     median with its spread, times as fast as torch and as ONNX, energy, break-even

Numbers are written by the same functions as in the report, so that both say the same.

Not covered: everything that is known of a variant. The report and `--json` have it all.
"""

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from ayni.cli.tables import CHOSEN_MARK, plain_table, variant_name
from ayni.reports import formats
from ayni.reports.compress_view import FULL
from ayni.reports.variants import chosen_variant
from ayni.reports.what_changed import hidden_loss_warning, what_changed

Json = Mapping[str, Any]
DOUBTFUL_MARK = "?"
TOO_MUCH_MARK = "!"
_MAX_REASONS = 10
_NAME_WIDTH = 20
_LARGEST_SPREAD = 0.99


def variants_parts(view: Json) -> list[RenderableType]:
    """What was made, what was chosen and why, what it cost to find, and what changed."""
    return [
        f"Run {view['run']}: {view['status']}",
        "",
        quality_table(view),
        "",
        cost_table(view),
        "",
        *_legend(view),
        *_verdict(view),
        *search_lines(view["search"]),
        *changes_lines(view),
    ]


def quality_table(view: Json) -> Table:
    """One row for each variant: how good it is, and how large."""
    metric = str(view["metric"]["name"])
    table = plain_table("variant", metric.replace("_", " "), "drop", "stored", "of full", "front", gap=0)
    for variant in view["variants"]:
        exceeds = not variant["qualifies"] and variant["drop"] is not None
        table.add_row(
            _name(view, variant),
            metric_text(variant, metric),
            drop_text(variant["drop"], metric) + (TOO_MUCH_MARK if exceeds else ""),
            formats.stored_bytes(variant["stored_bytes"]),
            formats.share(variant["bytes_ratio"], 1.0),
            "front" if variant["is_on_front"] else "",
            style=_style(view, variant),
        )
    return table


def cost_table(view: Json) -> Table:
    """One row for each variant: what an inference takes, and when the making is paid back."""
    table = plain_table("variant", "p50", "x torch", "x ONNX", "energy", "paid back after", gap=0)
    for variant in view["variants"]:
        slower = f"{formats.NO_BREAK_SPACE}slower" if variant["is_slower"] else ""
        table.add_row(
            _name(view, variant),
            _first_latency(variant),
            ratio_text(variant["speed_up"]) + slower,
            ratio_text(variant["speed_up_over_onnx"]),
            formats.joules(variant["energy_joules_per_1000"]),
            "-" if variant["name"] == FULL else break_even_text(variant["break_even"]),
            style=_style(view, variant),
        )
    return table


def metric_text(variant: Json, metric: str) -> str:
    """The first metric on the test split, with its interval where there is one."""
    interval = variant["interval"] or {}
    return formats.metric(variant["metrics"].get(metric), metric, interval.get("low"), interval.get("high"))


def drop_text(drop: float | None, metric: str) -> str:
    """How much worse; what became better has a minus."""
    return formats.UNKNOWN if drop is None else formats.metric_lost(drop, metric)


def latency_text(latency: Json) -> str:
    """The median, half of the way between the quartiles in per cent of it; marked where it is doubtful."""
    p50 = latency["p50_seconds"]
    spread = (latency["p75_seconds"] - latency["p25_seconds"]) / 2 / p50
    shown = f"{spread:.0%}" if spread <= _LARGEST_SPREAD else f">{_LARGEST_SPREAD:.0%}"
    doubt = DOUBTFUL_MARK if latency["problem"] else ""
    return f"{formats.seconds(p50)} \N{PLUS-MINUS SIGN}{shown}{doubt}".replace(" ", formats.NO_BREAK_SPACE)


def ratio_text(ratio: float | None) -> str:
    """A quotient with two digits; a dash where there is none that could be quoted."""
    return "-" if ratio is None else formats.digits(ratio, 2)


def break_even_text(found: Json | None) -> str:
    """After how many inferences, with the interval: 1.2M (800k-2.4M); `never` where nothing is saved."""
    if found is None:
        return formats.UNKNOWN
    if found["low"] == "never":
        return "never"
    return f"{_short(found['best'])} ({_short(found['low'])}{formats.DASH}{_short(found['high'])})"


def search_lines(search: Json | None) -> list[str]:
    """What a search did and what it left out; nothing when the job named its steps."""
    if search is None:
        return []
    energy = "" if search["joules"] is None else f", {formats.joules(search['joules'])}"
    took = f"{formats.seconds(search['seconds'])}{energy}"
    lines = [f"Search: {search['num_measured']} pipelines measured in {took}. Ended: {search['stopped']}."]
    if search["skipped"]:
        lines.append(f"  Left out ({len(search['skipped'])}):")
        lines += [f"  - {name}: {reason}" for name, reason in list(search["skipped"].items())[:_MAX_REASONS]]
        num_more = len(search["skipped"]) - _MAX_REASONS
        lines += [f"  - and {num_more} more, which --json names"] if num_more > 0 else []
    return lines


def changes_lines(view: Json) -> list[str]:
    """How the answers of the chosen variant differ from those of the full model."""
    found = what_changed(view)
    if found is None:
        return []
    lines = [f"What changed with {found.name}:", *(f"  {sentence}" for sentence in found.sentences)]
    if warning := hidden_loss_warning(view):
        lines.append(f"  WARNING: {warning}")
    elif found.groups:
        lines.append("  No class or slice lost, beyond chance, more than the whole.")
    return lines


def _legend(view: Json) -> list[str]:
    """What marks and columns mean, as far as they are there."""
    name = str(view["metric"]["name"])
    allowed = drop_text((view["job"]["compress"] or {}).get("max_accuracy_drop"), name)
    metric = name.replace("_", " ")
    lines = [
        f"{metric}: on the test split. drop: on validation, which decides; up to {allowed} is allowed.",
        "front: nothing else is as good in quality, bytes, latency and energy, and better in one.",
        "p50: one thread, one example, and half of its quartile range. x torch, x ONNX: times as fast as "
        "the full model there.",
        f"energy: of 1,000 inferences. paid back: {formats.count(view['inferences'])} are declared.",
    ]
    if any(not variant["qualifies"] for variant in view["variants"]):
        lines.append(f"{TOO_MUCH_MARK} loses more than is allowed")
    lines += [
        f"{DOUBTFUL_MARK} {variant['name']}: {variant['latency_problem']}"
        for variant in view["variants"]
        if variant["latency_problem"]
    ]
    return lines


def _verdict(view: Json) -> list[str]:
    head = f"{CHOSEN_MARK} chosen" if chosen_variant(view) is not None else "No variant was chosen"
    lines = [f"{head}: {view['reason']}", *([view["pays"]] if view["pays"] else [])]
    if view["warning"]:
        lines.append(f"WARNING: {view['warning']}")
    return lines


def _style(view: Json, variant: Json) -> str | None:
    return "bold" if variant["name"] == view["chosen"] else None


def _first_latency(variant: Json) -> str:
    # Runs from before there were several conditions have the median alone.
    latencies = variant["latencies"]
    return latency_text(latencies[0]) if latencies else formats.seconds(variant["latency_p50_seconds"])


def _short(count: int | str) -> str:
    """12,300,000 as 12M; `never` as it is."""
    if isinstance(count, str):
        return count
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{formats.digits(count / size, 2)}{unit}"
    return str(count)


def _name(view: Json, variant: Json) -> str:
    name = variant["name"]
    return variant_name(name, is_chosen=name == view["chosen"], width=_NAME_WIDTH)
