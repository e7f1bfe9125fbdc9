"""The table, the choice, the front and the break-even, from numbers."""

from pathlib import Path
from typing import Any

import pytest

from ayni.compress.config import CompressConfig
from ayni.compress.evidence.break_even import EnergyInterval
from ayni.compress.evidence.inference_cost import InferenceEnergy, Latency
from ayni.compress.measure_variants import Costs
from ayni.compress.rating import rate
from ayni.compress.search import SearchSummary
from ayni.compress.variants import Artefact, CompressResult, Quality


def exactly(joules: float) -> EnergyInterval:
    return EnergyInterval(low_joules=joules, joules=joules, high_joules=joules)


def artefact(name: str, *, accuracy: float | None, num_bytes: int, making: float | None = 10.0) -> Artefact:
    metrics = {} if accuracy is None else {"accuracy": accuracy}
    return Artefact(
        name=name,
        file=Path(f"{name}.onnx"),
        runtime="onnxruntime",
        is_candidate=not name.startswith("full"),
        num_parameters=100,
        stored_bytes=num_bytes,
        quality=Quality(validation=metrics, test=metrics, interval=None),
        note="",
        making=None if making is None else exactly(making),
    )


def latency(seconds: float) -> Latency:
    return Latency(
        p50_seconds=seconds,
        p25_seconds=seconds,
        p75_seconds=seconds,
        min_seconds=seconds,
        cpu_p50_seconds=seconds,
        first_seconds=seconds,
        num_calls=5,
        num_threads=1,
        batch_size=1,
        problem=None,
    )


def energy(joules_per_1000: float | None) -> InferenceEnergy:
    return InferenceEnergy(
        joules_per_1000=joules_per_1000,
        low_joules_per_1000=joules_per_1000,
        high_joules_per_1000=joules_per_1000,
        tier="declared",
    )


def rated(
    artefacts: list[Artefact],
    joules: dict[str, float | None],
    *,
    search: SearchSummary | None = None,
    direction: Any = "higher",
    **config: Any,
) -> CompressResult:
    costs = Costs(
        latencies={one.name: (latency(one.stored_bytes / 1000),) for one in artefacts},
        energies={name: energy(of) for name, of in joules.items()},
        memories={one.name: None for one in artefacts},
    )
    return rate(
        artefacts,
        costs,
        CompressConfig(max_accuracy_drop=0.02, **config),
        metric_direction=direction,
        search=search,
    )


FULL = artefact("full", accuracy=0.9, num_bytes=1000, making=0.0)


def test_break_even_is_that_of_a_hand_calculation() -> None:
    # 10 J were spent; 1,000 inferences take 100 J in full and 60 J now, so one saves 0.04 J: 10 / 0.04 = 250.
    # One meter: each reading may be off by 0.7 to 1.4 against the others. Spent: 7 to 14 J. Saved by one:
    # from 0.07 - 0.084 = -0.014 J (never) to 0.14 - 0.042 = 0.098 J: 7 / 0.098 = 71.4, so 72 inferences.
    small = artefact("small", accuracy=0.9, num_bytes=500)

    answer = rated([FULL, small], {"full": 100.0, "small": 60.0}).variant("small").break_even

    assert answer is not None
    assert (answer.low, answer.best, answer.high) == (72, 250, "never")
    assert answer.text() == "after 250 inferences (72 to never)"


def test_a_variant_that_needs_more_energy_never_pays() -> None:
    small = artefact("small", accuracy=0.9, num_bytes=500)

    result = rated([FULL, small], {"full": 10.0, "small": 100.0}, score={"stored_bytes": -1.0})

    assert result.chosen == "small"
    assert result.pays == (
        "Making small is paid back never: an inference of the variant takes no less energy; for the declared "
        "1,000,000 inferences it does not pay."
    )


def test_a_search_is_judged_by_all_that_it_tried() -> None:
    small = artefact("small", accuracy=0.9, num_bytes=500)
    # Saved by one inference: 0.095 J; 7 to 14 kJ were spent where the variant alone took 10 J.
    summary = SearchSummary(stopped="", num_measured=4, skipped={}, seconds=9.0, joules=10_000.0)

    result = rated([FULL, small], {"full": 100.0, "small": 5.0}, search=summary, inferences=1000)

    assert result.pays.startswith("The whole search is paid back after 105,264 inferences")
    assert result.pays.endswith("for the declared 1,000 inferences it does not pay.")
    assert result.variant("small").break_even != result.search


def test_the_front_holds_what_nothing_beats() -> None:
    rows = [
        FULL,
        artefact("small", accuracy=0.89, num_bytes=500),
        artefact("worse", accuracy=0.88, num_bytes=600),
        artefact("tiny", accuracy=0.7, num_bytes=100),
    ]
    joules: dict[str, float | None] = {"full": 100, "small": 50, "worse": 60, "tiny": 10}

    result = rated(rows, joules)

    assert [one.name for one in result.variants if one.is_on_front] == ["full", "small", "tiny"]
    assert [one.name for one in result.variants if one.qualifies] == ["full", "small", "worse"]
    assert result.chosen == "small"


def test_without_energy_the_front_and_the_choice_go_by_what_is_known() -> None:
    rows = [FULL, artefact("small", accuracy=0.9, num_bytes=500, making=None)]

    result = rated(rows, {"full": None, "small": None})

    assert result.chosen == "small"
    assert result.variant("small").is_on_front
    assert result.variant("small").break_even is None
    assert "not known" in result.pays


def test_a_metric_that_should_be_low_is_turned_for_score_and_front() -> None:
    rows = [FULL, artefact("small", accuracy=0.91, num_bytes=1000)]

    result = rated(rows, {"full": 1.0, "small": 1.0}, direction="lower", score={"metric": 1.0})

    assert result.variant("small").drop == pytest.approx(0.01)
    assert result.variant("small").score == pytest.approx(0.9 / 0.91)
    assert not result.variant("small").is_on_front


def test_a_variant_whose_metric_is_no_number_does_not_qualify() -> None:
    rows = [FULL, artefact("broken", accuracy=None, num_bytes=1)]

    result = rated(rows, {"full": 1.0, "broken": 0.1})

    assert result.chosen is None
    assert result.variant("broken").drop is None
    assert result.pays == ""
