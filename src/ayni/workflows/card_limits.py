"""What the model card says against a model: sentences from the evidence of its compression.

Not covered: what the task's owner knows of the model.
"""

from ayni.compress.evidence.changes import GroupChange
from ayni.compress.variants import CompressResult, Variant
from ayni.reports import formats
from ayni.reports.variants import ABOUT_THE_SAME

ACCURACY = "accuracy"


def card_limits(compressed: CompressResult) -> tuple[str, ...]:
    """The warning on the model itself, hidden losses, variants that are slower, and doubtful latencies."""
    full, *others = compressed.variants
    sentences = [compressed.warning] if compressed.warning else []
    sentences += [sentence for variant in others for sentence in _hidden_losses(variant)]
    sentences += [_slower(variant, full) for variant in others if _is_slower(variant, full)]
    doubtful = [variant for variant in compressed.variants if not variant.latency.is_valid]
    if doubtful:
        names = ", ".join(variant.name for variant in doubtful)
        sentences.append(f"Not to be quoted: the latency of {names} ({doubtful[0].latency.problem}).")
    return tuple(sentences)


def _hidden_losses(variant: Variant) -> list[str]:
    changes = variant.artefact.changes
    # Of a variant that does not qualify the mean tells enough.
    if changes is None or not changes.hidden_losses or not variant.qualifies:
        return []
    groups = "; ".join(map(_loss, changes.hidden_losses))
    in_all = formats.metric_lost(changes.accuracy.drop(lower_is_better=False), ACCURACY)
    return [
        f"{variant.name} answers some of the test data worse than its mean tells (it loses {in_all} in all), "
        f"beyond chance: {groups}."
    ]


def _loss(group: GroupChange) -> str:
    assert group.accuracy is not None  # a group without examples has lost nothing
    before, after = (
        formats.metric(share, ACCURACY) for share in (group.accuracy.before, group.accuracy.after)
    )
    lost = formats.metric_lost(group.accuracy.drop(lower_is_better=False), ACCURACY)
    return f"{group.kind} {formats.visible(group.name)} loses {lost} (from {before} to {after})"


def _is_slower(variant: Variant, full: Variant) -> bool:
    if not (variant.latency.is_valid and full.latency.is_valid):
        return False
    return variant.latency.p50_seconds > ABOUT_THE_SAME * full.latency.p50_seconds


def _slower(variant: Variant, full: Variant) -> str:
    ratio = formats.digits(variant.latency.p50_seconds / full.latency.p50_seconds, 2)
    return (
        f"{variant.name} is slower than the full model where it was measured: {ratio} times the latency of "
        "one example on one thread."
    )
