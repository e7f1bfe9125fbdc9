"""What the model card says of explanations, and the pictures that go with it.

Never a training example: those that are explained are of the test split, and when the splits share examples
nothing is shown. Not even test examples unless the job asks for it (`publish.pictures`).

Not covered: whether the data's licence lets records be passed on; `publish_licence.py` asked before any work.
"""

from collections.abc import Sequence
from pathlib import Path

from ayni.explain.explanation import Explanation
from ayni.hub.card_explanations import CardExample, CardExplanations
from ayni.jobs.runs import Run
from ayni.reports import formats
from ayni.reports.explain_section import MARKS
from ayni.workflows.explain_model import Understanding

FOLDER = "explanations"
NUM_SAMPLES = 4
NUM_DISAGREEMENTS = 2
NUM_STRONGEST = 5
NOT_ASKED = "the job does not ask for them (publish.pictures)"
SHARED = "the splits share examples, and one of the test data may be one of training"


def card_explanations(
    run: Run, understanding: Understanding
) -> tuple[CardExplanations | None, dict[str, Path | bytes]]:
    """The card's section, and the pictures that it names by their paths in the repository."""
    found = understanding.explanations
    if found.method is None or found.checks is None:
        return None, {}
    why_none = _why_none(run, understanding)
    shown: Sequence[Explanation] = [] if why_none else _shown(found.items)
    mark = MARKS[found.checks.verdict]
    section = CardExplanations(
        method=found.method,
        mark=mark.text,
        sentence=mark.sentence,
        reasons=found.checks.reasons,
        examples=[_example(each) for each in shown],
        why_none=why_none,
    )
    names = [name for each in shown for name in _images(each) if name is not None]
    return section, {_published(name): run.folder / name for name in names}


def _why_none(run: Run, understanding: Understanding) -> str:
    assert run.job.spec.publish is not None
    if not run.job.spec.publish.pictures:
        return NOT_ASKED
    shared = understanding.splits.num_shared
    return SHARED if any(count for pair, count in shared.items() if "test" in pair) else ""


def _shown(items: Sequence[Explanation]) -> list[Explanation]:
    samples = [each for each in items if each.kind == "sample"][:NUM_SAMPLES]
    return samples + [each for each in items if each.kind == "disagreement"][:NUM_DISAGREEMENTS]


def _images(item: Explanation) -> tuple[str | None, str | None, str | None]:
    return item.input_image, item.attribution_image, item.change_image


def _published(name: str) -> str:
    return f"{FOLDER}/{Path(name).name}"


def _example(item: Explanation) -> CardExample:
    images = [None if name is None else _published(name) for name in _images(item)]
    differs = item.kind == "disagreement"
    return CardExample(
        index=item.index,
        label=formats.visible(item.label),
        answer=formats.visible(item.prediction),
        confidence=formats.share(item.confidence, 1),
        other_answer=formats.visible(item.variant_prediction or "") if differs else None,
        input_image=images[0],
        attribution_image=images[1],
        change_image=images[2],
        strongest=_strongest(item),
    )


def _strongest(item: Explanation) -> str:
    if item.features:
        named = [(each.name, each.attribution) for each in item.features]
    else:
        parts = zip(item.tokens or (), item.values or (), strict=True)
        named = [(token, value) for token, value in parts if token]
    strongest = sorted(named, key=lambda pair: -abs(pair[1]))[:NUM_STRONGEST]
    return ", ".join(f"{formats.visible(name)} {formats.signed(value)}" for name, value in strongest if value)
