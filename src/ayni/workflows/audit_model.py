"""Audit what a run made: does the model give away which examples it was trained on?

The members are the task's training split, the strangers its validation and test splits. What fails is not
published, unless the job says so (`publish.despite_audit`).

Not covered: models of Keras, models that were trained elsewhere (nobody knows their recipe), and tasks whose
examples are not pairs of one input and a class.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ayni.compress.artefacts import load_full_model
from ayni.data.audit.model_audit import ClaimedPrivacy, ModelAudit, audit_model
from ayni.data.audit.verdict import Verdict
from ayni.data.records import Records, RecordsError, records_of
from ayni.errors import UserError
from ayni.explain.pictures import as_image, draw_input
from ayni.files import make_folder
from ayni.jobs.runs import Run
from ayni.jobs.spec import AuditSpec, JobSpec
from ayni.keras_weights import is_keras
from ayni.task import Task
from ayni.train.learner import build_model, load_dataset
from ayni.train.local import one_thread
from ayni.train.result import TrainResult
from ayni.workflows.house import House
from ayni.workflows.initial_weights import keep_initial_weights
from ayni.workflows.limits import LimitGuard
from ayni.workflows.progress import Progress
from ayni.workflows.train_shadows import ShadowTraining, probabilities_of

FOLDER = "audit"
_NUM_LOOKED_AT = 4


class NotAuditableError(UserError):
    """The audit cannot be done for this job, known before any work is spent."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"`audit` asks whether the model leaks its training data, but {reason}. Remove `audit`."
        )


class AuditFailedError(UserError):
    """What is to be published failed its audit."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        super().__init__(
            f"Not published: the audit failed, because {'; '.join(verdict.reasons)}. Train with less "
            "memorising (fewer rounds, more data, augmentation, differential privacy), or publish all the "
            "same with `ayni resume RUN --set publish.despite_audit=true`: the card will say so."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFound:
    """What the audit step found."""

    model: ModelAudit
    images: Sequence[str | None]
    """PNG of each exposed record below the folder of the audit; None when it is no image."""
    label_names: Sequence[str]
    """Of each exposed record."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **self.model.to_json(),
            "images": list(self.images),
            "label_names": list(self.label_names),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The value that `to_json` wrote."""
        return cls(model=ModelAudit.from_json(data), images=data["images"], label_names=data["label_names"])


def audit_run(
    run: Run, house: House, trained: TrainResult, *, progress: Progress, guard: LimitGuard
) -> AuditFound:
    """Attack the run's model with shadow models of its own recipe.

    Raises:
        RecordsError: examples are not pairs of one input and a class number.
        LimitReachedError: a limit was used up on the way.
    """
    assert run.job.spec.audit is not None
    return audit_trained(
        run,
        run.folder / trained.model_path,
        run.job.spec.audit,
        init_path=keep_initial_weights(run, house.hub),
        folder=run.folder,
        progress=progress,
        check=guard.check,
    )


def audit_trained(
    run: Run,
    model_path: Path,
    asked: AuditSpec,
    *,
    init_path: Path | None,
    folder: Path,
    progress: Progress,
    check: Callable[[], None],
) -> AuditFound:
    """Attack the model of a run as `asked`, and draw the exposed records below `folder`.

    Raises:
        RecordsError: examples are not pairs of one input and a class number.
    """
    spec, task = run.job.spec, run.job.task.load()
    members, strangers = _sides(task, seed=spec.seed)
    model = load_full_model(task, model_path)
    training = ShadowTraining(task, spec.train, init_path=init_path, check=check)

    def show(num_trained: int) -> None:
        text = f"{num_trained} of {asked.shadow_models} shadow models"
        progress.advanced("audit", done=num_trained, text=text)

    with one_thread():
        audit, records = audit_model(
            probabilities_of(model, task.example_input().dtype),
            training,
            members,
            strangers,
            method=asked.method,
            num_shadow_models=asked.shadow_models,
            most_records=asked.records,
            claimed=None
            if (promise := spec.train.privacy) is None
            else ClaimedPrivacy(epsilon=promise.epsilon, delta=promise.delta),
            seed=spec.seed,
            on_trained=show,
        )
    return AuditFound(
        model=audit,
        images=[
            draw_record(records.inputs[one.row], folder, f"{FOLDER}/exposed_{one.row:05d}.png")
            for one in audit.exposed
        ],
        label_names=[_label(task, one.label) for one in audit.exposed],
    )


def text_of(found: AuditFound) -> str:
    """The result in a few words."""
    auc = found.model.attack.auc
    return f"{found.model.verdict.kind}: AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})"


def refuse_what_leaks(spec: JobSpec, found: AuditFound | None) -> None:
    """Hold the publication of what failed its audit, unless the job says that it is wanted.

    Raises:
        AuditFailedError: the audit failed.
    """
    assert spec.publish is not None
    if found is not None and found.model.verdict.forbids_publishing and not spec.publish.despite_audit:
        raise AuditFailedError(found.model.verdict)


def check_auditable(spec: JobSpec, task: Task) -> None:
    """Raise before any work what would be raised after it.

    Raises:
        NotAuditableError: see there.
    """
    if spec.model is not None:
        raise NotAuditableError(
            "the job begins with a trained model, and without its recipe there are no shadow models"
        )
    model = build_model(task, seed=spec.seed)
    if is_keras(model):
        raise NotAuditableError("the task's model is one of Keras, and audits look into models of torch")
    try:
        for split in ("train", "validation", "test"):
            dataset = load_dataset(task, split, seed=spec.seed)
            records_of([dataset[row] for row in range(min(len(dataset), _NUM_LOOKED_AT))])
    except RecordsError as error:
        raise NotAuditableError(f"in dataset({split!r}): {error}") from error
    with torch.no_grad():
        output = model.eval()(task.example_input())
    if not isinstance(output, torch.Tensor) or output.dim() != 2 or output.shape[-1] < 2:
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise NotAuditableError(f"the model answers {shape}, no logits [N, C] of two classes or more")


def _sides(task: Task, *, seed: int) -> tuple[Records, Records]:
    """The training split, and validation and test together."""
    splits = [records_of(load_dataset(task, split, seed=seed)) for split in ("train", "validation", "test")]
    return splits[0], splits[1].joined(splits[2])


def draw_record(values: NDArray[np.float32], folder: Path, name: str) -> str | None:
    """Draw an input as `folder`/`name`; returns the name, or None when the input is no image."""
    image = as_image(values.astype(np.float64))
    if image is None:
        return None
    path = folder / name
    make_folder(path.parent)
    draw_input(image, path)
    return name


def _label(task: Task, label: int) -> str:
    stated = getattr(task, "labels", None)
    names = [] if stated is None else list(stated())
    return str(names[label]) if label < len(names) else str(label)
