"""What `ayni explain` found, for a terminal: the verdict, the examples in a table, and where the page is.

Not covered: pictures; the page has them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from ayni.cli.tables import plain_table
from ayni.reports import formats
from ayni.reports.explain_section import importance_bars, mark

MAX_ROWS = 12
NUM_STRONGEST = 3


def parts(found: Mapping[str, Any]) -> list[RenderableType]:
    """Everything that is printed, in its order."""
    view = {"explain": found, "baseline": None}
    shown: list[RenderableType] = [f"Method: {found['method'] or 'none'}"]
    if verdict := mark(view):
        shown.append(f"{verdict.text.upper()}: {verdict.sentence}")
    checks = found["checks"] or {"reasons": [], "notes": []}
    shown += [f"- {sentence}" for sentence in (*checks["reasons"], *checks["notes"])]
    shown += [_curves(checks)] if "deletion" in checks else []
    if found["items"]:
        shown += ["", _examples(found["items"], found["variant"])]
    if found["num_disagreements"] is not None:
        shown.append(
            f"{found['variant']} answers {formats.count(found['num_disagreements'])} of "
            f"{formats.count(found['num_compared'])} test examples otherwise than the full model."
        )
    shown += [f"- {sentence}" for sentence in (found["changed"] or {"reasons": []})["reasons"]]
    for bars in importance_bars(view):
        table = plain_table("feature", "worth", "interval")
        for bar in bars.bars:
            table.add_row(bar.name, bar.written, bar.range)
        shown += ["", "What each feature is worth: the metric's drop when it is shuffled", table, bars.note]
    return [*shown, *([found["note"]] if found["note"] else []), f"Page: {found['page']}"]


def _curves(checks: Mapping[str, Any]) -> RenderableType:
    table = plain_table("area below the curve", "by rating", "random ink", "right when")
    for name, better in (("deletion", "smaller"), ("insertion", "larger")):
        curve = checks[name]
        table.add_row(name, f"{curve['area_attributed']:.3f}", f"{curve['area_random']:.3f}", better)
    return table


def _examples(items: Sequence[Mapping[str, Any]], variant: str | None) -> RenderableType:
    beside = [] if variant is None else [variant]
    strongest = ["strongest"] if any(map(_strongest, items)) else []
    table = plain_table("example", "label", "full model", *beside, *strongest, left=strongest)
    for item in items[:MAX_ROWS]:
        others = [formats.visible(item["variant_prediction"] or "")] if beside else []
        table.add_row(
            f"{item['index']} {item['kind']}",
            formats.visible(item["label"]),
            f"{formats.visible(item['prediction'])} ({formats.share(item['confidence'], 1)})",
            *others,
            *([_strongest(item)] if strongest else []),
        )
    if len(items) > MAX_ROWS:
        table.add_row(f"and {len(items) - MAX_ROWS} more")
    return table


def _strongest(item: Mapping[str, Any]) -> str:
    """The strongest words or features with their signs; of an image nothing, for it has the page."""
    if item["features"]:
        named = [(one["name"], one["attribution"]) for one in item["features"]]
    elif item["tokens"] and item["values"]:
        named = list(zip(item["tokens"], item["values"], strict=True))
        named = [(name, value) for name, value in named if name]
    else:
        return ""
    strongest = sorted(named, key=lambda pair: -abs(pair[1]))[:NUM_STRONGEST]
    return ", ".join(f"{formats.visible(name)} {formats.signed(value)}" for name, value in strongest)
