"""From a task to the answers of its model, without a word from the task."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ayni.compress.deploy.export import export_onnx
from ayni.compress.deploy.runtimes import OnnxRuntime, TorchRuntime
from ayni.compress.evidence.answers import (
    NoAnswers,
    RecordedAnswers,
    changes_between,
    evaluate_recorded,
    record_answers,
)
from ayni.compress.evidence.changes import Changes
from ayni.compress.evidence.evaluate import NonFiniteMetricError, evaluate_split
from ayni.compress.evidence.labels import UnusableSlicesError
from ayni.compress.evidence.paired import UnpairedError
from ayni.task import Task, TaskFailedError

LABELS = [0, 1, 2, 1, 0, 2, 2, 1]
LOGITS = torch.eye(3)[LABELS] * 4
"""Of a model that is right everywhere; the inputs of a task are the logits that its model passes on."""


class Given:
    """A task of given examples (input, label) whose model passes its input on."""

    def __init__(self, examples: Sequence[Any], **methods: Any) -> None:
        self.examples = examples
        self.num_fetched = 0
        for name, method in methods.items():
            setattr(self, name, method)

    def dataset(self, split: str) -> "Given":
        return self

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Any:
        self.num_fetched += 1
        return self.examples[index]

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        pairs = [(model(inputs), labels) for inputs, labels in batches]
        right = [(output.argmax(-1) == labels).float() for output, labels in pairs]
        return {"accuracy": torch.cat(right).mean().item()}


class ForeignTensor:
    """As those of TensorFlow: no array, but one can be made of it."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self.values, dtype=dtype)


def given(scores: torch.Tensor = LOGITS, right: Sequence[Any] = LABELS, **methods: Any) -> Any:
    return Given([(row, label) for row, label in zip(scores, right, strict=True)], **methods)


def passed_on(inputs: Any) -> Any:
    return inputs


def answered(task: Any, runtime: Any = passed_on, **options: Any) -> RecordedAnswers:
    found = record_answers(task, runtime, "test", **options)
    assert isinstance(found, RecordedAnswers), found
    return found


def reason(task: Any, runtime: Any = passed_on) -> str:
    found = record_answers(task, runtime, "test")
    assert isinstance(found, NoAnswers)
    return found.reason


def changes(before: RecordedAnswers, after: RecordedAnswers, max_drop: float = 0.0) -> Changes:
    found = changes_between(before, after, max_drop=max_drop)
    assert found is not None
    return found


