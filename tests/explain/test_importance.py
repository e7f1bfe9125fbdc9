"""Permutation importance against models whose needs are known by construction."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from ayni.explain.explanation import Importance
from ayni.explain.importance import NoImportance, groups_of, permutation_importances
from ayni.task import TaskFailedError

NUM_ROWS = 400


class Rows:
    """The class is whether column 0 is above 0; column 1 is noise; columns 2 to 4 are a one-hot code."""

    def __init__(self, shape: tuple[int, ...] = (5,)) -> None:
        self.shape = shape

    def dataset(self, split: str) -> list[Any]:
        rng = np.random.default_rng(0)
        rows = rng.normal(size=(NUM_ROWS, 5))
        rows[:, 2:] = np.eye(3)[rng.integers(0, 3, NUM_ROWS)]
        return [
            (torch.tensor(row, dtype=torch.float32).reshape(self.shape), torch.tensor(int(row[0] > 0)))
            for row in rows
        ]

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        right = [(model(x).argmax(1) == y).float() for x, y in batches]
        return {"accuracy": float(torch.cat(right).mean()), "second": 0.0}

    def feature_names(self) -> list[str]:
        return ["sign", "noise", "red", "green", "blue"]


def first_column(inputs: torch.Tensor) -> torch.Tensor:
    column = inputs.flatten(1)[:, 0]
    return torch.stack([-column, column], dim=1)


def importance(task: Any, model: Any = first_column, better: Any = "higher", **more: Any) -> Importance:
    found = permutation_importances(task, model, of="model", better=better, seed=0, **more)
    assert isinstance(found, Importance)
    return found


def test_what_the_model_needs_is_worth_half_the_answers_and_the_rest_nothing() -> None:
    found = importance(Rows())

    assert (found.metric, found.num_examples, found.num_repeats) == ("accuracy", NUM_ROWS, 10)
    assert found.features[0].name == "sign"
    sign, *others = found.features
    # Shuffled, the sign is right by chance: every second time.
    assert sign.mean_drop == pytest.approx(0.5, abs=0.03)
    assert sign.low is not None and sign.high is not None and sign.low < sign.mean_drop < sign.high
    assert all((each.mean_drop, each.low, each.high) == (0.0, 0.0, 0.0) for each in others)


def test_the_drop_of_a_metric_that_is_better_when_lower_is_a_rise() -> None:
    class Errors(Rows):
        def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
            return {"error": 1 - super().evaluate(model, batches)["accuracy"]}

    found = importance(Errors(), better="lower")

    assert found.features[0].name == "sign"
    assert found.features[0].mean_drop == pytest.approx(0.5, abs=0.03)


def test_columns_of_a_group_are_shuffled_together() -> None:
    class Grouped(Rows):
        def feature_groups(self) -> Mapping[str, list[Any]]:
            return {"colour": ["red", "green", 4]}

        def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
            rows = torch.cat([x for x, _ in batches])
            assert torch.equal(rows[:, 2:].sum(1), torch.ones(NUM_ROWS)), "a colour is always one colour"
            return super().evaluate(model, batches)

    found = importance(Grouped())

    assert sorted(each.name for each in found.features) == ["colour", "noise", "sign"]


def test_a_model_on_arrays_is_given_arrays() -> None:
    class Arrays(Rows):
        def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
            return {"accuracy": float(np.mean([np.mean(model(x) == y) for x, y in batches]))}

    def answer(inputs: Any) -> Any:
        assert isinstance(inputs, np.ndarray)
        return (inputs[:, 0] > 0).astype(int)

    assert importance(Arrays(), answer, takes_arrays=True).features[0].name == "sign"


def test_a_long_table_is_sampled_and_the_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ayni.explain.importance.MAX_EXAMPLES", 50)

    found = importance(Rows())

    assert found.num_examples == 50
    assert "50 test rows drawn from 400" in found.note


def test_the_same_seed_gives_the_same_numbers_and_json_keeps_them() -> None:
    first, second = importance(Rows()), importance(Rows())

    assert first == second
    assert Importance.from_json(first.to_json()) == first


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        ((torch.zeros(2, 3), torch.tensor(1)), "no row of a table"),
        ((torch.zeros(3, dtype=torch.int64), torch.tensor(1)), "not float arrays"),
        (torch.zeros(3), "not a pair"),
    ],
)
def test_what_is_no_table_has_none_and_the_reason(example: Any, reason: str) -> None:
    class Other(Rows):
        def dataset(self, split: str) -> list[Any]:
            return [example, example]

    found = permutation_importances(Other(), first_column, of="model", better="higher", seed=0)

    assert isinstance(found, NoImportance)
    assert reason in found.reason


def test_more_features_than_anybody_reads_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ayni.explain.importance.MAX_GROUPS", 4)

    found = permutation_importances(Rows(), first_column, of="model", better="higher", seed=0)

    assert found == NoImportance(reason="there are 5 features, more than 4")


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ({"colour": ["red", "yellow"]}, "yellow"),
        ({"colour": [2, 7]}, "no column 7"),
        ({"one": [2], "two": ["red"]}, "in two groups"),
    ],
)
def test_groups_that_fit_no_table_are_an_error_of_the_task(groups: Any, told: str) -> None:
    class Grouped(Rows):
        def feature_groups(self) -> Any:
            return groups

    with pytest.raises(TaskFailedError, match=told):
        groups_of(Grouped(), 5)


def test_names_that_do_not_fit_are_numbers_and_a_column_called_like_a_group_keeps_its_own() -> None:
    class Named(Rows):
        def feature_groups(self) -> Any:
            return {"noise": [2, 3, 4]}

    assert list(groups_of(Rows(), 3)) == ["feature 0", "feature 1", "feature 2"]
    assert dict(groups_of(Named(), 5)) == {"noise": [2, 3, 4], "sign": [0], "noise (column 1)": [1]}
