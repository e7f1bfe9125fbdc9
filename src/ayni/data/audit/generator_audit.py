"""Audit of generated data: do they repeat the records that the generator was trained on?

    near copies        generated records that are closer to a member than members are to each other
    distance attack    is a member closer to the generated records than a stranger is?
    rare records       the same for the most isolated records alone, against shadow generators (optional)
    utility            is a classifier that learns from them nearly as good as one that learns from members?

The last is a gate, too: data that say nothing leak nothing. The distance to the closest record is shown and
judges nothing. Controls run beside: copies with 2 % noise must fail, unseen records must pass.

Sources: data.audit.distances; Esteban, Hyland and Raetsch, "Real-valued (medical) time series generation with
recurrent conditional GANs", 2017, arXiv:1706.02633 (train on synthetic, test on real); shadow generators as
in Stadler, Oprisanu and Troncoso, "Synthetic data - anonymisation groundhog day", USENIX Security 2022,
arXiv:2011.07018.

Not covered: attacks that know the generator's weights, and singling out or linking by columns of a table.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ayni.data.audit.attack import AttackResult, Scores, Share, measure_attack
from ayni.data.audit.controls import noisy_copies, why_void
from ayni.data.audit.distances import (
    attack_scores,
    closer_to_members,
    copy_distance,
    distances_between,
    near_copies,
    nearest,
    scaled_alike,
)
from ayni.data.audit.membership import lira_scores
from ayni.data.audit.shadows import draw_halves
from ayni.data.audit.verdict import (
    Limits,
    Verdict,
    judge_attack,
    judge_near_copies,
    too_few,
    void,
    worst,
)
from ayni.data.records import Records
from ayni.errors import MissingExtraError

MakeGenerated = Callable[[Records, int], Records]
"""Trains a generator on records with a seed and gives what it generates."""

NUM_WORST = 8
NUM_ISOLATED = 20
LEAST_UTILITY = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Utility:
    """How good a plain classifier is on unseen real records."""

    from_generated: float
    """Accuracy after training on generated records (TSTR)."""
    from_real: float
    """Accuracy after training on as many members (TRTR)."""

    @property
    def is_useful(self) -> bool:
        """At least nine tenths of what real records give."""
        return self.from_generated >= LEAST_UTILITY * self.from_real

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the verdict."""
        return {**asdict(self), "is_useful": self.is_useful}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The utility that `to_json` wrote."""
        return cls(from_generated=data["from_generated"], from_real=data["from_real"])


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestPair:
    """A generated record beside the member and the non-member that are nearest to it."""

    generated: int
    member: int
    non_member: int
    to_member: float
    to_non_member: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorAudit:
    """What the attacks found, what the controls say, and the verdict."""

    num_generated: int
    near_copies: Share
    attack: AttackResult
    rare: AttackResult | None
    """Shadow generators against the most isolated records; None when none were trained."""
    closer_to_members: Share
    """A diagnostic, no gate."""
    utility: Utility
    positive_control: AttackResult
    negative_control: AttackResult
    verdict: Verdict
    pairs: Sequence[NearestPair]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "num_generated": self.num_generated,
            "near_copies": self.near_copies.to_json(),
            "attack": self.attack.to_json(),
            "rare": None if self.rare is None else self.rare.to_json(),
            "closer_to_members": self.closer_to_members.to_json(),
            "utility": self.utility.to_json(),
            "positive_control": self.positive_control.to_json(),
            "negative_control": self.negative_control.to_json(),
            "verdict": self.verdict.to_json(),
            "pairs": [asdict(pair) for pair in self.pairs],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The audit that `to_json` wrote."""
        return cls(
            num_generated=data["num_generated"],
            near_copies=Share.from_json(data["near_copies"]),
            attack=AttackResult.from_json(data["attack"]),
            rare=None if data["rare"] is None else AttackResult.from_json(data["rare"]),
            closer_to_members=Share.from_json(data["closer_to_members"]),
            utility=Utility.from_json(data["utility"]),
            positive_control=AttackResult.from_json(data["positive_control"]),
            negative_control=AttackResult.from_json(data["negative_control"]),
            verdict=Verdict.from_json(data["verdict"]),
            pairs=[NearestPair(**pair) for pair in data["pairs"]],
        )


def audit_generated(
    generated: Records,
    members: Records,
    non_members: Records,
    *,
    limits: Limits | None = None,
    make_generated: MakeGenerated | None = None,
    num_shadows: int = 16,
    seed: int = 0,
) -> GeneratorAudit:
    """Attack generated records with what the generator learnt from, and with records it never saw.

    Args:
        generated: What would be shared.
        members: All records that the generator was trained on.
        non_members: Records of the same source that it never saw; as many as there are members is best.
        limits: What warns and what fails.
        make_generated: Trains shadow generators for the rare records; None leaves that attack out.
        num_shadows: How many, an even number of 4 or more.
        seed: Of controls, shadow generators and the classifier of the utility.

    Raises:
        RecordsError: records do not fit each other.
        MissingExtraError: scikit-learn is absent.
    """
    own, made, others = scaled_alike(members, generated, non_members)
    limits = limits or Limits()
    to_member, closest_member = nearest(made, own)
    copies = near_copies(to_member, copy_distance(own))
    attack = measure_attack(*attack_scores(made, own, others))
    positive, negative = _controls(members, non_members, seed=seed)
    rare = (
        None
        if make_generated is None
        else attack_rare(generated, members, non_members, make_generated, num_shadows=num_shadows, seed=seed)
    )
    utility = measure_utility(generated, members, non_members, seed=seed)
    return GeneratorAudit(
        num_generated=len(generated),
        near_copies=copies,
        attack=attack,
        rare=rare,
        closer_to_members=closer_to_members(made, own, others),
        utility=utility,
        positive_control=positive,
        negative_control=negative,
        verdict=_verdict(
            [
                judge_near_copies(copies, limits),
                *(judge_attack(one, limits) for one in (attack, rare) if one),
            ],
            attack,
            utility,
            why_void(positive, negative, limits),
        ),
        pairs=_pairs(made, others, to_member, closest_member),
    )


