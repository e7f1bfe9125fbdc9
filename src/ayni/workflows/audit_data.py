"""Audit without a job: generated records against what they were made from, or the model of a finished run.

Nothing is written into a run, which is sealed; pictures and pages go where the caller says.

Not covered: shadow generators, which need the generator and not only what it made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ayni.data.audit.generator_audit import GeneratorAudit, audit_generated
from ayni.data.records import Records
from ayni.errors import UserError
from ayni.jobs.runs import Run
from ayni.jobs.spec import AuditSpec
from ayni.train.result import TrainResult
from ayni.workflows.audit_model import AuditFound, audit_trained, check_auditable, draw_record
from ayni.workflows.house import House
from ayni.workflows.initial_weights import find_initial_weights
from ayni.workflows.progress import Progress

FOLDER = "pairs"


class NotTrainedError(UserError):
    """The run has no model to audit."""

    def __init__(self, run: str) -> None:
        self.run = run
        super().__init__(f"The run {run} has not trained a model yet. Go on with: ayni resume {run}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedFound:
    """What the audit of generated records found, with pictures of those that are nearest to a member."""

    audit: GeneratorAudit
    images: Sequence[Mapping[str, str | None]]
    """For each pair the PNG of "generated", "member" and "non_member", below the output folder."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**self.audit.to_json(), "images": [dict(each) for each in self.images]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The value that `to_json` wrote."""
        return cls(audit=GeneratorAudit.from_json(data), images=data["images"])


def audit_made(
    generated: Records, members: Records, non_members: Records, *, seed: int, folder: Path
) -> GeneratedFound:
    """Audit generated records, and draw the pairs that are nearest to each other below `folder`.

    Raises:
        RecordsError: the three do not fit each other.
        MissingExtraError: scikit-learn is absent.
    """
    # Joining refuses what has another shape, with both shapes.
    members.joined(generated).joined(non_members)
    audit = audit_generated(generated, members, non_members, seed=seed)
    sides = {"generated": generated, "member": members, "non_member": non_members}
    return GeneratedFound(
        audit=audit,
        images=[
            {
                side: draw_record(
                    records.inputs[getattr(pair, side)], folder, f"{FOLDER}/{number}_{side}.png"
                )
                for side, records in sides.items()
            }
            for number, pair in enumerate(audit.pairs)
        ],
    )


def audit_finished(
    run: Run, house: House, asked: AuditSpec, *, folder: Path, progress: Progress
) -> AuditFound:
    """Audit the model of a run that was trained; the run stays as it is.

    Raises:
        NotTrainedError: there is no model yet.
        NotAuditableError, RecordsError: the model or its examples are of a kind that cannot be audited.
    """
    if (result := run.result("train")) is None:
        raise NotTrainedError(run.id)
    check_auditable(run.job.spec, run.job.task.load())
    trained = TrainResult.from_json(result)
    return audit_trained(
        run,
        run.folder / trained.model_path,
        asked,
        init_path=find_initial_weights(run.job, house.hub),
        folder=folder,
        progress=progress,
        check=lambda: None,
    )