def quiet(call: Callable[[Any, Any], Any]) -> Any:
    """An evaluate that calls the model as it is told and has no accuracy to tell."""

    def evaluate(model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        for batch in batches:
            call(model, batch)
        return {"loss": 1.0}

    return evaluate


CALLED = quiet(lambda model, batch: model(batch[0]))


def test_a_real_task_is_recorded_in_the_pass_that_gives_its_metrics(bars: Any) -> None:
    calls = []
    model = bars.build_model().eval()
    model.register_forward_hook(lambda *_: calls.append(1))

    metrics, found = evaluate_recorded(bars, TorchRuntime(model), "test")

    assert len(calls) == 1
    assert isinstance(found, RecordedAnswers)
    assert found.labels.tolist() == [index % 3 for index in range(96)]
    with torch.no_grad():
        expected = model(torch.stack([image for image, _ in bars.dataset("test")]))
    assert np.allclose(found.scores, expected)
    assert metrics == evaluate_split(bars, model, "test")
    right = found.answers(are_probabilities=False).classes == found.labels
    assert metrics["accuracy"] == pytest.approx(right.mean())


def test_a_task_loads_each_example_once() -> None:
    task = given()

    answered(task)

    assert task.num_fetched == len(LABELS)


@pytest.mark.parametrize(
    "form",
    [
        lambda scores: {"loss": torch.zeros(()), "logits": scores},
        lambda scores: (scores, torch.zeros(1)),
        lambda scores: scores.numpy(),
        lambda scores: {"scores": scores.numpy()},
        lambda scores: ForeignTensor(scores.numpy()),
        lambda scores: [scores.numpy().astype(np.float64), None],
        lambda scores: scores.to(torch.bfloat16),
        lambda scores: scores.clone().requires_grad_(),
    ],
)
def test_scores_are_found_in_each_form_of_an_output(form: Any) -> None:
    task = given(evaluate=CALLED)

    found = answered(task, form)

    assert found.scores.dtype == np.float32
    assert np.array_equal(found.scores, LOGITS.numpy())


def test_batches_of_named_tensors_and_calls_by_name_are_recorded() -> None:
    examples = [{"ids": row, "label": label} for row, label in zip(LOGITS, LABELS, strict=True)]
    task = Given(examples, evaluate=quiet(lambda model, batch: model(input_ids=batch["ids"], flag=True)))

    found = answered(task, lambda *, input_ids, flag: input_ids)

    assert found.labels.tolist() == LABELS
    assert found.answers(are_probabilities=False).classes.tolist() == LABELS


def test_what_the_runtime_overwrites_later_was_copied() -> None:
    buffer = torch.zeros(1, 3)

    def overwriting(inputs: torch.Tensor) -> torch.Tensor:
        return buffer.copy_(inputs)

    task = given(evaluate=quiet(lambda model, batch: [model(row[None]) for row in batch[0]]))

    assert np.array_equal(answered(task, overwriting).scores, LOGITS.numpy())


def test_the_model_keeps_its_attributes_and_its_modes() -> None:
    class Module(nn.Module):
        block_size = 7

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs

    def evaluate(model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        model = model.eval()
        assert model.block_size == 7
        assert not model.training
        assert not hasattr(model, "no_such_thing")
        for inputs, _ in batches:
            model.train(False)(inputs)
        return {"loss": 1.0}

    for runtime in (Module(), TorchRuntime(Module())):
        assert len(answered(given(evaluate=evaluate), runtime).labels) == 8


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (given(right=[0.5] * 8), "type float64, not the whole number of a class"),
        (given(right=list(torch.zeros(8, 4).long()), evaluate=CALLED), "a label holds 4 numbers"),
        (given(right=["cat"] * 8, evaluate=CALLED), "a label is a str"),
        (given(right=[0, 1, 2, 3, 0, 0, 0, 0]), "labels go up to 3, and 3 scores an example tell 3 classes"),
        (given(right=[0, -100, 1, 1, 0, 0, 0, 0]), "1 labels are negative"),
        (
            given(LOGITS[:, None].expand(-1, 5, -1), evaluate=CALLED),
            "[8, 5, 3]",
        ),
        (given(LOGITS.long(), evaluate=CALLED), "there are no scores"),
        (
            given(evaluate=quiet(lambda model, batch: (model(batch[0]), model(batch[0])))),
            "more rows than there",
        ),
        (
            given(evaluate=quiet(lambda model, batch: model(batch[0][:2]))),
            "gave its model 2 rows for 8 examples",
        ),
        (given(evaluate=quiet(lambda model, batch: model(batch[0].mean()))), "of the shape []"),
        (given(evaluate=quiet(lambda model, batch: None)), "never called its model"),
        (given(evaluate=lambda model, batches: {"loss": 0.0}), "never called its model"),
        (
            given(evaluate=quiet(lambda model, batch: (model(batch[0][:4]), model(batch[0][4:, :2])))),
            "3 scores an example in one call and 2 in another",
        ),
        (Given([]), "the test split has no examples"),
    ],
)
def test_what_is_no_answer_for_each_example_has_a_reason(task: Any, words: str) -> None:
    assert words in reason(task)


def test_a_language_model_is_told_apart_before_its_outputs_pile_up(symbols: Any) -> None:
    metrics, found = evaluate_recorded(symbols, TorchRuntime(symbols.build_model()), "test")

    assert found == NoAnswers(reason="a label holds 12 numbers, not one class")
    assert list(metrics) == ["bits_per_symbol"]


