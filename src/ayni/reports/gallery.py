"""Explained examples as the report shows them: pictures, tinted text, or bars of features.

Colour is never alone: of a tinted text what speaks for the answer is underlined and what speaks against
it has dots below, bars have a side and a signed number, and each example says its strongest parts in
words, for those who hear the page. Strengths are relative to the strongest part of the same example.

Not covered: making attributions; the explain package did that.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ayni.reports import formats
from ayni.reports.variants import View

IMAGE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
# Weaker parts than this share of the strongest one stay plain: with a mark on each, none is seen.
WEAKEST_MARKED = 0.15
NUM_TOLD = 3

Sign = Literal["for", "against", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A symbol of a text or a feature of a row, and how it speaks for or against the answer."""

    text: str
    """With its blanks and line ends made visible."""
    sign: Sign
    strength: float
    """Of the attribution, from 0 to 1, against the strongest part of this example."""
    written: str
    """The attribution with its sign."""
    is_line_end: bool = False
    is_word_end: bool = False
    is_apart: bool = False
    """A blank stands between this and the next, which is no part of the text."""
    value: str = ""
    """Of a feature its value in this example."""


def galleries(view: View) -> dict[str, list[dict[str, Any]]]:
    """Explained examples by kind, with all that the page shows of them."""
    found: dict[str, list[dict[str, Any]]] = {"sample": [], "disagreement": []}
    for item in _items(view):
        found.setdefault(item["kind"] or "sample", []).append(_shown(item))
    return found


def has_pictures(view: View) -> bool:
    """Whether the examples are images, which take little room each."""
    return any(item["attribution_image"] for item in _items(view))


def legend(view: View) -> str | None:
    """How to read signs and colours, for the forms that are there; None where nothing shows any."""
    items = _items(view)
    sentences = []
    if has_pictures(view):
        sentences.append("Red speaks for the answer, blue against it.")
    if any(item["tokens"] and item["values"] for item in items):
        sentences.append(
            "Red and underlined speaks for the answer, blue with dots below against it; "
            f"{formats.OPEN_BOX} is a blank and {formats.VISIBLE[chr(10)]} the end of a line."
        )
    if any(item["features"] for item in items):
        sentences.append(
            "Bars to the right (red, +) speak for the answer, bars to the left (blue, "
            f"{formats.MINUS}) against it; the strongest features of each example are shown."
        )
    return " ".join(sentences) or None


def data_uri(path: str | None) -> str | None:
    """An image file as a data URI; None when the file is gone or is no image that browsers show."""
    if path is None or not Path(path).is_file():
        return None
    media_type = IMAGE_TYPES.get(Path(path).suffix.lower())
    if media_type is None:
        return None
    return f"data:{media_type};base64,{base64.b64encode(Path(path).read_bytes()).decode()}"


def text_parts(tokens: Sequence[str], values: Sequence[float]) -> list[Part]:
    """The symbols of a text, each with its sign and strength; those without a text (padding) are left out."""
    strongest = max(map(abs, values), default=0.0)
    is_words = _are_words(tokens)
    return [
        Part(
            # A blank alone is made visible, and one at the end of a word.
            text=formats.visible(token),
            is_line_end=token.endswith("\n"),
            is_word_end=token.endswith(" "),
            is_apart=is_words,
            **_weight(value, strongest),
        )
        for token, value in zip(tokens, values, strict=True)
        if token
    ]


def _are_words(tokens: Sequence[str]) -> bool:
    """Whether a blank belongs between symbols: some are longer than a character, and none brings its own."""
    return any(len(token) > 1 for token in tokens) and not any(
        token[:1].isspace() or token[-1:].isspace() for token in tokens
    )


def feature_parts(features: Sequence[Mapping[str, Any]]) -> list[Part]:
    """The features of a row, each with its sign and strength."""
    strongest = max((abs(feature["attribution"]) for feature in features), default=0.0)
    return [
        Part(
            text=formats.visible(feature["name"]),
            value=formats.digits(feature["value"], 3),
            **_weight(feature["attribution"], strongest, weakest=0.0),
        )
        for feature in features
    ]


def told(parts: Sequence[Part]) -> str:
    """The strongest parts in words."""
    strongest = sorted((part for part in parts if part.strength), key=lambda part: -part.strength)[:NUM_TOLD]
    return (
        ", ".join(f"{part.text} {part.written}" for part in strongest) or "no part speaks for or against it"
    )


def _items(view: View) -> list[Mapping[str, Any]]:
    return (view["explain"] or {}).get("items", [])  # type: ignore[no-any-return]


def _shown(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **item,
        "input": data_uri(item["input_image"]),
        "attribution": data_uri(item["attribution_image"]),
        "change": data_uri(item["change_image"]),
        "has_pictures": bool(item["input_image"] or item["attribution_image"]),
        "text": text_parts(item["tokens"], item["values"]) if item["tokens"] and item["values"] else [],
        "bars": feature_parts(item["features"] or []),
        **_changed(item),
    }


def _changed(item: Mapping[str, Any]) -> dict[str, list[Part]]:
    """Of a disagreement the parts by what they said for the full model's answer against the variant's."""
    values = item["change_values"] or []
    tokens, features = item["tokens"] or [], item["features"] or []
    changed = [{**each, "attribution": value} for each, value in zip(features, values, strict=False)]
    return {
        "change_text": text_parts(tokens, values) if len(tokens) == len(values) else [],
        "change_bars": feature_parts(changed) if len(features) == len(values) else [],
    }


def _weight(value: float, strongest: float, weakest: float = WEAKEST_MARKED) -> dict[str, Any]:
    strength = abs(value) / strongest if strongest else 0.0
    is_marked = strength > weakest
    sign: Sign = "none" if not is_marked else "for" if value > 0 else "against"
    return {"sign": sign, "strength": round(strength, 2), "written": formats.signed(value)}
