"""The table and the choice, from what was measured. Pure.

    drop        against the full model, on validation decides and on test is reported
    score       f(x) = sum a_i x_i, of those within the budget the best is chosen
    front       what nothing else beats in quality, bytes, latency and energy at once
    break-even  after how many inferences the making is paid back

Not covered: weighing the uncertainty of a drop; its interval stands beside it.
"""

from collections.abc import Mapping, Sequence

from ayni.compress.config import METRIC_TERM, CompressConfig
from ayni.compress.evidence.break_even import (
    BreakEven,
    EnergyInterval,
    break_even,
    interval_on_same_meter,
)
from ayni.compress.evidence.inference_cost import InferenceEnergy, Latency
from ayni.compress.measure_variants import Costs
from ayni.compress.pareto import Direction, pareto_front
from ayni.compress.score import (
    Values,
    choose,
    is_within,
    metric_drop,
    unrated_terms,
    weighted_score,
)
from ayni.compress.search import SearchSummary
from ayni.compress.variants import Artefact, CompressResult, MetricDirection, Variant

FRONT_TERMS: Mapping[str, Direction] = {
    METRIC_TERM: "higher",
    "stored_bytes": "lower",
    "latency": "lower",
    "energy": "lower",
}


def rate(
    artefacts: Sequence[Artefact],
    costs: Costs,
    config: CompressConfig,
    *,
    metric_direction: MetricDirection,
    search: SearchSummary | None = None,
    warning: str = "",
) -> CompressResult:
    """The result of a compression; the first artefact is the full model."""
    full = artefacts[0]
    metric = next(iter(full.quality.validation))
    is_lower = metric_direction == "lower"
    values = {
        artefact.name: _values(
            artefact,
            costs.latencies[artefact.name][0],
            costs.energies[artefact.name],
            metric,
            is_lower=is_lower,
        )
        for artefact in artefacts
    }
    on_front = _front(values)
    full_energy = costs.energies[full.name]

    def drop(of: Mapping[str, float], from_: Mapping[str, float]) -> float | None:
        return metric_drop(of.get(metric), from_[metric], lower_is_better=is_lower)

    variants = []
    for artefact in artefacts:
        name, validation_drop = artefact.name, drop(artefact.quality.validation, full.quality.validation)
        variants.append(
            Variant(
                artefact=artefact,
                latencies=costs.latencies[name],
                energy=costs.energies[name],
                drop=validation_drop,
                test_drop=drop(artefact.quality.test, full.quality.test),
                qualifies=is_within(validation_drop, config.max_accuracy_drop),
                score=weighted_score(config.score, values[name], values[full.name]),
                break_even=None
                if artefact is full
                else _break_even(artefact.making, full_energy, costs.energies[name]),
                is_on_front=name in on_front,
                peak_memory_bytes=costs.memories[name],
            )
        )
    chosen, reason = choose(
        [variant for variant in variants if variant.artefact.is_candidate],
        metric=metric,
        max_drop=config.max_accuracy_drop,
        unrated=unrated_terms(config.score, values[full.name]),
    )
    return CompressResult(
        variants=tuple(variants),
        chosen=chosen,
        reason=reason,
        metric=metric,
        metric_direction=metric_direction,
        max_accuracy_drop=config.max_accuracy_drop,
        score_weights=config.score,
        inferences=config.inferences,
        pays=_pays(variants, chosen, full_energy, search, inferences=config.inferences),
        search=search,
        warning=warning,
    )


def _values(
    artefact: Artefact, latency: Latency, energy: InferenceEnergy, metric: str, *, is_lower: bool
) -> Values:
    """The terms that a score may weigh, by name; METRIC_TERM is turned so that more is better."""
    validation = artefact.quality.validation
    value = validation.get(metric)
    turned = value if not is_lower or value is None else (1 / value if value else None)
    return {
        **validation,
        METRIC_TERM: turned,
        "stored_bytes": artefact.stored_bytes,
        "num_parameters": artefact.num_parameters,
        "latency": latency.p50_seconds,
        "energy": energy.joules_per_1000,
    }


def _front(values: Mapping[str, Values]) -> tuple[str, ...]:
    """Names on the front, over those terms that are known of every variant."""
    known = {
        term: better
        for term, better in FRONT_TERMS.items()
        if all(of.get(term) is not None for of in values.values())
    }
    if not known:
        return ()
    points = {name: {term: of[term] for term in known} for name, of in values.items()}
    return pareto_front(points, known).names


def _break_even(
    making: EnergyInterval | None, full: InferenceEnergy, variant: InferenceEnergy
) -> BreakEven | None:
    """All three were read from one meter, whose own error cancels in the quotient."""
    spent = interval_on_same_meter(None if making is None else making.joules)
    of_full, of_variant = (
        interval_on_same_meter(None if each.joules_per_1000 is None else each.joules_per_1000 / 1000)
        for each in (full, variant)
    )
    if spent is None or of_full is None or of_variant is None:
        return None
    return break_even(spent, of_full.minus(of_variant))


def _pays(
    variants: Sequence[Variant],
    chosen: str | None,
    full_energy: InferenceEnergy,
    search: SearchSummary | None,
    *,
    inferences: int,
) -> str:
    """Whether the compression pays for the declared number of inferences, with all that was tried."""
    variant = next((variant for variant in variants if variant.name == chosen), None)
    if variant is None:
        return "" if search is None else "Nothing that the search tried may be used: it does not pay."
    answer, what = variant.break_even, f"Making {variant.name}"
    if search is not None:
        spent = None if search.joules is None else _exactly(search.joules)
        answer, what = _break_even(spent, full_energy, variant.energy), "The whole search"
    if answer is None:
        return f"{what}: whether it pays is not known, because energy could not be metered."
    verdict = answer.verdict(inferences)
    return (
        f"{what} is paid back {answer.text()}; for the declared {inferences:,} inferences it "
        f"{_WORDS[verdict]}."
    )


_WORDS = {"pays": "pays", "does not pay": "does not pay", "uncertain": "may or may not pay"}


def _exactly(joules: float) -> EnergyInterval:
    return EnergyInterval(low_joules=joules, joules=joules, high_joules=joules)
