"""Change what is left of a job, so that a mistake in it does not cost the training that is done.

Only what no finished step has used may change. The job, its task, seed, data and training stay: they are what
the run's name stands for. Where and how patiently the rest of the training runs may change: a cluster's
scheduler has another address each time.

Not covered: doing a finished step again; that is a new run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ayni.errors import UserError
from ayni.jobs.loading import Job, override_job
from ayni.jobs.runs import Run
from ayni.market.planning import Plan
from ayni.train.config import PACE_KEYS
from ayni.workflows.offer import limits_of
from ayni.workflows.publish_licence import check_publish_licence

# The step after which a section of the job has had its say.
LAST_STEP: Mapping[str, str] = {
    "compress": "compress",
    "audit": "audit",
    "explain": "explain",
    "limits": "settle",
    "publish": "publish",
}
_PACE_KEYS = tuple(f"train.{key}" for key in PACE_KEYS)


class FrozenKeyError(UserError):
    """A key of a run's job cannot change any more."""

    def __init__(self, *, run: str, key: str, changeable: Sequence[str]) -> None:
        self.key = key
        self.changeable = tuple(changeable)
        step = LAST_STEP.get(key.partition(".")[0])
        why = "a run keeps it" if step is None else f"the step {step} is finished"
        sections = [name for name in changeable if "." not in name]
        keys = [name for name in changeable if "." in name]
        left = f"What may still be changed in it is below {', '.join(sections)}" if changeable else ""
        left += f", and {', '.join(keys)}." if keys else "." if left else ""
        super().__init__(
            f"{key} cannot be changed in the run {run}: {why}. {left or 'Nothing in it may change now.'} "
            "For anything else start a new run with `ayni run`."
        )


def amend_job(run: Run, overrides: Sequence[str]) -> None:
    """Replace values of a run's frozen job. The caller holds the run's lock.

    Args:
        run: an unfinished run.
        overrides: each `key=value`, such as "compress.steps=[{quantize: {}}]". A script that starts a cluster
            adds the same ones each time: what the job says already passes, and where training runs is passed
            over once it is done.

    Raises:
        FrozenKeyError: a key is no part of the sections that may change, or their step is finished.
        OverrideError, BadJobError: an override is none, or what it makes is no job.
        LicenceConflictError, MissingLicenceError: the result could not be published as is now asked for.
    """
    is_trained = run.result("train") is not None
    changeable = [section for section, step in LAST_STEP.items() if run.result(step) is None]
    changeable += [] if is_trained else _PACE_KEYS
    for override in overrides:
        key = override.partition("=")[0].strip()
        if not (
            _is_in(key, (*changeable, *_PACE_KEYS)) or (changeable and _is_said_already(override, run.job))
        ):
            raise FrozenKeyError(run=run.id, key=key, changeable=changeable)
    new = [override for override in overrides if not (is_trained and _is_in(override, _PACE_KEYS))]
    job = override_job(run.job, new)
    check_publish_licence(job.spec, job.task.load())
    run.replace_job(job)
    if (plan := run.result("plan")) is not None:
        # The plan is held against the limits that hold now.
        amended = replace(Plan.from_json(plan), limits=limits_of(job.spec))
        run.save_result("plan", amended.to_json())


def _is_in(override: str, names: Iterable[str]) -> bool:
    """Whether an override or its key is one of the sections and keys, or lies below one."""
    parts = [part.strip() for part in override.partition("=")[0].split(".")]
    return any(name.split(".") == parts[: name.count(".") + 1] for name in names)


def _is_said_already(override: str, job: Job) -> bool:
    try:
        return override_job(job, [override]).spec == job.spec
    except UserError:
        return False