def test_a_regression_on_whole_numbers_is_no_choice_of_two() -> None:
    task = given(torch.arange(8.0), right=range(20, 28), evaluate=CALLED)

    assert reason(task) == "labels go up to 27, and 1 scores an example tell 2 classes apart"


def test_a_task_that_sorts_its_examples_is_found_out_by_its_accuracy() -> None:
    def evaluate(model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        pairs = sorted(
            ((row, label) for batch in batches for row, label in zip(*batch, strict=True)),
            key=lambda pair: int(pair[1]),
        )
        output = model(torch.stack([row for row, _ in pairs]))
        right = (output.argmax(1) == torch.stack([label for _, label in pairs])).float()
        return {"Accuracy": 100 * right.mean().item()}

    assert "in the order of the examples give 0.500" in reason(given(evaluate=evaluate))


@pytest.mark.parametrize("stated", [1.0, 100.0, 0.95])
def test_an_accuracy_in_percent_or_a_mean_over_uneven_batches_is_no_contradiction(stated: float) -> None:
    def evaluate(model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        for inputs, _ in batches:
            model(inputs)
        return {"accuracy": stated}

    assert len(answered(given(evaluate=evaluate)).labels) == 8


def test_a_model_that_broke_has_answers_all_the_same() -> None:
    before, after = (answered(given(), model) for model in (passed_on, lambda inputs: inputs * math.nan))

    found = changes(before, after)

    assert found.num_without_answer == 8
    assert found.num_lost == 8


def test_changes_point_into_the_split_and_know_classes_and_slices() -> None:
    # 90 examples in the order of their classes; the variant answers 2 for the dark half of class 0.
    labels = [index // 30 for index in range(90)]
    is_dark = [index % 2 for index in range(90)]
    task = given(
        torch.eye(3)[labels],
        labels,
        labels=lambda: ["cat", "dog", "eel"],
        slices=lambda split: {"dark": is_dark, "bright": [not dark for dark in is_dark]},
    )

    def forgetful(inputs: torch.Tensor) -> torch.Tensor:
        is_lost = (torch.tensor(labels) == 0) & (torch.tensor(is_dark) == 1)
        return torch.where(is_lost[:, None], torch.tensor([0.0, 0.0, 9.0]), inputs)

    found = changes(answered(task), answered(task, forgetful), max_drop=0.02)

    assert found.lost == tuple(range(1, 30, 2))
    assert found.worst_class is not None and found.worst_slice is not None
    assert (found.worst_class.name, found.worst_class.accuracy_before) == ("cat", 1.0)
    assert found.worst_class.accuracy_after == pytest.approx(0.5)
    assert (found.worst_slice.name, found.worst_slice.drop) == ("dark", pytest.approx(1 / 3))
    assert [group.name for group in found.hidden_losses] == ["cat", "dark"]


def test_a_proxy_of_evenly_spaced_examples_keeps_their_places() -> None:
    labels = [index % 3 for index in range(90)]
    task = given(
        torch.eye(3)[labels], labels, slices=lambda split: {"late": [index >= 45 for index in range(90)]}
    )

    before = answered(task, max_examples=9)
    after = answered(task, lambda inputs: torch.eye(3)[[0] * len(inputs)], max_examples=9)
    found = changes(before, after)

    assert before.examples == tuple(range(0, 90, 10))
    assert task.num_fetched == 18
    assert before.slices["late"].tolist() == [False] * 5 + [True] * 4
    assert found.lost == tuple(index for index in range(0, 90, 10) if index % 3)


def test_one_class_only_is_no_trouble() -> None:
    one = answered(given(LOGITS[[0] * 8], [0] * 8))

    found = changes(one, one)

    assert [group.name for group in found.groups] == ["0"]
    assert found.num_flipped == 0


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_one_logit_an_example_is_a_choice_of_two(shape: tuple[int, ...]) -> None:
    task = given(
        torch.tensor([-2.0, 3.0, 0.5, -0.5]).reshape(shape),
        [0, 1, 1, 1],
        evaluate=CALLED,
        labels=lambda: ["no", "yes"],
    )

    found = answered(task)

    assert not found.holds_probabilities
    assert found.class_names == ("no", "yes")
    assert found.answers(are_probabilities=False).classes.tolist() == [0, 1, 1, 0]


def test_probabilities_are_taken_as_what_they_are() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]])
    one, other = given(logits, [0, 1]), given(logits.softmax(1), [0, 1])

    as_logits, as_probabilities = answered(one), answered(other)

    assert (as_logits.holds_probabilities, as_probabilities.holds_probabilities) == (False, True)
    assert changes(as_logits, as_logits).calibration_before == pytest.approx(
        changes(as_probabilities, as_probabilities).calibration_before, abs=1e-6
    )


