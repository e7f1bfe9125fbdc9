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

from ayni.explain.attribution import Attributed, Method, logits_in_batches, reference_of, why_not_attributable
from ayni.explain.changes import compare_reasons, contrast, describe_change
from ayni.explain.choosing import Wanted, choose_method
from ayni.explain.curves import UncheckableError
from ayni.explain.drawing import MAX_TOKENS, Illustrator
from ayni.explain.explanation import CompressionChange, ExplainResult, Explanation, SanityChecks
from ayni.explain.parts import Parts
from ayni.explain.sanity import Effort, affordable_effort, check_attributions
from ayni.files import explain_os_errors
from ayni.task import Task, TaskFailedError

Predictor = Callable[[torch.Tensor], torch.Tensor]

MAX_COMPARED = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """What one model answers to the compared examples, and with which probability."""

    logits: torch.Tensor
    classes: torch.Tensor
    confidences: torch.Tensor


def explain(
    task: Task,
    model: nn.Module,
    *,
    variant: Predictor | None,
    num_samples: int,
    seed: int,
    folder: Path,
    wanted: Wanted = "auto",
) -> ExplainResult:
    """Explain `num_samples` test examples, and as many disagreements if there are that many.

    Args:
        task: What is learned; its optional `labels()` names the classes, `symbols()` those of a text
            (`labels()` too, when there are as many), `feature_names()` the numbers of a row.
        model: The full model, on the CPU; put into evaluation mode.
        variant: The chosen variant, from an input tensor to logits; None when none qualified.
        num_samples: Pictures of each kind; 0 compares the variant with the full model and explains nothing.
        seed: Chooses the samples.
        folder: Where PNGs and arrays are written; made when absent.
        wanted: The method, or auto for the usual one of this kind of input.

    Returns:
        What was found. When nothing was asked for, or inputs or outputs are of a kind that cannot be
        explained, there are no items, `method` is None, and `note` says why.

    Raises:
        TaskFailedError: the task's dataset or labels raised.
        MethodDoesNotFitError: a method was asked for by name that cannot explain this model.
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
    chosen = choose_method(model, inputs[:1], wanted)
    effort = affordable_effort(model, inputs[:1], chosen.method)
    rng = np.random.default_rng(seed)
    samples, checked = _draw(rng, len(inputs), num_samples), _draw(rng, len(inputs), effort.num_examples)
    shown = differing[:num_samples]
    rows = sorted({*samples, *shown, *checked})
    values = chosen.method.attribute(model, inputs[rows], full.classes[rows])
    attribution_of_row = dict(zip(rows, values, strict=True))
    checks, unchecked = _checked(
        model,
        Attributed(
            parts=Parts(inputs=inputs[checked], reference=reference_of(model, inputs)),
            values=torch.stack([attribution_of_row[row] for row in checked]),
            classes=full.classes[checked],
            method=chosen.method,
        ),
        effort,
        rng,
    )
    changed, change_of_row = _changed(
        model, variant, method=chosen.method, inputs=inputs, full=full, other=other, shown=shown
    )

    feature_names = _names(getattr(task, "feature_names", None), "feature_names")
    illustrator = _illustrator(task, model, inputs, feature_names, folder)

    def explanation(row: int, kind: Any) -> Explanation:
        return Explanation(
            index=row,
            kind=kind,
            label=illustrator.name(_last(examples[row][1])),
            prediction=illustrator.name(int(full.classes[row])),
            variant_prediction=illustrator.name(int(other.classes[row])) if other else None,
            confidence=float(full.confidences[row]),
            variant_confidence=float(other.confidences[row]) if other else None,
            **illustrator.illustrate(
                f"{kind}_{row:05d}",
                inputs[row],
                attribution_of_row[row],
                change=change_of_row.get(row) if kind == "disagreement" else None,
            ),
        )

    return ExplainResult(
        items=[
            *(explanation(row, "sample") for row in samples),
            *(explanation(row, "disagreement") for row in shown),
        ],
        num_compared=num_compared,
        num_disagreements=num_disagreements,
        method=chosen.method.sentence,
        method_key=chosen.method.key,
        checks=checks,
        changed=changed,
        note=" ".join(filter(None, [chosen.note, unchecked, _note(model, inputs, num_test, feature_names)])),
    )


def _checked(
    model: nn.Module, attributed: Attributed, effort: Effort, rng: np.random.Generator
) -> tuple[SanityChecks | None, str]:
    """The checks, or why there are none."""
    try:
        return check_attributions(model, attributed, effort=effort, rng=rng), ""
    except UncheckableError as error:
        return None, f"Not checked, so do not read much into it: {error}."


def check_method(task: Task, model: nn.Module, wanted: Wanted) -> None:
    """Whether a method that is asked for by name can explain the answers of this (untrained) model.

    Inputs and outputs that nothing explains are no mistake of the method: the step will say so.

    Raises:
        MethodDoesNotFitError: it cannot.
        TaskFailedError: the task's dataset raised.
        MissingExtraError: Captum is not installed.
    """
    if wanted == "auto":
        return
    model.eval()
    examples, _ = _test_examples(task, most=1)
    if not _why_unsuitable(model, examples):
        choose_method(model, torch.as_tensor(examples[0][0])[None], wanted)


def _changed(
    model: nn.Module,
    variant: Predictor | None,
    *,
    method: Method,
    inputs: torch.Tensor,
    full: _Answers,
    other: _Answers | None,
    shown: Sequence[int],
) -> tuple[CompressionChange | None, dict[int, torch.Tensor]]:
    """What the compression changed, and of each disagreement that is shown the attribution of its flip."""
    if variant is None or other is None:
        return None, {}
    rows = list(shown)
    answers = full.classes[rows], other.classes[rows]
    parts = Parts(inputs=inputs[rows], reference=reference_of(model, inputs))
    values = contrast(method, model, parts.inputs, *answers) if rows else torch.empty(0)
    reasons = compare_reasons(model, variant, parts, *answers)
    change = describe_change(full.logits, full.classes != other.classes, reasons)
    return change, dict(zip(rows, values, strict=True))


def _illustrator(
    task: Task, model: nn.Module, inputs: torch.Tensor, feature_names: list[str], folder: Path
) -> Illustrator:
    """Draws into `folder`; names that do not fit the model in number are left out."""
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    class_names = _names(getattr(task, "labels", None), "labels")
    symbol_names = _names(getattr(task, "symbols", None), "symbols") or class_names
    return Illustrator(
        folder=folder,
        class_names=class_names,
        symbol_names=symbol_names if len(symbol_names) in _vocabulary_sizes(model, inputs[:1]) else [],
        feature_names=feature_names if len(feature_names) == inputs[0].numel() else [],
    )


def _test_examples(task: Task, *, most: int = MAX_COMPARED) -> tuple[list[Any], int]:
    """The first test examples, and how many there are."""
    try:
        dataset = task.dataset("test")
        return [dataset[row] for row in range(min(len(dataset), most))], len(dataset)
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
    try:
        with torch.no_grad():
            output = model(first)
    except Exception as error:  # of the user's model, which may want more than the first of a pair
        return f"the model does not take the first of a pair alone ({type(error).__name__})"
    return why_not_attributable(output, first)


def _unexplained(
    reason: str, *, num_compared: int = 0, num_disagreements: int | None = None
) -> ExplainResult:
    return ExplainResult(
        items=[],
        num_compared=num_compared,
        num_disagreements=num_disagreements,
        method=None,
        note=f"Not explained: {reason}.",
    )


def _answers(model: Predictor, inputs: torch.Tensor) -> _Answers:
    logits_NC = logits_in_batches(model, inputs)
    confidences_N, classes_N = logits_NC.softmax(-1).max(dim=1)
    return _Answers(logits=logits_NC, classes=classes_N, confidences=confidences_N)


def _differing_rows(full: _Answers, other: _Answers) -> list[int]:
    """Rows answered differently, the full model's surest answers first: they are the ones to look at."""
    rows: list[int] = (full.classes != other.classes).nonzero().flatten().tolist()
    return sorted(rows, key=lambda row: -float(full.confidences[row]))


