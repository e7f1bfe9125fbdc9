"""Simple models say what they weigh: against data made by a known rule, and against scikit-learn."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from ayni.data.baseline import Baseline, NoBaseline, fit_baseline, fit_baselines
from ayni.data.simple_models import (
    NUM_COEFFICIENTS,
    Table,
    fit_decision_tree,
    fit_logistic_regression,
    on_arrays,
    strongest,
)

from .test_baseline import Blobs


def table(num_classes: int = 2, num_columns: int = 3) -> Table:
    """The class is decided by column 1 alone."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(300, num_columns))
    labels = np.digitize(inputs[:, 1], np.linspace(-1, 1, num_classes + 1)[1:-1])
    return Table(
        inputs=inputs,
        labels=labels,
        class_names=["low", "middle", "high"] if num_classes == 3 else ["low", "high"],
        feature_names=["a", "b", "c"],
    )


def test_the_largest_coefficient_is_of_the_column_that_decides() -> None:
    found = fit_logistic_regression(table(), seed=0)

    assert [each.answer for each in found.coefficients] == ["high"] * 3
    assert found.coefficients[0].feature == "b"
    assert found.coefficients[0].weight > 5 * abs(found.coefficients[1].weight)


def test_of_three_classes_each_has_its_own_coefficients() -> None:
    found = fit_logistic_regression(table(num_classes=3), seed=0)

    first_of = {each.answer: each for each in reversed(found.coefficients)}
    assert list(first_of) == ["high", "middle", "low"]
    assert first_of["high"].feature == first_of["low"].feature == "b"
    assert first_of["high"].weight > 0 > first_of["low"].weight


def test_the_tree_asks_for_the_column_that_decides_and_answers_as_scikit_learn() -> None:
    given = table(num_classes=3)

    found = fit_decision_tree(given, seed=0)

    assert found.rules.startswith("|--- b <= ")
    assert "class: middle" in found.rules and "a" not in found.rules.split("class")[0]
    answers = found.module(torch.from_numpy(given.inputs)).argmax(1).numpy()
    assert (answers == given.labels).mean() > 0.98
    assert found.coefficients == () and found.weights is None


def test_a_class_that_training_never_showed_gets_no_chance_from_the_tree() -> None:
    given = table()
    given = Table(inputs=given.inputs, labels=2 * given.labels)

    logits = fit_decision_tree(given, seed=0).module(torch.from_numpy(given.inputs))

    assert logits.shape == (300, 3)
    assert float(logits.softmax(1)[:, 1].max()) == 0.0


def test_rows_get_a_tree_beside_the_regression_and_both_come_back_from_json() -> None:
    found = fit_baselines(Blobs(), seed=0)

    assert isinstance(found.first, Baseline) and found.tree is not None
    assert found.tree.name == "decision tree"
    assert found.tree.metrics["accuracy"] > 0.95
    assert "feature" in found.tree.rules
    assert found.model is not None and found.weights is None
    for each in (found.first, found.tree):
        assert Baseline.from_json(each.to_json()) == each


def test_images_get_weights_in_their_shape_and_no_tree() -> None:
    found = fit_baselines(Blobs(num_classes=3, shape=(1, 4, 4)), seed=0)

    assert isinstance(found.first, Baseline)
    assert found.first.coefficients == () and found.tree is None
    assert found.weights is not None and found.weights.shape == (3, 1, 4, 4)
    assert list(found.weight_names) == ["0", "1", "2"]


def test_a_task_may_state_what_its_baseline_weighs() -> None:
    class Own(Blobs):
        def baseline(self) -> Mapping[str, Any]:
            words = {f"word {number}": float(number) for number in range(20)}
            return {"accuracy": 0.5, "coefficients": {"praise": words, "blame": {"bad": np.float32(-1.5)}}}

    found = fit_baseline(Own(), seed=0)

    assert isinstance(found, Baseline)
    assert found.metrics == {"accuracy": 0.5}
    praise = [each for each in found.coefficients if each.answer == "praise"]
    assert [each.feature for each in praise] == [f"word {19 - n}" for n in range(NUM_COEFFICIENTS)]
    assert (found.coefficients[-1].feature, found.coefficients[-1].weight) == ("bad", -1.5)


@pytest.mark.parametrize("stated", [[1], {"praise": 3}, {"praise": {"good": "much"}}, {"a": {"b": np.inf}}])
def test_coefficients_of_another_kind_are_none_and_say_so(stated: Any) -> None:
    class Own(Blobs):
        def baseline(self) -> Mapping[str, Any]:
            return {"accuracy": 0.5, "coefficients": stated}

    found = fit_baseline(Own(), seed=0)

    assert isinstance(found, NoBaseline)
    assert "coefficients" in found.reason


def test_a_baseline_of_an_older_run_has_nothing_to_tell() -> None:
    old = {"name": "x", "metrics": {}, "interval": None, "seconds": 1.0, "note": ""}

    assert Baseline.from_json(old).coefficients == ()


def test_coefficients_of_zero_are_not_told() -> None:
    assert [each.feature for each in strongest("x", ["a", "b", "c"], [0.0, -2.0, 1.0])] == ["b", "c"]


def test_arrays_get_arrays() -> None:
    answer = on_arrays(torch.nn.Identity())(np.ones((2, 3), dtype=np.float32))

    assert isinstance(answer, np.ndarray) and answer.shape == (2, 3)
