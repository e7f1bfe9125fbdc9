"""The decision in one sentence, and the numbers that a reader takes away.

Says only what the object of the run says: a part that is unknown is left out of a sentence and printed
as unknown in a number.

Not covered: judgement. Whether 1 % of accuracy is worth half of the energy is the reader's to say.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ayni.reports import formats
from ayni.reports.comparison import baseline_remark, baseline_that_is_better
from ayni.reports.variant_rows import NOT_TO_BE_QUOTED
from ayni.reports.variants import View, chosen_variant, full_variant, kept_variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of the strip under the headline: what it is, how much, and beside what to read it."""

    name: str
    value: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quantity:
    name: str
    key: str
    written: Callable[[Any], str]
    less: str
    more: str


SIZE = _Quantity(name="Size", key="stored_bytes", written=formats.stored_bytes, less="smaller", more="larger")
LATENCY = _Quantity(
    name="Latency, one thread",
    key="latency_p50_seconds",
    written=formats.seconds,
    less="faster",
    more="slower",
)
ENERGY = _Quantity(
    name="Energy per 1,000 inferences",
    key="energy_joules_per_1000",
    written=formats.joules,
    less="less",
    more="more",
)


def title(view: View) -> str:
    """What was decided, as one sentence without its full stop; a baseline that is better is part of it."""
    better = baseline_that_is_better(view)
    is_told = view["status"] in ("failed", "interrupted") or view["train"] is None
    but = "" if better is None or is_told else f", but the baseline reaches {better}"
    return _decision(view) + but


def _decision(view: View) -> str:
    chosen, full = chosen_variant(view), full_variant(view)
    if view["status"] in ("failed", "interrupted"):
        return f"{view['name']} did not finish"
    if view["train"] is None:
        return f"{view['name']} has not been trained yet"
    if chosen is None:
        kept = _metric_text(view, full["metrics"] if full else view["train"]["metrics"])
        return (
            f"No variant qualified: the full model stays, with {kept}"
            if view["variants"]
            else f"{view['name']} was trained to {kept}"
        )
    if full is None or chosen["name"] == full["name"]:
        return f"The full model was chosen, with {_metric_text(view, chosen['metrics'])}"
    size = formats.share(chosen["stored_bytes"], full["stored_bytes"])
    at_size = "" if size == formats.UNKNOWN else f" at {size} of the size"
    return f"{chosen['name']} was chosen: {_metric_text(view, chosen['metrics'])}{at_size}"


def _origin(name: str, train: View) -> str:
    """Where the model comes from: a training without rounds is a model that was trained before."""
    if not train["rounds"]:
        return f"{name} begins with a model that was trained before."
    learners = _plural(train["num_learners"], "learner")
    work = f"{_plural(train['rounds'], 'round')} and {formats.count(train['samples'])} samples"
    seconds = formats.seconds(train["wall_seconds"])
    return f"{name} was trained by {learners} ({train['strategy']}) over {work} in {seconds}."


def lede(view: View) -> list[str]:
    """A few sentences: what was trained, why this variant, what all of it took."""
    train = view["train"]
    if train is None:
        return [view["error"]] if view["error"] else []
    sentences = [_origin(view["name"], train)]
    if view["error"]:
        sentences.append(_sentence(view["error"]))
    if view["reason"]:
        sentences.append(_sentence(view["reason"]))
    if remark := baseline_remark(view):
        sentences.append(f"The baseline {remark}.")
    return [*sentences, *_price(view["footprint"])]


def data_line(view: View) -> str | None:
    """What the run learned from, and what its owner notes of it; None before that is known."""
    data = view["data"]
    if data is None:
        return None
    name = data["name"] or f"{formats.UNKNOWN} (the task has no data card with a name)"
    return " ".join([_sentence(f"Data: {name}"), *([_sentence(data["note"])] if data["note"] else [])])


def leak(view: View) -> str | None:
    """A warning that examples of one split are in another too; None when none were found."""
    splits = (view["data"] or {}).get("splits") or {}
    shared = {name: number for name, number in (splits.get("num_shared") or {}).items() if number}
    if not shared:
        return None
    found = ", ".join(
        f"{_plural(number, 'input')} of {name.rpartition('-')[2]} {'is' if number == 1 else 'are'} also in "
        f"{name.rpartition('-')[0]}"
        for name, number in shared.items()
    )
    return f"The splits are not apart: {found}. The results may be better than they would be on new data."


