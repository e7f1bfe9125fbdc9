"""From measurements to a verdict: pass, warn, fail, or none where nothing can be said.

A leak is claimed where an interval's lower bound is above a limit: what chance alone could do fails nobody.
The other side of that is that few records would always pass, so too few get no verdict, and an audit whose
controls do not come out as they must is void.

The limits are our own, set between what a model with differential privacy at epsilon 1 reaches and what one
without care reaches (docs/leak-audit.md); a member may ask for stricter ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from ayni.data.audit.attack import AttackResult, Share

Kind = Literal["pass", "warn", "fail", "none", "void"]

# An AUC's interval is +-0.05 wide with about this many on each side (two variances of 1 / 12 n).
LEAST_RECORDS = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From where a measurement warns and from where it fails, compared with the interval's lower bound."""

    auc_warn: float = 0.55
    auc_fail: float = 0.60
    hits_warn: float = 0.02
    """Share of members found at 1 % false alarms."""
    hits_fail: float = 0.05
    near_copies_fail: float = 0.001
    """Share of generated records that nearly repeat a training record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the audit concludes, and from what."""

    kind: Kind
    reasons: Sequence[str]

    @property
    def forbids_publishing(self) -> bool:
        """A failed audit forbids; a warning, or an audit that says nothing, does not."""
        return self.kind == "fail"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The verdict that `to_json` wrote."""
        return cls(kind=data["kind"], reasons=tuple(data["reasons"]))


def too_few(num_members: int, num_non_members: int) -> Verdict | None:
    """No verdict where an interval would be wider than the limits are apart; None when there are enough."""
    if min(num_members, num_non_members) >= LEAST_RECORDS:
        return None
    reason = (
        f"{num_members} members and {num_non_members} non-members are too few: an attack is judged on at "
        f"least {LEAST_RECORDS} of each, where its AUC is known to 0.05"
    )
    return Verdict(kind="none", reasons=(reason,))


def judge_attack(attack: AttackResult, limits: Limits, *, claimed_epsilon: float | None = None) -> Verdict:
    """The verdict on one attack; a proven epsilon above the claimed one fails whatever the limits say."""
    auc, hits = attack.auc.low, attack.hits_at_1_percent.low
    reasons: list[str] = []
    kind: Kind = "pass"
    if claimed_epsilon is not None and attack.epsilon_low > claimed_epsilon:
        kind = "fail"
        reasons.append(
            f"the attack proves epsilon >= {attack.epsilon_low:.2f}, and {claimed_epsilon:.2f} is claimed"
        )
    for name, low, warn, fail, unit in (
        ("AUC", auc, limits.auc_warn, limits.auc_fail, ""),
        (
            "members found at 1 % false alarms",
            100 * hits,
            100 * limits.hits_warn,
            100 * limits.hits_fail,
            " %",
        ),
    ):
        if low > fail:
            kind = "fail"
            reasons.append(f"{name} is at least {low:.3g}{unit}, above {fail:.3g}{unit}")
        elif low > warn:
            kind = "warn" if kind == "pass" else kind
            reasons.append(f"{name} is at least {low:.3g}{unit}, above {warn:.3g}{unit}")
    return Verdict(kind=kind, reasons=tuple(reasons) or (_calm(attack),))


def judge_near_copies(share: Share, limits: Limits) -> Verdict:
    """The verdict on how many generated records nearly repeat a training record."""
    text = f"{share.value:.2%} near copies ({share.low:.2%} to {share.high:.2%})"
    if share.low > limits.near_copies_fail:
        return Verdict(kind="fail", reasons=(f"{text}, above {limits.near_copies_fail:.2%}",))
    return Verdict(kind="pass", reasons=(text,))


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The severest of several, with the reasons of all that are as severe."""
    order = ("pass", "warn", "fail")
    kind = max((verdict.kind for verdict in verdicts), key=order.index)
    return Verdict(
        kind=kind, reasons=tuple(reason for one in verdicts if one.kind == kind for reason in one.reasons)
    )


def void(reasons: Sequence[str]) -> Verdict:
    """The controls did not come out as they must, so that nothing follows from the rest."""
    return Verdict(kind="void", reasons=tuple(reasons))


def _calm(attack: AttackResult) -> str:
    return (
        f"AUC {attack.auc.value:.3f} ({attack.auc.low:.3f} to {attack.auc.high:.3f}), "
        f"{attack.hits_at_1_percent.value:.1%} of members found at 1 % false alarms"
    )
