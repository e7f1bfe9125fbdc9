"""The baseline meets closed forms and data whose answer is known."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from ayni.data.baseline import Baseline, NoBaseline, fit_baseline
from ayni.intervals import wilson_interval


class Blobs:
    """Points around `num_classes` centres on a line, in units that differ between the features."""

    def __init__(self, num_classes: int = 3, shape: tuple[int, ...] = (2,), scale: float = 1000.0) -> None:
        self.num_classes, self.shape, self.scale = num_classes, shape, scale

    def build_model(self) -> torch.nn.Module:
        return torch.nn.Identity()

    def dataset(self, split: str) -> list[Any]:
        rng = np.random.default_rng({"train": 0, "validation": 1, "test": 2}[split])
        labels = rng.permutation(np.repeat(np.arange(self.num_classes), 40))
        noise = rng.normal(size=(len(labels), *self.shape))
        inputs = (noise + 8 * labels.reshape(-1, *[1] * len(self.shape))) * self.scale
        return [
            (torch.tensor(x, dtype=torch.float32), torch.tensor(y))
            for x, y in zip(inputs, labels, strict=True)
        ]

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        return torch.zeros(())

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        right = [(model(x).argmax(1) == y).float() for x, y in batches]
        return {"accuracy": float(torch.cat(right).mean())}

    def example_input(self) -> torch.Tensor:
        return torch.zeros(1, *self.shape)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("shape", [(2,), (1, 4, 4)])
def test_separable_classes_are_told_apart_whatever_their_units(
    num_classes: int, shape: tuple[int, ...]
) -> None:
    task = Blobs(num_classes, shape)

    baseline = fit_baseline(task, seed=0)

    assert isinstance(baseline, Baseline)
    assert baseline.name == "logistic regression"
    assert baseline.metrics["accuracy"] == 1.0
    assert baseline.interval == wilson_interval(40 * num_classes, 40 * num_classes)


def test_the_torch_module_gives_the_probabilities_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    probabilities: list[torch.Tensor] = []

    class Spying(Blobs):
        def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
            probabilities.extend(model(x).softmax(1).detach() for x, _ in batches)
            return {"nothing": 0.0}

    task = Spying(scale=1.0)
    train, test = task.dataset("train"), task.dataset("test")

    fit_baseline(task, seed=0)

    features, labels = np.stack([x for x, _ in train]).astype(float), np.array([int(y) for _, y in train])
    standard = (features - features.mean(0)) / features.std(0)
    oracle = LogisticRegression(tol=1e-3, max_iter=300).fit(standard, labels)
    tested = (np.stack([x for x, _ in test]) - features.mean(0)) / features.std(0)
    np.testing.assert_allclose(torch.cat(probabilities), oracle.predict_proba(tested), atol=1e-4)


def test_a_metric_that_is_no_share_of_right_answers_has_no_interval() -> None:
    class Losing(Blobs):
        def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
            return {"half": 0.5 * super().evaluate(model, batches)["accuracy"]}

    baseline = fit_baseline(Losing(), seed=0)

    assert isinstance(baseline, Baseline)
    assert baseline.interval is None


def test_a_class_that_training_never_showed_is_never_predicted() -> None:
    class Gap(Blobs):
        def dataset(self, split: str) -> list[Any]:
            return [(x, y) for x, y in super().dataset(split) if split == "test" or int(y) != 1]

    baseline = fit_baseline(Gap(), seed=0)

    assert isinstance(baseline, Baseline)
    assert math.isclose(baseline.metrics["accuracy"], 2 / 3, abs_tol=0.01)


def test_the_task_may_bring_its_own_baseline() -> None:
    class Own(Blobs):
        def baseline(self) -> Mapping[str, Any]:
            return {"name": "coin", "accuracy": 0.5}

    baseline = fit_baseline(Own(), seed=0)

    assert isinstance(baseline, Baseline)
    assert (baseline.name, baseline.metrics) == ("coin", {"accuracy": 0.5})


@pytest.mark.parametrize("value", ["high", math.nan, True, None])
def test_a_baseline_of_the_task_that_is_no_number_is_none_and_says_so(value: Any) -> None:
    class Own(Blobs):
        def baseline(self) -> Mapping[str, Any]:
            return {"accuracy": value}

    baseline = fit_baseline(Own(), seed=0)

    assert isinstance(baseline, NoBaseline)
    assert f"accuracy = {value!r}" in baseline.reason


def test_a_baseline_of_the_task_that_raises_is_none_and_says_so() -> None:
    class Own(Blobs):
        def baseline(self) -> Mapping[str, Any]:
            raise RuntimeError("no counts")

    baseline = fit_baseline(Own(), seed=0)

    assert baseline == NoBaseline(reason="the task's baseline failed (RuntimeError: no counts)")


def test_a_task_that_wants_one_logit_has_no_baseline_and_the_reason() -> None:
    class OneLogit(Blobs):
        def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
            right = [((model(x).squeeze(1) > 0) == y.bool()).float() for x, y in batches]
            return {"accuracy": float(torch.cat(right).mean())}

    baseline = fit_baseline(OneLogit(num_classes=2), seed=0)

    assert isinstance(baseline, NoBaseline)
    assert "cannot be given logits of classes" in baseline.reason


def test_metrics_that_are_not_finite_are_no_baseline() -> None:
    class Undefined(Blobs):
        def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
            return {"f1": math.nan}

    baseline = fit_baseline(Undefined(), seed=0)

    assert isinstance(baseline, NoBaseline)
    assert "nan" in baseline.reason


def test_data_that_cannot_be_fitted_are_no_baseline() -> None:
    class OneClass(Blobs):
        def dataset(self, split: str) -> list[Any]:
            return [(x, 0 * y) for x, y in super().dataset(split)]

    baseline = fit_baseline(OneClass(), seed=0)

    assert isinstance(baseline, NoBaseline)
    assert "could not be fitted (ValueError" in baseline.reason


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        ((torch.zeros(3, dtype=torch.int64), torch.tensor(1)), "int64"),
        ((torch.zeros(3), torch.tensor(0.5)), "class numbers"),
        ((torch.zeros(3), torch.zeros(3, dtype=torch.int64)), "class numbers"),
        (torch.zeros(3), "not a pair"),
    ],
)
def test_examples_that_do_not_fit_give_a_reason_instead(example: Any, reason: str) -> None:
    class Other(Blobs):
        def dataset(self, split: str) -> list[Any]:
            return [example]

    baseline = fit_baseline(Other(), seed=0)

    assert isinstance(baseline, NoBaseline)
    assert reason in baseline.reason


def test_a_long_training_split_is_sampled_and_the_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ayni.data.baseline.MAX_TRAIN_EXAMPLES", 50)

    baseline = fit_baseline(Blobs(), seed=0)

    assert isinstance(baseline, Baseline)
    assert "50 of 120" in baseline.note


def test_json_gives_the_same_baseline_back() -> None:
    baseline = fit_baseline(Blobs(), seed=0)

    assert isinstance(baseline, Baseline)
    assert Baseline.from_json(baseline.to_json()) == baseline
