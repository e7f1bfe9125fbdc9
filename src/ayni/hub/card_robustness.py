"""The model card's section on corrupted images: clean, absolute, mean corruption and relative error together.

Not covered: errors by kind, which the run's report has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ayni.hub.card_words import text


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustnessRow:
    """One model. Errors are shares; the two percentages are None without a reference or a ratio."""

    name: str
    clean_error: float
    mean_error: float
    mce_percent: float | None
    relative_mce_percent: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRobustness:
    """What 15 kinds of corruption at 5 severities do to the model. `reference` None: there was none."""

    num_examples: int
    seed: int
    reference: str | None
    rows: Sequence[RobustnessRow]


def robustness_section(found: CardRobustness | None) -> str:
    """The section; empty when nobody looked."""
    if found is None:
        return ""
    lines = [
        "## Robustness",
        "",
        f"{found.num_examples:,} test images under the 15 kinds of corruption of ImageNet-C at 5 severities, "
        f"seed {found.seed}. Errors are shares of wrong answers.",
        "",
    ]
    ratios = ["mCE", "Relative mCE"] if found.reference is not None else []
    heads = ["Model", "Clean error", "Corrupted, mean", *ratios]
    lines += [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    lines += [_row(row, has_ratios=bool(ratios)) for row in found.rows]
    if found.reference is None:
        lines += ["", "No reference was measured beside it, so there is no mean corruption error (mCE)."]
    else:
        lines += [
            "",
            f"mCE is relative to {text(found.reference)} (100 is as bad) and cannot be compared with tables "
            "that use another reference. Relative mCE compares what corruption adds to the clean error.",
        ]
    return "\n".join(lines)


def _row(row: RobustnessRow, *, has_ratios: bool) -> str:
    cells = [text(row.name), f"{row.clean_error:.1%}", f"{row.mean_error:.1%}"]
    if has_ratios:
        cells += [
            "no ratio" if value is None else f"{value:.1f}"
            for value in (row.mce_percent, row.relative_mce_percent)
        ]
    return f"| {' | '.join(cells)} |"
