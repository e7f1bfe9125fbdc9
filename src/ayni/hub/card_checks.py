"""Whether what a card says can be true: units, licence, base models, results.

Errors stop a commit: the card contradicts itself, or says what no reader can use. Warnings do not.

    grams       `co2_eq_emissions.emissions` is in grams. Cards that hold kilograms are known by the same
                number with another unit in their text, or by an intensity that no grid has
    licence     an identifier, or `other` with a name
    base model  names of repositories, and not the card's own

Not covered: whether a number was measured (receipts), and whether the licence may be as free as that
(inheritance).

Source: huggingface/hub-docs, modelcard.md. Intensities: 11 (hydro, life cycle) to 1,300 (lignite) g CO2e per
kWh in IPCC AR6, WG III, Annex III; the bounds here are far outside.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ayni.hub.card_index import MAX_METADATA_BYTES, front_matter, parse_metadata
from ayni.hub.licences import KNOWN_LICENCES, licence_identifier

MIN_GRAMS_PER_KWH = 1.0
MAX_GRAMS_PER_KWH = 3_000.0
MAX_CARD_BYTES = 2 << 20
RELATIONS = ("adapter", "distilled", "finetune", "merge", "quantized")
_SPECIAL_LICENCES = ("unknown", "other")
_NAME = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)?")
_WITH_UNIT = re.compile(
    r"(\d[\d,]{0,20}(?:\.\d{1,12})?)[ \t*_`]{0,4}(kg|kilograms?|t|tonnes?|tons?|metric tons?|mg|g|grams?)\b",
    re.IGNORECASE,
)
_GRAMS: dict[str, float] = {"m": 1e-3, "g": 1.0, "k": 1e3, "t": 1e6}


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFindings:
    """What is wrong with a card."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def check_card_text(text: str, kind: str, *, repository: str = "") -> CardFindings:
    """Look through a README.

    Args:
        text: of the whole README.
        kind: of the repository: model, dataset or space.
        repository: its name, so that it is not its own base.
    """
    if len(text) > MAX_CARD_BYTES:
        return CardFindings(errors=(f"The card has {len(text)} characters; {MAX_CARD_BYTES} are taken.",))
    front = front_matter(text)
    if front is None:
        hint = "The card has no metadata. Put YAML between two lines of --- at its top."
        return CardFindings(warnings=(hint,))
    try:
        card = parse_metadata(front)
    except ValueError as error:
        return CardFindings(errors=(f"{error}",))
    body = text.removeprefix("\ufeff")[len(front) :]
    found = [*_licence(card), *_emissions(card, body), *_results(card)]
    if kind == "model":
        found += _bases(card, repository)
    return CardFindings(
        errors=tuple(what for level, what in found if level == "error"),
        warnings=tuple(what for level, what in found if level == "warning"),
    )


def check_card(text: str, kind: str) -> tuple[list[str], list[str]]:
    """The same as errors and warnings, for `validate-yaml`. Fulfils `card_index.CheckCard`."""
    found = check_card_text(text, kind)
    return list(found.errors), list(found.warnings)


_Found = Iterator[tuple[str, str]]


def _licence(card: Mapping[str, Any]) -> _Found:
    given = card.get("license")
    if given is None:
        yield "warning", "The card names no licence, so nobody may use this. Add `license`, for example mit."
        return
    for each in given if isinstance(given, list) else [given]:
        if not isinstance(each, str) or not each.strip():
            yield "error", f"`license` is {each!r}; it is the identifier of a licence such as apache-2.0."
        elif licence_identifier(each) not in KNOWN_LICENCES and each not in _SPECIAL_LICENCES:
            yield "warning", f"`license: {each}` is no identifier that is known; own terms are `other`."
    if given == "other" and not card.get("license_name"):
        yield (
            "warning",
            "`license: other` needs `license_name` and `license_link`: where its terms are.",
        )


def _bases(card: Mapping[str, Any], repository: str) -> _Found:
    given = card.get("base_model")
    if given is not None:
        for each in given if isinstance(given, list) else [given]:
            if not isinstance(each, str) or not _NAME.fullmatch(each):
                yield "error", f"`base_model` holds {each!r}; it takes names such as namespace/name."
            elif each.lower() == repository.lower():
                yield "error", f"`base_model` is {each}, this repository itself."
    relation = card.get("base_model_relation")
    if relation is not None and relation not in RELATIONS:
        yield "warning", f"`base_model_relation` is {relation!r}; known are {', '.join(RELATIONS)}."
    if relation is not None and given is None:
        yield "warning", "`base_model_relation` says how, and `base_model` is missing."


