"""What would stop a run after its training stops it before."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.config import CompressConfig, StepEntry
from ayni.compress.frameworks import CannotCompressError
from ayni.compress.retrain.distill import CannotDistillError
from ayni.compress.score import UnknownScoreTermError
from ayni.compress.steps import DistillStep, QuantizeStep
from ayni.data.card import DataCardError
from ayni.errors import UserError
from ayni.explain.choosing import MethodDoesNotFitError
from ayni.jobs.spec import JobSpec, PublishSpec
from ayni.task import TaskFailedError
from ayni.train.probe import Probe
from ayni.train.stream import EmptyDatasetError
from ayni.workflows.preflight import UnusableMetricError, UnusableNamesError, check_before_training


class Points:
    """Is a point above the diagonal? All that a task may have, and nothing wrong with it."""

    num_test = 20

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))

    def dataset(self, split: str) -> Sequence[Any]:
        generator = torch.Generator().manual_seed(len(split))
        points = torch.rand(self.num_test if split == "test" else 40, 2, generator=generator)
        return [(point, int(point[1] > point[0])) for point in points]

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        right = [(model(points).argmax(1) == above).float() for points, above in batches]
        return {"accuracy": float(torch.cat(right).mean())}

    def example_input(self) -> torch.Tensor:
        return torch.zeros(1, 2)

    def labels(self) -> Any:
        return ["below", "above"]

    def data_card(self) -> Any:
        return {"name": "points", "licence": "cc-by-sa-4.0"}


def spec(**parts: Any) -> JobSpec:
    return JobSpec(name="points", task="task:Points", **parts)


def probed(**metrics: float) -> Probe:
    return Probe(
        step_seconds=1e-3,
        evaluate_seconds_per_example=1e-5,
        num_parameters=42,
        num_train_examples=40,
        num_validation_examples=40,
        metrics=metrics or {"accuracy": 0.5},
    )


def test_a_task_without_fault_passes() -> None:
    job = spec(compress=CompressConfig(), publish=PublishSpec(repository="me/points", licence="cc-by-sa-4.0"))

    check_before_training(job, Points(), probed())


@pytest.mark.parametrize("method", ["labels", "feature_names"])
@pytest.mark.parametrize("names", ["below above", [0, 1], None, {"below": 0}, [b"below"]])
def test_names_that_are_no_texts_are_refused(method: str, names: Any) -> None:
    task = Points()
    setattr(task, method, lambda: names)

    with pytest.raises(UnusableNamesError, match=f"{method}.* expected a list of texts"):
        check_before_training(spec(), task, probed())


def raising(method: str) -> Points:
    def fail(*_: Any) -> Any:
        raise OSError("file is gone")

    task = Points()
    setattr(task, method, fail)
    return task


@pytest.mark.parametrize("method", ["labels", "feature_names", "data_card", "example_input"])
def test_a_method_that_training_never_asks_is_asked_now(method: str) -> None:
    with pytest.raises(TaskFailedError, match=f"{method} raised OSError: file is gone"):
        check_before_training(spec(), raising(method), probed())


@pytest.mark.parametrize("example", [torch.zeros(2, 2), torch.tensor(0.0), [0.0, 0.0]])
def test_an_example_input_that_is_not_one_example_is_refused(example: Any) -> None:
    task = Points()
    task.example_input = lambda: example  # type: ignore[method-assign]

    with pytest.raises(TaskFailedError, match="batch dimension of 1"):
        check_before_training(spec(), task, probed())


def test_a_data_card_that_cannot_be_read_is_refused() -> None:
    task = Points()
    task.data_card = lambda: {"license": "mit"}  # type: ignore[method-assign]

    with pytest.raises(DataCardError, match="licence"):
        check_before_training(spec(), task, probed())


def test_a_first_metric_that_is_undefined_on_all_of_the_data_is_refused() -> None:
    class Undefined(Points):
        def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
            return {"f1": math.nan, "accuracy": 0.5}

    with pytest.raises(UnusableMetricError, match="f1 = nan"):
        check_before_training(spec(), Undefined(), probed(f1=math.nan))


def test_a_metric_that_only_the_few_examples_of_the_probe_leave_undefined_passes() -> None:
    check_before_training(spec(), Points(), probed(accuracy=math.nan))


def test_a_score_that_weighs_what_nobody_measures_is_refused() -> None:
    with pytest.raises(UnknownScoreTermError, match="'f1'"):
        check_before_training(spec(compress=CompressConfig(score={"f1": 1.0})), Points(), probed())


def test_an_empty_test_split_is_refused_where_variants_are_measured_on_it() -> None:
    task = Points()
    task.num_test = 0

    check_before_training(spec(), task, probed())
    with pytest.raises(EmptyDatasetError, match="test"):
        check_before_training(spec(compress=CompressConfig()), task, probed())


def test_a_runtime_of_keras_models_is_refused_for_torch() -> None:
    compress = CompressConfig(steps=(StepEntry(quantize=QuantizeStep(runtime="litert")),))

    with pytest.raises(CannotCompressError, match=r"litert.*this is one of torch"):
        check_before_training(spec(compress=compress), Points(), probed())


def test_a_step_that_the_model_does_not_allow_is_refused() -> None:
    class Regression(Points):
        def build_model(self) -> nn.Module:
            return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))

        def loss(self, model: Any, batch: Any) -> torch.Tensor:
            return nn.functional.mse_loss(model(batch[0]).squeeze(1), batch[1].float())

    job = spec(compress=CompressConfig(steps=(StepEntry(distill=DistillStep()),)))

    with pytest.raises(CannotDistillError):
        check_before_training(job, Regression(), probed())


def test_the_trial_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    check_before_training(spec(compress=CompressConfig()), Points(), probed())

    assert list(tmp_path.iterdir()) == []


def test_every_refusal_is_the_users_to_mend() -> None:
    assert issubclass(UnusableMetricError, UserError) and issubclass(UnusableNamesError, UserError)


def test_a_method_of_explanation_that_does_not_fit_stops_the_run_before_its_training() -> None:
    with pytest.raises(MethodDoesNotFitError, match="no images") as refused:
        check_before_training(spec(explain={"method": "gradcam"}), Points(), probed(accuracy=0.5))

    assert refused.value.fitting == ("integrated_gradients", "deeplift", "ablation")


@pytest.mark.parametrize("explain", [{"method": "deeplift"}, {"method": "gradcam", "samples": 0}])
def test_a_method_that_fits_or_is_not_used_stops_nothing(explain: dict[str, Any]) -> None:
    check_before_training(spec(explain=explain), Points(), probed(accuracy=0.5))
