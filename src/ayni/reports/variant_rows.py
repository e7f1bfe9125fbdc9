"""The table of variants: what stands in each cell, besides the numbers themselves.

A number alone misleads in three ways that a row has to speak against: smaller is not faster, the runtime is
not the compression, and a mean hides a class. So below the size stands the share, below the latency both
speed-ups, and what is bad is said in words beside the name.

Not covered: how the table looks (results.html.j2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ayni.reports import formats
from ayni.reports.variants import (
    RUNTIMES,
    Variant,
    View,
    full_variant,
    hidden_losses,
    in_reading_order,
    is_slower,
    same_runtime_variant,
    speed_up,
)

NOT_TO_BE_QUOTED = "not to be quoted"
MAX_NAMED = 3
"""Groups named in a row; the section on what changed has all of the chosen one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A few words in a cell; those that warn stand out."""

    text: str
    is_bad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One variant, and what its row says besides its numbers.

    badges: beside the name. beside: under it. size, latency: under those numbers.
    break_even: inferences until its making is paid back, with interval; empty for the full model.
    """

    variant: Variant
    badges: Sequence[Remark]
    beside: Sequence[Remark]
    size: Sequence[Remark]
    latency: Sequence[Remark]
    break_even: str


def rows(view: View) -> tuple[list[Row], list[Row]]:
    """Rows to show, and rows to fold away."""
    shown, folded = in_reading_order(view)
    return [_row(view, variant) for variant in shown], [_row(view, variant) for variant in folded]


def has_break_even(view: View) -> bool:
    """Whether there is anything to say of it; runs from before it was computed have none."""
    return any(variant["break_even_text"] is not None for variant in view["variants"])


def doubtful_latencies(view: View) -> list[Remark]:
    """For each variant whose latency is not to be quoted, why."""
    return [
        Remark(text=f"{variant['name']}: {variant['latency_problem']}", is_bad=True)
        for variant in view["variants"]
        if variant["latency_problem"]
    ]


def loss_text(group: Mapping[str, Any]) -> str:
    """A group and what it lost: class 8 lost 7.5 pt."""
    lost = formats.metric_lost(group["drop"], "accuracy")
    return f"{group['kind']} {formats.visible(str(group['name']))} lost {lost}"


def _row(view: View, variant: Variant) -> Row:
    return Row(
        variant=variant,
        badges=_badges(view, variant),
        beside=_beside(variant),
        size=_size(view, variant),
        latency=_latency(view, variant),
        break_even=_break_even(variant),
    )


def _badges(view: View, variant: Variant) -> list[Remark]:
    badges = []
    if variant["name"] == view["chosen"]:
        badges.append(Remark(text="chosen"))
    elif variant["is_on_front"]:
        badges.append(Remark(text="on the front"))
    if variant["qualifies"] is False:
        badges.append(Remark(text="does not qualify", is_bad=True))
    if variant["is_candidate"] and is_slower(view, variant):
        badges.append(Remark(text="slower than the original", is_bad=True))
    if hidden_losses(variant):
        badges.append(Remark(text="hidden loss", is_bad=True))
    return badges


def _beside(variant: Variant) -> list[Remark]:
    remarks = [Remark(text=RUNTIMES.get(variant["runtime"], str(variant["runtime"])))]
    losses = hidden_losses(variant)
    if losses:
        named = ", ".join(map(loss_text, losses[:MAX_NAMED]))
        more = f" and {len(losses) - MAX_NAMED} more" if len(losses) > MAX_NAMED else ""
        remarks.append(Remark(text=named + more, is_bad=True))
    return remarks


def _size(view: View, variant: Variant) -> list[Remark]:
    full = full_variant(view)
    remarks = []
    if full is not None and variant["name"] != full["name"]:
        ratio = formats.share(variant["stored_bytes"], full["stored_bytes"])
        if ratio != formats.UNKNOWN:
            remarks.append(Remark(text=f"{ratio} of {full['name']}"))
    if variant["peak_memory_bytes"] is not None:
        remarks.append(Remark(text=f"in memory {formats.stored_bytes(variant['peak_memory_bytes'])}"))
    return remarks


def _latency(view: View, variant: Variant) -> list[Remark]:
    others = {
        other["name"]: other
        for other in (full_variant(view), same_runtime_variant(view, variant))
        if other is not None and other["name"] != variant["name"]
    }
    remarks = []
    for name, other in others.items():
        ratio = speed_up(other, variant)
        if ratio is not None:
            words = formats.times(ratio, 1.0, less="faster than", more="slower than") or ""
            words = "as fast as" if words == "about the same" else words
            remarks.append(Remark(text=f"{words} {name}", is_bad="slower" in words))
    if variant["latency_problem"]:
        remarks.append(Remark(text=NOT_TO_BE_QUOTED, is_bad=True))
    return remarks


def _break_even(variant: Variant) -> str:
    answer = variant["break_even"]
    if answer is None:
        return formats.UNKNOWN if variant["is_candidate"] else ""
    return formats.inferences_until(answer["low"], answer["best"], answer["high"])
