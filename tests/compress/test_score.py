"""The declared score and the choice."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.compress.score import (
    UnknownScoreTermError,
    check_terms,
    choose,
    is_within,
    metric_drop,
    unrated_terms,
    weighted_score,
)

WEIGHTS = {"accuracy": 1.0, "stored_bytes": -0.2}


@dataclass(frozen=True)
class Row:
    name: str
    score: float | None = 0.0
    qualifies: bool = True
    drop: float | None = 0.0


@given(st.dictionaries(st.sampled_from("abcd"), st.floats(0.1, 100), min_size=1))
def test_the_full_models_score_is_the_sum_of_the_weights(values: dict[str, float]) -> None:
    weights = dict.fromkeys(values, 0.5)

    assert weighted_score(weights, values, values) == pytest.approx(0.5 * len(values))


def test_terms_are_ratios_to_the_full_model() -> None:
    full, variant = {"accuracy": 0.9, "stored_bytes": 400}, {"accuracy": 0.45, "stored_bytes": 100}

    assert weighted_score(WEIGHTS, variant, full) == pytest.approx(0.5 - 0.2 * 0.25)


def test_an_unknown_value_of_a_variant_makes_its_score_unknown() -> None:
    full = {"accuracy": 0.9, "stored_bytes": 400}

    assert weighted_score(WEIGHTS, {"accuracy": None, "stored_bytes": 1}, full) is None


def test_a_term_that_the_full_model_has_no_value_of_is_left_out_and_named() -> None:
    full, variant = {"accuracy": 0.9, "energy": None}, {"accuracy": 0.9, "energy": None}
    weights = {"accuracy": 1.0, "energy": -0.2}

    assert weighted_score(weights, variant, full) == 1.0
    assert unrated_terms(weights, full) == ["energy"]
    assert (
        "unknown here: energy" in choose([Row("a")], metric="accuracy", max_drop=0.1, unrated=["energy"])[1]
    )


def test_a_score_of_something_unmeasured_is_refused_with_what_there_is() -> None:
    with pytest.raises(UnknownScoreTermError, match="Allowed here: metric, bits, stored_bytes"):
        check_terms({"accuracy": 1.0}, ["bits"])


@pytest.mark.parametrize(("lower_is_better", "expected"), [(False, 0.2), (True, -0.2)])
def test_a_drop_is_positive_when_worse(lower_is_better: bool, expected: float) -> None:
    assert metric_drop(0.7, 0.9, lower_is_better=lower_is_better) == pytest.approx(expected)


def test_the_budget_itself_is_allowed_in_spite_of_rounding() -> None:
    drop = metric_drop(0.978, 0.988, lower_is_better=False)

    assert drop is not None
    assert drop > 0.01
    assert is_within(drop, 0.01)
    assert not is_within(0.0101, 0.01)
    assert not is_within(None, 0.01)


def test_the_best_score_of_those_within_the_budget_is_chosen() -> None:
    rows = [Row("best", 0.9, qualifies=False), Row("good", 0.8), Row("poor", 0.7), Row("unknown", None)]

    chosen, reason = choose(rows, metric="accuracy", max_drop=0.01)

    assert chosen == "good"
    assert "0.8000" in reason


def test_a_tie_goes_to_the_further_compressed_one() -> None:
    assert choose([Row("first", 0.5), Row("second", 0.5)], metric="accuracy", max_drop=0.01)[0] == "second"


def test_no_qualifying_variant_is_a_result_with_a_reason() -> None:
    rows = [Row("pruned", qualifies=False, drop=0.3), Row("int8", qualifies=False, drop=None)]

    chosen, reason = choose(rows, metric="accuracy", max_drop=0.01)

    assert chosen is None
    assert "pruned 0.3000, int8 an unknown amount" in reason
