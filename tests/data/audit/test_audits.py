"""Whole audits on small data: leaks are found, others pass, and what cannot be said is not said."""

import numpy as np
import pytest

from ayni.data.audit.controls import noisy_copies, why_void
from ayni.data.audit.generator_audit import GeneratorAudit, audit_generated
from ayni.data.audit.model_audit import ClaimedPrivacy, Method, ModelAudit, audit_model
from ayni.data.audit.shadows import Predict
from ayni.data.audit.verdict import Limits
from ayni.data.records import Records


def blobs(count: int, *, seed: int, width: int = 12) -> Records:
    """Two overlapping classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    inputs = rng.normal(size=(count, width)) + 0.8 * labels[:, None] * (np.arange(width) < 4)
    return Records(inputs=inputs.astype(np.float32), labels=labels.astype(np.int64))


def by_heart(records: Records, *, seed: int) -> Predict:
    """A model that is sure where it knows a record, and else says what the class means say."""
    means = np.stack([records.inputs[records.labels == label].mean(axis=0) for label in (0, 1)])
    known = {
        values.tobytes(): int(label) for values, label in zip(records.inputs, records.labels, strict=True)
    }

    def predict(inputs: np.ndarray) -> np.ndarray:
        logits = -((inputs[:, None] - means) ** 2).sum(axis=2)
        for row, values in enumerate(inputs):
            if (label := known.get(values.tobytes())) is not None:
                logits[row, label] += 3
        odds: np.ndarray = np.exp(logits - logits.max(axis=1, keepdims=True))
        answer: np.ndarray = odds / odds.sum(axis=1, keepdims=True)
        return answer

    return predict


def by_public_means(records: Records, *, seed: int) -> Predict:
    """A model that learnt from others and knows none of the records."""
    public = blobs(500, seed=1000 + seed)
    means = np.stack([public.inputs[public.labels == label].mean(axis=0) for label in (0, 1)])

    def predict(inputs: np.ndarray) -> np.ndarray:
        odds: np.ndarray = np.exp(-((inputs[:, None] - means) ** 2).sum(axis=2) / 8)
        answer: np.ndarray = odds / odds.sum(axis=1, keepdims=True)
        return answer

    return predict


@pytest.mark.parametrize("method", ["lira", "rmia"])
def test_a_model_that_knows_its_records_fails_and_one_that_knows_none_passes(method: Method) -> None:
    members, others = blobs(600, seed=1), blobs(400, seed=2)

    leaky, records = audit_model(
        by_heart(members, seed=0),
        by_heart,
        members,
        others,
        method=method,
        num_shadow_models=8,
    )
    calm, _ = audit_model(
        by_public_means(members, seed=0),
        by_public_means,
        members,
        others,
        method=method,
        num_shadow_models=8,
    )

    assert leaky.verdict.kind == "fail" and leaky.attack.auc.value > 0.9
    assert leaky.verdict.forbids_publishing
    assert all(one.row < 400 for one in leaky.exposed) and len(records) == 800
    assert calm.verdict.kind == "pass"
    for audit in (leaky, calm):
        assert audit.positive_control.auc.low > 0.9
        assert audit.negative_control.auc.low <= 0.5 <= audit.negative_control.auc.high
        assert ModelAudit.from_json(audit.to_json()) == audit


def test_a_promise_of_privacy_that_the_attack_disproves_fails_the_audit() -> None:
    members, others = blobs(300, seed=1), blobs(300, seed=2)

    audit, _ = audit_model(
        by_heart(members, seed=0),
        by_heart,
        members,
        others,
        num_shadow_models=4,
        limits=Limits(auc_warn=1, auc_fail=1, hits_warn=1, hits_fail=1),
        claimed=ClaimedPrivacy(epsilon=0.5, delta=1e-5),
    )

    # With limits that nothing reaches the positive control passes as well, and that voids an audit.
    assert audit.verdict.kind == "void"
    audit, _ = audit_model(
        by_heart(members, seed=0),
        by_heart,
        members,
        others,
        num_shadow_models=4,
        limits=Limits(hits_warn=1, hits_fail=1, auc_warn=0.998, auc_fail=0.999),
        claimed=ClaimedPrivacy(epsilon=0.5, delta=1e-5),
    )
    assert audit.verdict.kind == "fail" and "0.50 is claimed" in audit.verdict.reasons[0]


def test_few_records_get_no_verdict() -> None:
    members, others = blobs(100, seed=1), blobs(100, seed=2)

    audit, _ = audit_model(by_heart(members, seed=0), by_heart, members, others, num_shadow_models=4)
    made = audit_generated(noisy_copies(members, seed=0), members, others)

    assert audit.verdict.kind == made.verdict.kind == "none"
    assert "100 members" in audit.verdict.reasons[0]


def test_copies_fail_and_unseen_records_pass() -> None:
    members, others, unseen = (blobs(400, seed=seed) for seed in (1, 2, 3))

    copied = audit_generated(noisy_copies(members, seed=0), members, others)
    fresh = audit_generated(unseen, members, others)

    assert copied.verdict.kind == "fail" and copied.near_copies.value == 1
    assert [pair.member for pair in copied.pairs] == [pair.generated for pair in copied.pairs]
    assert fresh.verdict.kind == "pass" and fresh.rare is None
    assert GeneratorAudit.from_json(fresh.to_json()) == fresh


def test_data_that_say_nothing_fail_for_their_uselessness() -> None:
    members, others, unseen = (blobs(400, seed=seed) for seed in (1, 2, 3))
    shuffled = Records(inputs=unseen.inputs, labels=1 - unseen.labels)

    audit = audit_generated(shuffled, members, others)

    assert audit.verdict.kind == "fail" and "nine tenths" in audit.verdict.reasons[0]


def test_shadow_generators_find_rare_records_that_averages_hide() -> None:
    members, others = blobs(400, seed=1), blobs(400, seed=2)

    def repeats_the_rare(records: Records, seed: int) -> Records:
        """Unseen records, and the farthest of those that it learnt from."""
        far = np.argsort(-(records.inputs**2).sum(axis=1))[:60]
        return blobs(400, seed=100 + seed).joined(records.subset(far))

    audit = audit_generated(
        repeats_the_rare(members, 0),
        members,
        others,
        limits=Limits(near_copies_fail=0.5),
        make_generated=repeats_the_rare,
        num_shadows=8,
    )

    assert audit.rare is not None and audit.rare.auc.low > audit.attack.auc.high


def test_members_that_differ_from_non_members_by_themselves_void_the_audit() -> None:
    members, others = blobs(400, seed=1), blobs(400, seed=2)
    moved = Records(inputs=others.inputs + 1, labels=others.labels)

    audit = audit_generated(blobs(400, seed=3), members, moved)

    assert audit.verdict.kind == "void" and "negative control" in audit.verdict.reasons[0]
    assert why_void(audit.positive_control, audit.negative_control, Limits())
