"""The card's section on explanations: whether they are to be believed, and some of them as pictures.

Pictures lie in the repository beside the card, which names them by relative paths, so that they are seen
wherever the card is: on the hub, on a mirror, in a folder.

Not covered: which examples may be shown; whoever publishes decides that.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from ayni.hub.card_words import code, text

PICTURE_WIDTH = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class CardExample:
    """One test example. Paths are relative to the repository; None for what is no picture.

    strongest: of a text or a row its strongest parts with their signs, in words; empty for an image.
    """

    index: int
    label: str
    answer: str
    confidence: str
    """The full model's, in its answer."""
    other_answer: str | None = None
    """Of the chosen variant, where it differs."""
    input_image: str | None = None
    attribution_image: str | None = None
    change_image: str | None = None
    strongest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardExplanations:
    """How the model's answers were explained, and whether that can be believed.

    verdict: of the checks: "faithful", "not faithful" or "unsure"; None where nothing was checked.
    mark: the same in a word or two, as it stands beside each picture.
    reasons: sentences with the numbers.
    why_none: why no examples are shown; empty when they are.
    """

    method: str
    mark: str
    sentence: str
    reasons: Sequence[str] = ()
    examples: Sequence[CardExample] = ()
    why_none: str = ""


def explanations_section(found: CardExplanations | None) -> str:
    """The section as Markdown; empty without explanations."""
    if found is None:
        return ""
    parts = [
        "## Explanations",
        f"Test examples were explained by {text(found.method)}. "
        f"**{text(found.mark[:1].upper() + found.mark[1:])}:** {text(found.sentence)}",
        "\n".join(f"- {text(each)}" for each in found.reasons),
    ]
    if found.examples:
        parts += [_reading(found.examples), _table(found)]
    elif found.why_none:
        parts.append(f"No examples are shown: {text(found.why_none)}.")
    return "\n\n".join(part for part in parts if part)


def _reading(examples: Sequence[CardExample]) -> str:
    sentences = ["Examples of the test data, none of the training data."]
    if any(each.attribution_image for each in examples):
        sentences.append("Red speaks for the answer, blue against it.")
    if any(each.change_image for each in examples):
        sentences.append(
            "What flipped: red spoke for the full model's answer rather than the chosen variant's."
        )
    return " ".join(sentences)


def _table(found: CardExplanations) -> str:
    columns = ["example", "label", "answer", "checks", "input", "attribution", "what flipped", "strongest"]
    rows = [_row(each, found.mark) for each in found.examples]
    # Columns that nobody fills are left out.
    kept = [place for place, _ in enumerate(columns) if any(row[place] for row in rows)]
    lines = [[columns[place] for place in kept], ["---"] * len(kept)]
    lines += [[row[place] for place in kept] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _row(example: CardExample, mark: str) -> list[str]:
    answer = f"{text(example.answer)} ({text(example.confidence)})"
    if example.other_answer is not None:
        answer += f", variant {text(example.other_answer)}"
    about = f"test example {example.index}"
    return [
        str(example.index),
        text(example.label),
        answer,
        text(mark),
        _picture(f"{about}, labelled {example.label}", example.input_image),
        _picture(
            f"what spoke for and against {example.answer} in {about} ({mark})", example.attribution_image
        ),
        _picture(f"what spoke for {example.answer} in {about} and not the variant's", example.change_image),
        code(example.strongest) if example.strongest else "",
    ]


def _picture(told: str, path: str | None) -> str:
    """HTML, because Markdown has no size: pictures side by side fit on the page."""
    if path is None:
        return ""
    alt = html.escape(" ".join(told.split())).replace("|", "/")
    return f'<img src="{path}" alt="{alt}" width="{PICTURE_WIDTH}">'
