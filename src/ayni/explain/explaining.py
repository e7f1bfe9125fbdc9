"""The explain step: a few test examples, and those on which the variant and the full model differ.

What is explained is always the full model's answer: a variant in ONNX Runtime has no gradients.

Legend: N compared examples, C classes.

Not covered: global explanations (which features matter over all data), and inputs that are not one
tensor.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ayni.explain.attribution import attribute, class_probabilities, why_not_attributable
from ayni.explain.deletion import check_by_deletion
from ayni.explain.drawing import Illustrator
from ayni.explain.explanation import ExplainResult, Explanation
from ayni.files import explain_os_errors
from ayni.task import Task, TaskFailedError

Predictor = Callable[[torch.Tensor], torch.Tensor]

MAX_COMPARED = 2_000
NUM_CHECKED = 64
# Ablation needs one pass for each part of the input, so that long inputs get a smaller check.
MAX_ABLATION_PASSES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """What one model answers to the compared examples, and with which probability."""

    classes: torch.Tensor
    confidences: torch.Tensor


def explain(
    task: Task, model: nn.Module, *, variant: Predictor | None, num_samples: int, seed: int, folder: Path
) -> ExplainResult:
    """Explain `num_samples` test examples, and as many disagreements if there are that many.

    Args:
        task: What is learned; its optional `labels()` names the classes.
        model: The full model, on the CPU; put into evaluation mode.
        variant: The chosen variant, from an input tensor to logits; None when none qualified.
        num_samples: Pictures of each kind; 0 compares the variant with the full model and explains nothing.
        seed: Chooses the samples.
        folder: Where PNGs and arrays are written; made when absent.

    Returns:
        What was found. When nothing was asked for, or inputs or outputs are of a kind that cannot be
        explained, there are no items, `method` is None, and `note` says why.

    Raises:
        TaskFailedError: the task's dataset or labels raised.
        MissingExtraError: Captum is not installed.
        DiskFullError, NotWritableError: the folder cannot be written.
    """
    model.eval()
    examples, num_test = _test_examples(task)
    if reason := _why_unsuitable(model, examples):
        return _unexplained(reason)
    inputs = torch.stack([torch.as_tensor(x) for x, _ in examples])
    full = _answers(model, inputs)
    other = _answers(variant, inputs) if variant is not None else None
    differing = _differing_rows(full, other) if other else []
    num_compared, num_disagreements = (len(inputs), len(differing)) if other else (0, None)
    if num_samples == 0:
        return _unexplained(
            "the job asks for 0 samples", num_compared=num_compared, num_disagreements=num_disagreements
        )
    rng = np.random.default_rng(seed)
    samples, checked = _draw(rng, len(inputs), num_samples), _draw(rng, len(inputs), _num_checked(inputs))
    rows = sorted({*samples, *differing[:num_samples], *checked})
    found = attribute(model, inputs[rows], full.classes[rows])
    attribution_of_row = dict(zip(rows, found.values, strict=True))

    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    illustrator = Illustrator(folder=folder, names=_class_names(task))

    def explanation(row: int, kind: Any) -> Explanation:
        return Explanation(
            index=row,
            kind=kind,
            label=illustrator.name(_last(examples[row][1])),
            prediction=illustrator.name(int(full.classes[row])),
            variant_prediction=illustrator.name(int(other.classes[row])) if other else None,
            confidence=float(full.confidences[row]),
            variant_confidence=float(other.confidences[row]) if other else None,
            **illustrator.draw(f"{kind}_{row:05d}", inputs[row], attribution_of_row[row]),
        )

    return ExplainResult(
        items=[
            *(explanation(row, "sample") for row in samples),
            *(explanation(row, "disagreement") for row in differing[:num_samples]),
        ],
        num_compared=num_compared,
        num_disagreements=num_disagreements,
        method=found.method,
        deletion=check_by_deletion(
            model,
            inputs[checked],
            torch.stack([attribution_of_row[row] for row in checked]),
            full.classes[checked],
            rng=rng,
        ),
        note=_note(inputs, len(inputs), num_test),
    )


def _test_examples(task: Task) -> tuple[list[Any], int]:
    """The first MAX_COMPARED test examples, and how many there are."""
    try:
        dataset = task.dataset("test")
        return [dataset[row] for row in range(min(len(dataset), MAX_COMPARED))], len(dataset)
    except Exception as error:
        raise TaskFailedError(method="dataset('test')", cause=error) from error


def _why_unsuitable(model: nn.Module, examples: Sequence[Any]) -> str:
    """Why these examples cannot be explained with this model; empty when they can."""
    if not examples:
        return "the test split is empty"
    pairs = all(isinstance(example, tuple | list) and len(example) == 2 for example in examples)
    if not pairs or not all(isinstance(x, torch.Tensor | np.ndarray) for x, _ in examples):
        return "an example is not a pair of one input tensor and a label"
    shapes = {tuple(x.shape) for x, _ in examples}
    if len(shapes) > 1 or not next(iter(shapes)):
        return f"inputs have {len(shapes)} different shapes, or none"
    first = torch.as_tensor(examples[0][0])[None]
    with torch.no_grad():
        return why_not_attributable(model(first), first)


def _unexplained(
    reason: str, *, num_compared: int = 0, num_disagreements: int | None = None
) -> ExplainResult:
    return ExplainResult(
        items=[],
        num_compared=num_compared,
        num_disagreements=num_disagreements,
        method=None,
        deletion=None,
        note=f"Not explained: {reason}.",
    )


def _answers(model: Predictor, inputs: torch.Tensor) -> _Answers:
    confidences_N, classes_N = class_probabilities(model, inputs).max(dim=1)
    return _Answers(classes=classes_N, confidences=confidences_N)


def _differing_rows(full: _Answers, other: _Answers) -> list[int]:
    """Rows answered differently, the full model's surest answers first: they are the ones to look at."""
    rows: list[int] = (full.classes != other.classes).nonzero().flatten().tolist()
    return sorted(rows, key=lambda row: -float(full.confidences[row]))


def _draw(rng: np.random.Generator, num_rows: int, count: int) -> list[int]:
    return sorted(int(row) for row in rng.choice(num_rows, min(count, num_rows), replace=False))


def _num_checked(inputs: torch.Tensor) -> int:
    if inputs.is_floating_point():
        return NUM_CHECKED
    return max(1, min(NUM_CHECKED, MAX_ABLATION_PASSES // inputs[0].numel()))


def _class_names(task: Task) -> list[str]:
    """The task's own names of the classes; empty when it has none."""
    labels = getattr(task, "labels", None)
    try:
        return [str(name) for name in labels()] if labels is not None else []
    except Exception as error:
        raise TaskFailedError(method="labels", cause=error) from error


def _last(label: Any) -> int:
    """The right class; of a sequence that of its last place, which is the one that is explained."""
    return int(torch.as_tensor(label).flatten()[-1])


def _note(inputs: torch.Tensor, num_compared: int, num_test: int) -> str:
    parts = []
    if num_compared < num_test:
        parts.append(f"Only the first {num_compared} of {num_test} test examples were looked at.")
    if not inputs.is_floating_point():
        parts.append("Of a sequence the answer at its last place is explained.")
    return " ".join(parts)