def gains(view: View) -> list[Figure]:
    """What came out: quality, size, latency and energy of the chosen variant (else of the full model)."""
    full, model = full_variant(view), kept_variant(view)
    if model is None:
        return []
    other = full if full is not None and full["name"] != model["name"] else None
    name = view["metric"]["name"]
    return [
        Figure(
            name=f"{_label(name)} on test data",
            value=formats.metric((model["metrics"] or {}).get(name), name),
            note=_quality_note(view, model, other),
        ),
        _compared(SIZE, model, other),
        _compared(LATENCY, model, other, doubt=_doubt(model, other)),
        _compared(ENERGY, model, other),
    ]


def _price(footprint: Mapping[str, Any] | None) -> list[str]:
    if footprint is None:
        return []
    if footprint["energy_joules"] is None:
        return ["What all steps together took is unknown: a receipt has no energy."]
    energy = formats.joules(*_values(footprint, "energy_joules", "energy_low_joules", "energy_high_joules"))
    carbon = formats.grams(*_values(footprint, "grams_co2e", "low_grams_co2e", "high_grams_co2e"))
    value, bracket, ends = carbon.partition(" (")
    cost = formats.credits(footprint["cost_microcredits"])
    return [f"All steps together took {energy}, {value} CO2e{bracket}{ends} and {cost}."]


def costs(view: View) -> list[Figure]:
    """What the whole run took: energy, carbon, credits, time."""
    footprint = view["footprint"]
    if footprint is None:
        return []
    energy = formats.joules(*_values(footprint, "energy_joules", "energy_low_joules", "energy_high_joules"))
    carbon = formats.grams(*_values(footprint, "grams_co2e", "low_grams_co2e", "high_grams_co2e"))
    return [
        _ranged("Energy of the run", energy, f"tier {footprint['energy_tier'] or formats.UNKNOWN}"),
        _ranged("Carbon, CO2e", carbon, f"zone {footprint['zone'] or formats.UNKNOWN}"),
        Figure(
            name="Cost",
            value=formats.credits(footprint["cost_microcredits"]),
            note=f"electricity {formats.credits(footprint['electricity_microcredits'])}",
        ),
        Figure(
            name="Time, all steps",
            value=formats.seconds(footprint["wall_seconds"]),
            note=_attempts(footprint),
        ),
    ]


def _metric_text(view: View, metrics: Mapping[str, float] | None) -> str:
    name = view["metric"]["name"]
    return f"{formats.metric((metrics or {}).get(name), name)} {_label(name).lower()}"


def _label(name: str | None) -> str:
    return "Quality" if name is None else name.replace("_", " ").capitalize()


def _quality_note(view: View, model: Mapping[str, Any], other: Mapping[str, Any] | None) -> str:
    name = view["metric"]["name"]
    parts = []
    if model["interval"] is not None:
        text = formats.metric(0.0, name, model["interval"]["low"], model["interval"]["high"])
        parts.append(text[text.index("(") :])
    if other is not None:
        parts.append(f"full model {formats.metric((other['metrics'] or {}).get(name), name)}")
    return ", ".join(parts)


def _compared(
    quantity: _Quantity, model: Mapping[str, Any], other: Mapping[str, Any] | None, *, doubt: str = ""
) -> Figure:
    value = model[quantity.key]
    notes = []
    if other is not None:
        before = other[quantity.key]
        ratio = formats.times(before, value, less=quantity.less, more=quantity.more)
        notes = [f"full model {quantity.written(before)}", "" if doubt else ratio or ""]
    note = ", ".join(part for part in (*notes, doubt) if part)
    return Figure(name=quantity.name, value=quantity.written(value), note=note)


def _doubt(model: Mapping[str, Any], other: Mapping[str, Any] | None) -> str:
    return NOT_TO_BE_QUOTED if any(one and one["latency_problem"] for one in (model, other)) else ""


def _values(values: Mapping[str, Any], *keys: str) -> list[Any]:
    return [values[key] for key in keys]


def _ranged(name: str, text: str, basis: str) -> Figure:
    """A value whose interval stands beside it, not in it: 620 J, and (280-1,600) in the note."""
    value, bracket, ends = text.partition(" (")
    return Figure(name=name, value=value, note=f"({ends}, {basis}" if bracket else basis)


def _attempts(footprint: Mapping[str, Any]) -> str:
    attempts = [step["attempts"] for step in footprint["steps"]]
    if any(attempt is None for attempt in attempts):
        return ""
    repeated = sum(attempts) - len(attempts)
    return "no step was repeated" if repeated == 0 else f"{_plural(repeated, 'repeated attempt')} included"


def _plural(number: int | None, noun: str) -> str:
    return f"{formats.count(number)} {noun}{'' if number == 1 else 's'}"


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."
