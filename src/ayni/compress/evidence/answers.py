"""From a task to the answers that `changes` compares: which class a model gave to each example of a split.

A task evaluates as it likes and says only its metrics. So it evaluates as ever, while two bystanders take
notes: one sees each example as it is fetched, for its label, one each output of the model, for its scores.
Metrics and answers then come from one pass. Where the notes are not one row of scores for each labelled
example, nothing is guessed: the result is NoAnswers with the reason.

    examples -> label of each        (input, label), {"label": ...}, ...; a whole number
    outputs  -> scores of each       [N, C] in all, logits or probabilities; [N] and [N, 1] for two classes

Shape suffixes: N examples, C classes.

Not covered: several labels for one example, texts token by token, regression; calls of other methods than
the model itself. A task that calls its model in another order than that of the examples is found out only
if it has a metric called accuracy, and so is one whose outputs are no scores of classes (embeddings).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ayni.compress.deploy.outputs import NoTensorOutputError
from ayni.compress.deploy.runtimes import Runtime
from ayni.compress.evidence.changes import NO_ANSWER, Answers, Booleans, Changes, find_changes
from ayni.compress.evidence.evaluate import chosen_examples, evaluate_examples
from ayni.compress.evidence.labels import class_names, label_of, task_slices
from ayni.compress.evidence.paired import Integers, UnpairedError
from ayni.compress.retrain.class_scores import class_scores
from ayni.task import Task

Scores = NDArray[np.float32]

SUM_TOLERANCE = 0.01
"""Probabilities in bfloat16 add up to 1 as exactly as this."""
MAX_ACCURACY_GAP = 0.1
"""From the task's own accuracy. It may be a mean over batches of unequal size; another order of the examples
gives about the accuracy of chance."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedAnswers:
    """What a model said of each example, beside what is right.

    scores: [N, C], as the model gave them, 4 bytes each.
    labels: class numbers, [N].
    examples: index in the split of each of the N.
    class_names: None where the task does not name each class.
    slices: by name, which of the N belong.
    """

    scores: Scores
    labels: Integers
    examples: tuple[int, ...]
    class_names: tuple[str, ...] | None
    slices: Mapping[str, Booleans]

    @property
    def holds_probabilities(self) -> bool:
        """Whether the scores are those after a softmax or sigmoid; rows that are not finite do not count.

        One score an example counts as a probability when all of them lie between 0 and 1.
        """
        finite_NC = self.scores[np.isfinite(self.scores).all(axis=1)].astype(np.float64)
        if not len(finite_NC) or finite_NC.min() < 0 or finite_NC.max() > 1 + SUM_TOLERANCE:
            return False
        is_one_score = finite_NC.shape[1] == 1
        return is_one_score or bool((np.abs(finite_NC.sum(axis=1) - 1) <= SUM_TOLERANCE).all())

    def answers(self, *, are_probabilities: bool) -> Answers:
        """Class and confidence of each example."""
        read = Answers.from_probabilities if are_probabilities else Answers.from_logits
        return read(self.scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswers:
    """This task does not answer one class for each example; `reason` says what it does instead."""

    reason: str


Recorded = RecordedAnswers | NoAnswers


def record_answers(
    task: Task, runtime: Runtime, split: str, *, max_examples: int | None = None
) -> RecordedAnswers | NoAnswers:
    """The answers of a model to the examples of a split.

    Raises:
        TaskFailedError, UnusableSlicesError: as `evaluate_recorded`.
    """
    if len(task.dataset(split)) == 0:
        return NoAnswers(reason=f"the {split} split has no examples")
    return evaluate_recorded(task, runtime, split, max_examples=max_examples)[1]


def evaluate_recorded(
    task: Task,
    runtime: Runtime,
    split: str,
    *,
    is_reference: bool = False,
    max_examples: int | None = None,
    takes_arrays: bool = False,
) -> tuple[dict[str, float], RecordedAnswers | NoAnswers]:
    """As `evaluate_split`, and the answers of the same pass.

    Cost: that of evaluate_split, and 4 bytes for each score while the answers are kept.

    Args:
        task: what evaluates. Its optional `labels()` names the classes, its optional `slices(split)` says
            which examples belong to which slice.
        runtime: the model.
        split: whose examples.
        is_reference: this is the full model, whose metrics must be numbers.
        max_examples: at most so many, evenly spaced; all of them when None.
        takes_arrays: the task is one of Keras, whose batches are numpy arrays.

    Raises:
        TaskFailedError: a method of the task raised.
        NonFiniteMetricError: `is_reference`, and a metric is not finite or there is none.
        UnusableSlicesError: `slices` gives something else than names with a value for each example.
    """
    dataset = task.dataset(split)
    indices = chosen_examples(len(dataset), max_examples)
    slices = task_slices(task, split, num_examples=len(dataset))
    notes = _Notes(num_examples=len(indices))
    metrics = evaluate_examples(
        task,
        _NotedRuntime(runtime, notes),
        _NotedDataset(dataset, notes),
        split=split,
        indices=indices,
        is_reference=is_reference,
        takes_arrays=takes_arrays,
    )
    reason = notes.problem(split) or notes.contradiction(metrics)
    if reason is not None:
        return metrics, NoAnswers(reason=reason)
    return metrics, RecordedAnswers(
        scores=notes.scores,
        labels=np.asarray(notes.labels, dtype=np.int64),
        examples=tuple(indices),
        class_names=class_names(task, notes.num_classes),
        slices={name: mask[indices] for name, mask in slices.items()},
    )


def changes_between(
    before: RecordedAnswers | NoAnswers, after: RecordedAnswers | NoAnswers, *, max_drop: float
) -> Changes | None:
    """What changed from one model to the other; indices point into the split. None without answers.

    Whether scores are logits or probabilities is read off `before` for both: rounding to eight bits blurs it.

    Args:
        before: answers of the full model.
        after: answers of the variant.
        max_drop: what a class or slice may lose, in shares.

    Raises:
        UnpairedError: other examples, or other labels of the same.
        ValueError: a negative or non-finite `max_drop`.
    """
    if isinstance(before, NoAnswers) or isinstance(after, NoAnswers):
        return None
    if before.examples != after.examples:
        raise UnpairedError(f"{len(before.examples)} and {len(after.examples)} examples, not the same ones")
    if not np.array_equal(before.labels, after.labels):
        num_other = int((before.labels != after.labels).sum())
        raise UnpairedError(f"{num_other} of {len(before.labels)} labels differ from one run to the other")
    are_probabilities = before.holds_probabilities
    changes = find_changes(
        before.answers(are_probabilities=are_probabilities),
        after.answers(are_probabilities=are_probabilities),
        before.labels,
        max_drop=max_drop,
        class_names=before.class_names,
        slices=before.slices,
    )
    return changes.of_examples(before.examples)


@dataclass(slots=True)
class _Notes:
    """What was seen while a task evaluated; nothing more is noted once it is clear that it cannot be used."""

    num_examples: int
    labels: list[int] = field(default_factory=list)
    outputs: list[Scores] = field(default_factory=list)
    num_rows: int = 0
    refusal: str | None = None

    @property
    def scores(self) -> Scores:
        return np.concatenate(self.outputs)

    @property
    def num_classes(self) -> int:
        """One score an example chooses between two classes."""
        num_scores: int = self.outputs[0].shape[1]
        return max(2, num_scores)

    def note_example(self, example: Any) -> None:
        if self.refusal is not None:
            return
        label = label_of(example)
        if isinstance(label, str):
            self._refuse(label)
        else:
            self.labels.append(label)

    def note_output(self, output: Any) -> None:
        if self.refusal is not None:
            return
        scores = _scores(output)
        if isinstance(scores, str):
            self._refuse(scores)
            return
        self.outputs.append(scores)
        self.num_rows += len(scores)
        first, latest = self.outputs[0].shape[1], scores.shape[1]
        if first != latest:
            self._refuse(f"the model gave {first} scores an example in one call and {latest} in another")
        elif self.num_rows > self.num_examples:
            self._refuse(f"the task gave its model more rows than there are examples ({self.num_examples})")

    def problem(self, split: str) -> str | None:
        """Why the notes are no answers; None when they are."""
        if self.num_examples == 0:
            return f"the {split} split has no examples"
        if self.refusal is not None:
            return self.refusal
        if not self.outputs:
            return "the task's evaluate never called its model as a function"
        if not self.num_rows == len(self.labels) == self.num_examples:
            return f"the task's evaluate gave its model {self.num_rows} rows for {self.num_examples} examples"
        return self._problem_of_labels()

    def _problem_of_labels(self) -> str | None:
        if min(self.labels) < 0:
            return f"{sum(label < 0 for label in self.labels)} labels are negative, which is no class"
        if max(self.labels) >= self.num_classes:
            num_scores = self.outputs[0].shape[1]
            return (
                f"labels go up to {max(self.labels)}, and {num_scores} scores an example tell "
                f"{self.num_classes} classes apart"
            )
        return None

    def contradiction(self, metrics: Mapping[str, float]) -> str | None:
        """That the task's own accuracy, a share or in percent, is far from that of the notes."""
        stated = next((value for name, value in metrics.items() if name.lower() == "accuracy"), None)
        if stated is None:
            return None
        # One score an example can be read in two ways; which one is right is not decided here.
        readings = (Answers.from_logits(self.scores).classes, Answers.from_probabilities(self.scores).classes)
        noted = [float((classes == np.asarray(self.labels)).mean()) for classes in readings]
        share = stated / 100 if stated > 1 else stated
        # The task may count as right what is not finite: argmax gives some class for it.
        allowed = MAX_ACCURACY_GAP + float((readings[0] == NO_ANSWER).mean())
        if min(abs(value - share) for value in noted) <= allowed:
            return None
        return (
            f"the task says accuracy = {stated:.3f}, and the model's outputs in the order of the examples "
            f"give {noted[0]:.3f}: they come in another order, or are no scores of classes"
        )

    def _refuse(self, reason: str) -> None:
        self.refusal = reason
        self.labels.clear()
        self.outputs.clear()


class _NotedDataset(Sequence[Any]):
    """A dataset whose examples are noted as they are fetched."""

    def __init__(self, dataset: Sequence[Any], notes: _Notes) -> None:
        self._dataset = dataset
        self._notes = notes

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: Any) -> Any:
        example = self._dataset[index]
        self._notes.note_example(example)
        return example


