"""Quality and its intervals."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from ayni.compress.evidence.evaluate import (
    NonFiniteMetricError,
    batch_interval,
    evaluate_split,
    metric_interval,
)
from ayni.intervals import wilson_interval
from ayni.task import Task, TaskFailedError


class Numbers:
    """A task whose metric is what a function makes of its numbers."""

    def __init__(self, metric: Any, values: Sequence[float]) -> None:
        self.metric, self.values = metric, values

    def dataset(self, split: str) -> Sequence[Any]:
        return [torch.tensor(value) for value in self.values]

    def evaluate(self, model: Any, batches: Iterable[torch.Tensor]) -> Mapping[str, float]:
        return {"metric": self.metric(torch.cat(list(batches)).numpy())}


def test_an_accuracy_gets_wilsons_interval(bars: Task) -> None:
    model = bars.build_model().eval()
    value = evaluate_split(bars, model, "test")["accuracy"]

    interval = metric_interval(bars, model, "test", metric="accuracy", value=value)

    assert interval is not None
    assert interval.method == "wilson"
    assert (interval.low, interval.high) == wilson_interval(round(96 * value), 96)


@given(seed=st.integers(0, 100), num_examples=st.integers(20, 200))
def test_a_mean_gets_students_interval_over_batches(seed: int, num_examples: int) -> None:
    values = np.random.default_rng(seed).normal(3, 1, 20 * (num_examples // 20))
    means = values.reshape(20, -1).mean(1)
    half_width = student.ppf(0.975, 19) * means.std(ddof=1) / math.sqrt(20)

    interval = batch_interval(
        float(values.mean()), len(values), lambda run: float(values[run.start : run.stop].mean())
    )

    assert interval is not None
    assert interval.high - interval.low == pytest.approx(2 * half_width, rel=1e-6)
    assert interval.low + interval.high == pytest.approx(2 * values.mean(), rel=1e-6)


def test_a_mean_that_wavers_with_the_batch_still_gets_its_interval() -> None:
    values = np.arange(200) / 100

    interval = batch_interval(
        float(values.mean()) + 1e-4, 200, lambda run: float(values[run.start : run.stop].mean())
    )

    assert interval is not None


def test_a_metric_that_is_no_mean_gets_no_interval() -> None:
    task = Numbers(lambda numbers: float(np.max(numbers)) + 2, [float(index) for index in range(60)])

    interval = metric_interval(task, lambda x: x, "test", metric="metric", value=61.0)  # type: ignore[arg-type]

    assert interval is None


def test_values_that_are_not_finite_are_left_out_but_not_of_the_full_model() -> None:
    task = Numbers(lambda _numbers: math.nan, [1.0, 2.0])

    metrics = evaluate_split(task, lambda x: x, "test")  # type: ignore[arg-type]

    assert metrics == {}
    with pytest.raises(NonFiniteMetricError, match="metric = nan"):
        evaluate_split(task, lambda x: x, "test", is_reference=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("max_examples", "seen"),
    [
        (None, range(300)),
        (1000, range(300)),
        (3, [0, 100, 200]),
        (1, [0]),
        (200, [i * 300 // 200 for i in range(200)]),
    ],
)
def test_a_cheap_look_takes_evenly_spaced_examples(max_examples: int | None, seen: Sequence[int]) -> None:
    looked_at: list[float] = []

    def note(numbers: Any) -> float:
        looked_at.extend(numbers.tolist())
        return 1.0

    task = Numbers(note, [float(index) for index in range(300)])

    evaluate_split(task, lambda x: x, "test", max_examples=max_examples)  # type: ignore[arg-type]

    assert looked_at == list(seen)


def test_a_look_at_no_example_is_refused() -> None:
    with pytest.raises(ValueError, match="max_examples is at least 1"):
        evaluate_split(Numbers(sum, [1.0]), lambda x: x, "test", max_examples=0)  # type: ignore[arg-type]


def test_an_exception_in_the_task_names_the_method() -> None:
    def fail(_numbers: Any) -> float:
        raise KeyError("label")

    with pytest.raises(TaskFailedError, match="evaluate raised KeyError"):
        evaluate_split(Numbers(fail, [1.0]), lambda x: x, "test")  # type: ignore[arg-type]