def test_how_scores_are_read_is_decided_by_the_full_model() -> None:
    probabilities = torch.tensor([[0.9, 0.06, 0.04], [0.2, 0.7, 0.1]])
    before = answered(given(probabilities, [0, 1]))
    # Eight bits in coarse steps: the rows no longer add up to 1.
    after = answered(given((probabilities * 8).round() / 8, [0, 1]))

    found = changes(before, after)

    assert not after.holds_probabilities
    # Sure by 0.875 and 0.75, and right both times.
    assert found.calibration_after == pytest.approx((0.125 + 0.25) / 2)


def test_a_sigmoid_is_half_sure_at_the_border() -> None:
    task = given(torch.tensor([[0.2], [0.9], [0.4]]), [0, 1, 1], evaluate=CALLED)

    found = answered(task)

    assert found.holds_probabilities
    answers = found.answers(are_probabilities=True)
    assert answers.classes.tolist() == [0, 1, 0]
    assert answers.confidences == pytest.approx([0.8, 0.9, 0.6])


def test_without_answers_there_are_no_changes() -> None:
    some, none = answered(given()), NoAnswers(reason="regression")

    assert changes_between(some, none, max_drop=0.0) is None
    assert changes_between(none, some, max_drop=0.0) is None


def test_answers_to_other_examples_are_not_compared() -> None:
    whole, part = answered(given()), answered(given(), max_examples=4)
    other = answered(given(LOGITS.roll(1, 0), LABELS[-1:] + LABELS[:-1]))

    with pytest.raises(UnpairedError, match="8 and 4 examples"):
        changes(whole, part)
    with pytest.raises(UnpairedError, match="of 8 labels differ"):
        changes(whole, other)
    with pytest.raises(ValueError, match="max_drop"):
        changes(whole, whole, max_drop=-1.0)


def test_slices_that_do_not_fit_are_an_error_before_anything_is_computed() -> None:
    def never(_inputs: Any) -> Any:
        raise AssertionError("the model was called")

    with pytest.raises(UnusableSlicesError, match="slice 'dark' has 7 values, and the split has 8"):
        record_answers(given(slices=lambda split: {"dark": [1] * 7}), never, "test")


def test_what_the_task_raises_and_metrics_that_are_no_numbers_are_as_without_answers() -> None:
    with pytest.raises(TaskFailedError, match="evaluate raised ZeroDivisionError"):
        record_answers(given(evaluate=lambda model, batches: {"loss": 1 / 0}), passed_on, "test")
    with pytest.raises(NonFiniteMetricError):
        evaluate_recorded(
            given(evaluate=lambda model, batches: {"loss": math.nan}), passed_on, "test", is_reference=True
        )
    with pytest.raises(ValueError, match="max_examples"):
        answered(given(), max_examples=0)


def test_a_file_of_another_runtime_is_recorded_like_the_model(bars: Task, tmp_path: Path) -> None:
    model = bars.build_model().eval()
    export_onnx(model, [torch.zeros(2, 1, 8, 8)], tmp_path / "model.onnx")

    before = answered(bars, TorchRuntime(model))
    after = answered(bars, OnnxRuntime(tmp_path / "model.onnx"))
    kept = json.loads(json.dumps(changes(before, after).to_json(max_indices=10)))

    assert np.allclose(before.scores, after.scores, atol=1e-4)
    assert Changes.from_json(kept).num_flipped == 0
