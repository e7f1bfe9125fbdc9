"""What the chosen variant answers otherwise than the full model, beyond the one number of the mean.

Not covered: which examples those are, as pictures; `explain` shows some of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ayni.reports import formats
from ayni.reports.variant_rows import Remark, loss_text
from ayni.reports.variants import View, chosen_variant, full_variant, hidden_losses

Group = Mapping[str, Any]

ACCURACY = "accuracy"
MAX_GROUPS = 12
"""Rows that are shown; the rest of them is folded away."""
MAX_INDICES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """A class or slice: its accuracy before and after, what it lost with interval, and the verdict."""

    name: str
    kind: str
    num_examples: int
    before: str
    after: str
    lost: str
    verdict: Remark


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatChanged:
    """The section on one variant.

    sentences: what happened to all of the test data.
    groups, more_groups: those that lost most, and the others.
    legend: how to read the verdicts; empty without groups.
    indices: which examples became wrong, the first of them; empty when none did.
    """

    name: str
    sentences: Sequence[str]
    groups: Sequence[GroupRow] = ()
    more_groups: Sequence[GroupRow] = ()
    legend: str = ""
    indices: str = ""


def what_changed(view: View) -> WhatChanged | None:
    """Of the chosen variant; None when none was chosen, it is the full model, or the run does not tell."""
    chosen, full = chosen_variant(view), full_variant(view)
    if chosen is None or full is None or chosen["name"] == full["name"]:
        return None
    changes = chosen["changes"]
    if changes is None:
        reason = chosen["no_changes_reason"]
        if not reason:
            return None
        return WhatChanged(name=chosen["name"], sentences=[f"Not compared answer by answer: {reason}."])
    groups = sorted(changes["groups"], key=_by_drop)
    rows = [_group_row(group) for group in groups]
    return WhatChanged(
        name=chosen["name"],
        sentences=[*_flips(changes), *_accuracy(changes), *_worst(groups), *_calibration(changes)],
        groups=rows[:MAX_GROUPS],
        more_groups=rows[MAX_GROUPS:],
        legend=_legend(view, groups),
        indices=_indices(changes),
    )


def hidden_loss_warning(view: View) -> str | None:
    """That the chosen variant loses on a group what its mean does not tell; None when it does not."""
    chosen = chosen_variant(view)
    losses = hidden_losses(chosen) if chosen else []
    if not chosen or not losses:
        return None
    named = "; ".join(
        f"{loss_text(group)} (from {formats.metric(group['accuracy']['before'], ACCURACY)} to "
        f"{formats.metric(group['accuracy']['after'], ACCURACY)})"
        for group in losses
    )
    whole = formats.metric_lost(-chosen["changes"]["accuracy"]["difference"], ACCURACY)
    return f"{chosen['name']} loses {whole} in all, and more than that in parts, beyond chance: {named}."


def _flips(changes: Mapping[str, Any]) -> list[str]:
    total, flipped = changes["accuracy"]["num_examples"], changes["num_flipped"]
    if not flipped:
        return [f"All {formats.count(total)} test examples are answered as before."]
    lost, won = changes["num_lost"], changes["num_won"]
    parts = [f"{formats.count(lost)} became wrong", f"{formats.count(won)} became right"]
    if other := flipped - lost - won:
        parts.append(f"{formats.count(other)} {'is' if other == 1 else 'are'} wrong in another way")
    sentences = [
        f"{formats.count(flipped)} of {formats.count(total)} test examples "
        f"({formats.share(flipped, total)}) are answered differently: {', '.join(parts)}."
    ]
    if missing := changes["num_without_answer"]:
        sentences.append(
            f"{formats.count(missing)} got no finite number for an answer, which counts as wrong."
        )
    return sentences


def _accuracy(changes: Mapping[str, Any]) -> list[str]:
    accuracy = changes["accuracy"]
    before, after = (formats.metric(accuracy[key], ACCURACY) for key in ("before", "after"))
    is_gain = accuracy["difference"] > 0
    what = f"a gain of {_gained(accuracy)}" if is_gain else f"a loss of {_lost(accuracy)}"
    return [f"Right answers: {before} before, {after} after, {what}."]


def _worst(groups: Sequence[Group]) -> list[str]:
    found = []
    for kind in ("class", "slice"):
        worst = next((group for group in groups if group["kind"] == kind and group["drop"] is not None), None)
        if worst is None:
            continue
        if worst["drop"] <= 0:
            found.append(f"No {kind} lost.")
        else:
            before, after = (formats.metric(worst["accuracy"][key], ACCURACY) for key in ("before", "after"))
            name = formats.visible(str(worst["name"]))
            lost = formats.metric_lost(worst["drop"], ACCURACY)
            found.append(f"The {kind} that lost most is {name}: {before} before, {after} after ({lost}).")
    return found


def _calibration(changes: Mapping[str, Any]) -> list[str]:
    before, after = changes["calibration_before"], changes["calibration_after"]
    if before is None or after is None:
        return []
    return [
        "Expected calibration error (how far the model's confidence lies from how often it is right): "
        f"{formats.metric(before, ACCURACY)} before, {formats.metric(after, ACCURACY)} after."
    ]


def _group_row(group: Group) -> GroupRow:
    accuracy = group["accuracy"] or {}
    return GroupRow(
        name=formats.visible(str(group["name"])),
        kind=group["kind"],
        num_examples=group["num_examples"],
        before=formats.metric(accuracy.get("before"), ACCURACY),
        after=formats.metric(accuracy.get("after"), ACCURACY),
        lost=_lost(accuracy) if accuracy else formats.UNKNOWN,
        verdict=_verdict(group),
    )


def _verdict(group: Group) -> Remark:
    if group["is_hidden_loss"]:
        return Remark(text="lost, hidden by the mean", is_bad=True)
    return Remark(text=group["verdict"] or formats.UNKNOWN, is_bad=group["verdict"] == "lost")


def _lost(accuracy: Mapping[str, float]) -> str:
    """Before minus after, with its interval: 0.5 pt (0.1 to 0.9)."""
    return _points(-accuracy["difference"], -accuracy["high"], -accuracy["low"])


def _gained(accuracy: Mapping[str, float]) -> str:
    """After minus before, with its interval."""
    return _points(accuracy["difference"], accuracy["low"], accuracy["high"])


def _points(value: float, low: float, high: float) -> str:
    written = [formats.metric_change(each, ACCURACY).replace("+", "") for each in (value, low, high)]
    ends = [end.partition(formats.NO_BREAK_SPACE)[0] for end in written[1:]]
    return f"{written[0]} ({ends[0]} to {ends[1]})"


def _legend(view: View, groups: Sequence[Group]) -> str:
    if not groups:
        return ""
    allowed = (view["job"].get("compress") or {}).get("max_accuracy_drop")
    within = "the budget" if allowed is None else formats.metric_lost(allowed, ACCURACY)
    return (
        f"Kept: lost no more than {within}. Lost: more, and beyond chance (McNemar's exact test, corrected "
        f"for {len(groups)} groups). Unclear: more, on too few examples to tell. Lost, hidden by the mean: "
        "lost, while the whole lost less."
    )


def _indices(changes: Mapping[str, Any]) -> str:
    first = changes["lost"][:MAX_INDICES]
    if not first:
        return ""
    more = changes["num_lost"] - len(first)
    return ", ".join(map(str, first)) + (f" and {formats.count(more)} more" if more > 0 else "")


def _by_drop(group: Group) -> tuple[bool, float]:
    return group["drop"] is None, -(group["drop"] or 0.0)