def _results(card: Mapping[str, Any]) -> _Found:
    index = card.get("model-index")
    if index is None:
        return
    if not isinstance(index, list) or not all(isinstance(each, dict) for each in index):
        yield "error", "`model-index` is a list of models, each with `name` and `results`."
        return
    for model in index:
        results = model.get("results")
        if not model.get("name") or not isinstance(results, list):
            yield "error", "Each model of `model-index` has a `name` and a list of `results`."
            continue
        for result in results:
            if not _is_result(result):
                lacks = "task.type, dataset.type, dataset.name or metrics"
                yield "error", f"A result of {model['name']!r} lacks {lacks}."


def _is_result(result: Any) -> bool:
    if not isinstance(result, dict) or not isinstance(result.get("metrics"), list):
        return False
    task, dataset = result.get("task"), result.get("dataset")
    if not isinstance(task, dict) or not isinstance(dataset, dict):
        return False
    named = task.get("type") and dataset.get("type") and dataset.get("name")
    return bool(named) and all(
        isinstance(metric, dict) and metric.get("type") and "value" in metric for metric in result["metrics"]
    )


def _emissions(card: Mapping[str, Any], body: str) -> _Found:
    given = card.get("co2_eq_emissions")
    if given is None:
        return
    details: Mapping[str, Any] = given if isinstance(given, dict) else {"emissions": given}
    if "emissions" not in details:
        yield "error", "`co2_eq_emissions` has no `emissions`: the grams of CO2e."
        return
    grams = _number(details["emissions"])
    if grams is None:
        yield "error", _no_number(details["emissions"])
        return
    if grams < 0:
        yield "error", f"`co2_eq_emissions.emissions` is {grams:g}; what was offset is not taken off."
        return
    yield from _unit(grams, details, body)


def _no_number(given: Any) -> str:
    start = f"`co2_eq_emissions.emissions` is {given!r}, and takes grams of CO2e as a plain number."
    found = _WITH_UNIT.fullmatch(given.strip()) if isinstance(given, str) else None
    meant = None if found is None else _grams(found)
    return start if meant is None else f"{start} Write {meant:.10g}."


def _unit(grams: float, details: Mapping[str, Any], body: str) -> _Found:
    if grams == 0:
        yield "warning", "`co2_eq_emissions.emissions` is 0: leave it out where it was not measured."
        return
    if (meant := _same_number_with_another_unit(grams, body)) is not None:
        yield (
            "error",
            (
                f"`co2_eq_emissions.emissions` is {grams:g}, in grams; the text gives the same number as "
                f"{meant[1]}. Write {meant[0]:.10g}."
            ),
        )
        return
    kwh = _number(details.get("energy_kwh", details.get("energy_consumed_kwh")))
    if kwh is not None and kwh > 0:
        yield from _intensity(grams, kwh * (_number(details.get("pue")) or 1.0))
    elif grams < 1 and "codecarbon" in str(details.get("source", "")).lower():
        yield (
            "warning",
            (
                f"`co2_eq_emissions.emissions` is {grams:g} g. CodeCarbon counts in kilograms: if it is its "
                f"number, write {grams * 1000:.10g}."
            ),
        )


def _intensity(grams: float, kwh: float) -> _Found:
    intensity = grams / kwh
    if MIN_GRAMS_PER_KWH <= intensity <= MAX_GRAMS_PER_KWH:
        return
    said = f"{grams:g} g for {kwh:g} kWh is {intensity:.3g} g per kWh, which no grid has"
    for factor, unit in ((1e3, "kilograms"), (1e6, "tonnes"), (1e-3, "milligrams")):
        if MIN_GRAMS_PER_KWH <= intensity * factor <= MAX_GRAMS_PER_KWH:
            yield "error", f"{said}. If the number is in {unit}, write {grams * factor:.10g}."
            return
    yield "error", f"{said}. Correct the grams or the energy."


def _same_number_with_another_unit(grams: float, body: str) -> tuple[float, str] | None:
    """The number of the metadata as the text gives it, in grams and in its words; None if it is in grams."""
    found: tuple[float, str] | None = None
    for match in _WITH_UNIT.finditer(body[:MAX_METADATA_BYTES]):
        number = _number(match[1].replace(",", ""))
        # Carbon must be near, as models are weighed in GB and robots in kilograms.
        near = body[max(0, match.start() - 200) : match.end() + 40].lower()
        if number is None or not any(word in near for word in ("co2", "co\u2082", "carbon", "emission")):
            continue
        meant = _grams(match)
        if meant is not None and math.isclose(meant, grams, rel_tol=0.01):
            return None
        if meant is not None and meant != number and math.isclose(number, grams, rel_tol=1e-6):
            found = (meant, match[0].strip())
    return found


def _grams(match: re.Match[str]) -> float | None:
    number, unit = _number(match[1].replace(",", "")), match[2].lower()
    if number is None:
        return None
    return number * (_GRAMS["t"] if unit.startswith("metric") else _GRAMS[unit[0]])


def _number(value: Any) -> float | None:
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}(?:\.\d{1,18})?", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