def _draw(rng: np.random.Generator, num_rows: int, count: int) -> list[int]:
    return sorted(int(row) for row in rng.choice(num_rows, min(count, num_rows), replace=False))


def _names(method: Callable[[], Sequence[Any]] | None, what: str) -> list[str]:
    """The task's own names of its classes or features; empty when it has none."""
    try:
        return [str(name) for name in method()] if method is not None else []
    except Exception as error:
        raise TaskFailedError(method=what, cause=error) from error


def _vocabulary_sizes(model: nn.Module, inputs: torch.Tensor) -> set[int]:
    """How many symbols the inputs may have: as a model that writes has classes, or as it embeds."""
    embedded = [module.num_embeddings for module in model.modules() if isinstance(module, nn.Embedding)]
    output = _output_of(model, inputs)
    return {*embedded[:1], *([output.shape[-1]] if output.dim() == 3 else [])}


def _output_of(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        output: torch.Tensor = model(inputs)
    return output


def _last(label: Any) -> int:
    """The right class; of a sequence that of its last place, which is the one that is explained."""
    return int(torch.as_tensor(label).flatten()[-1])


def _note(model: nn.Module, inputs: torch.Tensor, num_test: int, feature_names: Sequence[str]) -> str:
    parts = []
    if len(inputs) < num_test:
        parts.append(f"Only the first {len(inputs)} of {num_test} test examples were looked at.")
    if _output_of(model, inputs[:1]).dim() == 3:
        parts.append("Of a sequence the answer at its last place is explained.")
    if not inputs.is_floating_point():
        if inputs[0].dim() == 1 and len(inputs[0]) > MAX_TOKENS:
            parts.append(f"Its last {MAX_TOKENS} of {len(inputs[0])} places are shown.")
    elif feature_names and len(feature_names) != (size := inputs[0].numel()):
        parts.append(f"Features have numbers: the task names {len(feature_names)}, an input has {size}.")
    return " ".join(parts)