def attack_rare(
    generated: Records,
    members: Records,
    non_members: Records,
    make_generated: MakeGenerated,
    *,
    num_shadows: int,
    seed: int,
) -> AttackResult:
    """The likelihood-ratio attack on the 20 most isolated members and as many such non-members.

    A record's score is minus the logarithm of its distance to the nearest generated record, compared with the
    same under shadow generators that had it and that did not. Averages hide exactly these records.
    """
    own, others = scaled_alike(members, non_members)
    member_rows, other_rows = _most_isolated(own), _most_isolated(others)
    rare = members.subset(member_rows).joined(non_members.subset(other_rows))
    base = members.subset(np.setdiff1d(np.arange(len(members)), member_rows))
    is_in_SR = draw_halves(len(rare), num_shadows, seed=seed)
    target_R = _log_closeness(rare, generated, members)
    shadows_SR = np.stack(
        [
            _log_closeness(
                rare, make_generated(base.joined(rare.subset(is_in_R)), seed + 1 + number), members
            )
            for number, is_in_R in enumerate(is_in_SR)
        ]
    )
    scores_R = lira_scores(target_R, shadows_SR, is_in_SR)
    return measure_attack(scores_R[: len(member_rows)], scores_R[len(member_rows) :])


def measure_utility(generated: Records, members: Records, unseen: Records, *, seed: int) -> Utility:
    """Accuracy on unseen records of logistic regression that learnt from generated, and from real records.

    Raises:
        MissingExtraError: scikit-learn is absent.
    """
    rng = np.random.default_rng([seed, 4])
    count = min(len(generated), len(members))
    real = members.subset(rng.permutation(len(members))[:count])
    made = generated.subset(rng.permutation(len(generated))[:count])
    return Utility(
        from_generated=_accuracy_of_regression(made, unseen), from_real=_accuracy_of_regression(real, unseen)
    )


def _accuracy_of_regression(train: Records, test: Records) -> float:
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise MissingExtraError(extra="data", package="scikit-learn") from error
    if len(np.unique(train.labels)) < 2:
        # Nothing was learnt but one answer.
        return float((test.labels == train.labels[0]).mean())
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3))
    model.fit(train.inputs.reshape(len(train), -1), train.labels)
    return float(model.score(test.inputs.reshape(len(test), -1), test.labels))


def _controls(members: Records, non_members: Records, *, seed: int) -> tuple[AttackResult, AttackResult]:
    """The distance attack on noisy copies of the members, and on unseen records as if generated."""
    copies = noisy_copies(members, seed=seed)
    half = np.random.default_rng([seed, 5]).permutation(len(non_members))
    unseen, rest = half[: len(half) // 2], half[len(half) // 2 :]
    own, made, others = scaled_alike(members, copies, non_members)
    positive = measure_attack(*attack_scores(made, own, others))
    negative = measure_attack(*attack_scores(others[unseen], own, others[rest]))
    return positive, negative


def _verdict(
    found: Sequence[Verdict], attack: AttackResult, utility: Utility, why_nothing_follows: Sequence[str]
) -> Verdict:
    if (few := too_few(attack.num_members, attack.num_non_members)) is not None:
        return few
    if why_nothing_follows:
        return void(why_nothing_follows)
    if not utility.is_useful:
        reason = (
            f"learning from the generated records reaches {utility.from_generated:.1%}, below nine tenths of "
            f"the {utility.from_real:.1%} from real ones: what says nothing leaks nothing"
        )
        found = [*found, Verdict(kind="fail", reasons=(reason,))]
    return worst(found)


def _pairs(
    made: NDArray[np.float32],
    others: NDArray[np.float32],
    to_member: Scores,
    closest_member: NDArray[np.intp],
) -> list[NearestPair]:
    """The generated records nearest to a member, with whom they resemble."""
    rows = np.argsort(to_member, kind="stable")[:NUM_WORST]
    to_other, closest_other = nearest(made[rows], others)
    return [
        NearestPair(
            generated=int(row),
            member=int(closest_member[row]),
            non_member=int(other),
            to_member=float(to_member[row]),
            to_non_member=float(distance),
        )
        for row, other, distance in zip(rows, closest_other, to_other, strict=True)
    ]


def _most_isolated(inputs: NDArray[np.float32]) -> NDArray[np.intp]:
    """The rows farthest from their nearest neighbour; at most half of all."""
    distances = distances_between(inputs, inputs)
    np.fill_diagonal(distances, np.inf)
    return np.argsort(-distances.min(axis=1), kind="stable")[: min(NUM_ISOLATED, len(inputs) // 2)]


def _log_closeness(rare: Records, generated: Records, members: Records) -> Scores:
    _, of_rare, made = scaled_alike(members, rare, generated)
    closeness: Scores = -np.log(np.maximum(nearest(of_rare, made)[0], 1e-9))
    return closeness