class _NotedRuntime:
    """A runtime whose outputs are noted; whatever else a task asks of it, it asks of the runtime."""

    def __init__(self, runtime: Runtime, notes: _Notes) -> None:
        self._runtime = runtime
        self._notes = notes

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        output = self._runtime(*args, **kwargs)
        self._notes.note_output(output)
        return output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    # These give the model itself, and `model = model.eval()` must not lead past the notes.
    def eval(self) -> Self:
        return self._changed("eval")

    def train(self, mode: bool = True) -> Self:
        return self._changed("train", mode)

    def _changed(self, method: str, *arguments: Any) -> Self:
        change = getattr(self._runtime, method, None)
        if change is not None:
            change(*arguments)
        return self


def _scores(output: Any) -> Scores | str:
    """One row of scores for each example of a call, copied; or what it is instead."""
    try:
        scores = class_scores(_with_tensors(output))
    except NoTensorOutputError:
        return f"the model answers with {type(output).__name__}, in which there are no scores"
    if scores.ndim not in (1, 2) or not scores.is_floating_point() or scores.shape[1:] == (0,):
        shape = ", ".join(str(size) for size in scores.shape)
        kind = str(scores.dtype).removeprefix("torch.")
        return f"the model answers with {kind} of the shape [{shape}], not with a row of scores an example"
    return np.array(scores.detach().to("cpu", torch.float32).reshape(len(scores), -1).numpy())


def _with_tensors(output: Any) -> Any:
    """The output with arrays of numpy and of Keras as tensors."""
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, Mapping):
        return {name: _with_tensors(value) for name, value in output.items()}
    if hasattr(output, "_fields"):
        return {name: _with_tensors(getattr(output, name)) for name in output._fields}
    if isinstance(output, tuple | list):
        return tuple(_with_tensors(value) for value in output)
    if hasattr(output, "__array__"):
        array = np.array(output)
        return torch.from_numpy(array) if array.dtype.kind in "fiub" else output
    return output
