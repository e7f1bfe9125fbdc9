"""The variants of a run as two tables and what is to be said of them, for a terminal of 80 columns or more.

    quality and size     accuracy with its interval, drop, bytes, share of the original's, front
    speed and energy     median with its spread, times as fast as torch and as ONNX, energy, break-even

Numbers are written by the same functions as in the report, so that both say the same.

Not covered: everything that is known of a variant. The report and `--json` have it all.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from ayni.cli.tables import CHOSEN_MARK, plain_table, variant_name
from ayni.reports import formats
from ayni.reports.compress_view import FULL, hidden_losses, worst_group

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
    metric = str(view["metric"])
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
            latency_text(variant["latencies"][0]) + (DOUBTFUL_MARK if variant["latency_problem"] else ""),
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
    """How much worse, as a positive number; one that is better has a minus."""
    return formats.metric_change(drop, metric).removeprefix("+")


def latency_text(latency: Json) -> str:
    """The median, and half of the way between the quartiles in per cent of it."""
    p50 = latency["p50_seconds"]
    spread = (latency["p75_seconds"] - latency["p25_seconds"]) / 2 / p50
    shown = f"{spread:.0%}" if spread <= _LARGEST_SPREAD else f">{_LARGEST_SPREAD:.0%}"
    return f"{formats.seconds(p50)} \N{PLUS-MINUS SIGN}{shown}".replace(" ", formats.NO_BREAK_SPACE)


def ratio_text(ratio: float | None) -> str:
    """A quotient with two digits."""
    return formats.UNKNOWN if ratio is None else formats.digits(ratio, 2)


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
        lines.append(f"  Not measured in full ({len(search['skipped'])}):")
        lines += [f"  - {name}: {reason}" for name, reason in list(search["skipped"].items())[:_MAX_REASONS]]
        num_more = len(search["skipped"]) - _MAX_REASONS
        lines += [f"  - and {num_more} more, which --json names"] if num_more > 0 else []
    return lines


def changes_lines(view: Json) -> list[str]:
    """How the answers of the chosen variant differ from those of the full model."""
    variant = next((one for one in view["variants"] if one["name"] == view["chosen"]), None)
    if variant is None:
        return []
    changes = variant["changes"]
    if changes is None:
        reason = variant["no_changes_reason"] or "nobody looked"
        return [f"What changed with {variant['name']} is not known: {reason}."]
    return [
        f"What changed with {variant['name']}, in {changes['accuracy']['num_examples']:,} test examples:",
        f"  answers      {_flips(changes)}",
        *_worst_class(variant),
        f"  hidden       {_hidden(variant)}",
        f"  calibration  {_calibration(changes)}",
    ]


def group_text(group: Json) -> str:
    """A class or slice that lost: its name, how much, of how many examples, and how sure that is."""
    sure = {"lost": "beyond chance", "unclear": "chance could do it", "kept": "within what it may lose"}
    drop = drop_text(group["drop"], "accuracy")
    name, num_examples = formats.visible(str(group["name"])), group["num_examples"]
    return f"{name} lost {drop} of accuracy ({num_examples:,} examples; {sure[group['verdict']]})"


def _legend(view: Json) -> list[str]:
    """What marks and columns mean, as far as they are there."""
    metric = str(view["metric"]).replace("_", " ")
    allowed = drop_text(view["max_accuracy_drop"], view["metric"])
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
    head = f"{CHOSEN_MARK} chosen" if view["chosen"] is not None else "No variant was chosen"
    lines = [f"{head}: {view['reason']}", *([view["pays"]] if view["pays"] else [])]
    if view["warning"]:
        lines.append(f"WARNING: {view['warning']}")
    return lines


def _style(view: Json, variant: Json) -> str | None:
    return "bold" if variant["name"] == view["chosen"] else None


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


def _flips(changes: Json) -> str:
    share = formats.share(changes["flip_rate"], 1.0)
    text = (
        f"{changes['num_flipped']:,} differ ({share}): {changes['num_lost']:,} became wrong, "
        f"{changes['num_won']:,} became right"
    )
    without = changes["num_without_answer"]
    return text + (f"; {without:,} have no finite answer" if without else "")


def _worst_class(variant: Json) -> list[str]:
    worst = worst_group(variant)
    if worst is None:
        return []
    return [f"  worst class  {group_text(worst) if worst['drop'] > 0 else 'none lost anything'}"]


def _hidden(variant: Json) -> str:
    losses: Sequence[Json] = hidden_losses(variant)
    if not losses:
        return "no class or slice lost, beyond chance, more than the whole"
    return "; ".join(group_text(group) for group in losses)


def _calibration(changes: Json) -> str:
    before, after = changes["calibration_before"], changes["calibration_after"]
    if before is None or after is None:
        return "not known: the model gives no probabilities"
    return f"error {formats.digits(before, 2)} before, {formats.digits(after, 2)} after"
