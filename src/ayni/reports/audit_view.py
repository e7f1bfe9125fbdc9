"""What an audit found, as the run object has it and as the page shows it.

Not covered: attacking anything; the data package did that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ayni.reports import formats
from ayni.reports.gallery import data_uri
from ayni.reports.picking import absolute, picked, picked_all
from ayni.reports.plots import Figure, Series, line_plot
from ayni.reports.variants import View

AUDIT_KEYS = (
    "method",
    "num_shadow_models",
    "verdict",
    "attack",
    "positive_control",
    "negative_control",
    "exposed",
)
VERDICT_KEYS = ("kind", "reasons")
ATTACK_KEYS = (
    "num_members",
    "num_non_members",
    "auc",
    "hits_at_1_percent",
    "hits_at_01_percent",
    "epsilon_low",
    "curve",
)
SHARE_KEYS = ("value", "low", "high")
EXPOSED_KEYS = ("row", "label", "score", "confidence", "usual_confidence", "image")
VERDICTS = {
    "pass": "no leak was found",
    "warn": "a small leak was found",
    "fail": "the model gives away training examples",
    "none": "no verdict",
    "void": "the audit is void",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackRow:
    """One attack as a row of the page's table."""

    name: str
    auc: str
    hits: str
    expected: str


def audit_view(result: Mapping[str, Any] | None, folder: Path) -> dict[str, Any] | None:
    """The documented keys of an audit; null where there was none."""
    audit = picked(result, AUDIT_KEYS)
    if audit is None or result is None:
        return None
    audit["verdict"] = picked(audit["verdict"], VERDICT_KEYS)
    for name in ("attack", "positive_control", "negative_control"):
        attack = audit[name] = picked(audit[name], ATTACK_KEYS)
        assert attack is not None, "an audit has all three"
        for share in ("auc", "hits_at_1_percent", "hits_at_01_percent"):
            attack[share] = picked(attack[share], SHARE_KEYS)
    shown = zip(result["exposed"], result["label_names"], result["images"], strict=True)
    audit["exposed"] = picked_all(
        [{**one, "label": label, "image": absolute(image, folder)} for one, label, image in shown],
        EXPOSED_KEYS,
    )
    return audit


def attack_rows(view: View) -> list[AttackRow]:
    """The attack and its controls, with what each should have come to."""
    audit = view["audit"]
    if audit is None:
        return []
    return [
        attack_row("this model", audit["attack"], "0.5 is guessing"),
        attack_row("a model that knows its examples by heart", audit["positive_control"], "must be found"),
        attack_row("a model that never saw them", audit["negative_control"], "must be guessing"),
    ]


def attack_plot(view: View) -> Markup:
    """Training examples found, by false alarms; empty without an audit."""
    if view["audit"] is None:
        return Markup("")
    return curve_plot(
        view["audit"]["attack"],
        title="Training examples found by false alarms",
        what="Training examples found",
    )


def curve_plot(attack: Mapping[str, Any], *, title: str, what: str) -> Markup:
    """The attack's curve beside that of guessing."""
    figure = Figure(
        key="audit-curve",
        title=title,
        description=(
            f"At 1 % false alarms {attack['hits_at_1_percent']['value']:.1%} are found; the area under the "
            f"curve is {attack['auc']['value']:.3f}, where guessing has 0.5."
        ),
        x_label="False alarms",
        y_label=what,
        write_x=_percent,
        write_y=_percent,
        y_from=0.0,
        y_to=1.0,
    )
    return line_plot(
        figure,
        [
            Series(name="attack", points=[(alarms, hits) for alarms, hits in attack["curve"]]),
            Series(name="guessing", points=[(0.0, 0.0), (1.0, 1.0)]),
        ],
    )


def exposed_records(view: View) -> list[dict[str, Any]]:
    """The examples that the attack was surest of, with their pictures as data."""
    audit = view["audit"]
    if audit is None:
        return []
    return [{**one, "picture": data_uri(one["image"])} for one in audit["exposed"]]


def verdict_text(view: View) -> str:
    """The verdict in a few words; empty without an audit."""
    return "" if view["audit"] is None else VERDICTS[view["audit"]["verdict"]["kind"]]


def attack_row(name: str, attack: Mapping[str, Any], expected: str) -> AttackRow:
    """One attack as a row: area and hits with their intervals."""
    auc, hits = attack["auc"], attack["hits_at_1_percent"]
    return AttackRow(
        name=name,
        auc=f"{auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})",
        hits=f"{formats.share(hits['value'], 1)} ({hits['low']:.1%} to {hits['high']:.1%})",
        expected=expected,
    )


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
