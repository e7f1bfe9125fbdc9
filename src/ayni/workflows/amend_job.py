"""Change what is left of a job, so that a mistake in it does not cost the training that is done.

Only what no finished step has used may change. The job, its task, seed, data and training stay: they are what
the run's name stands for.

Not covered: doing a finished step again; that is a new run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ayni.errors import UserError
from ayni.jobs.loading import override_job
from ayni.jobs.runs import Run
from ayni.market.planning import Plan
from ayni.workflows.offer import limits_of
from ayni.workflows.publish_licence import check_publish_licence

# The step after which a section of the job has had its say.
LAST_STEP: Mapping[str, str] = {
    "compress": "compress",
    "explain": "explain",
    "limits": "settle",
    "publish": "publish",
}


class FrozenKeyError(UserError):
    """A key of a run's job cannot change any more."""

    def __init__(self, *, run: str, key: str, changeable: Sequence[str]) -> None:
        self.key = key
        self.changeable = tuple(changeable)
        step = LAST_STEP.get(key.partition(".")[0])
        why = "a run keeps it" if step is None else f"the step {step} is finished"
        left = f"What may still be changed in it is below {', '.join(changeable)}." if changeable else ""
        super().__init__(
            f"{key} cannot be changed in the run {run}: {why}. {left or 'Nothing in it may change now.'} "
            "For anything else start a new run with `ayni run`."
        )


def amend_job(run: Run, overrides: Sequence[str]) -> None:
    """Replace values of a run's frozen job. The caller holds the run's lock.

    Args:
        run: an unfinished run.
        overrides: each `key=value`, such as "compress.steps=[{quantize: {}}]".

    Raises:
        FrozenKeyError: a key is no part of the sections that may change, or their step is finished.
        OverrideError, BadJobError: an override is none, or what it makes is no job.
        LicenceConflictError, MissingLicenceError: the result could not be published as is now asked for.
    """
    changeable = [section for section, step in LAST_STEP.items() if run.result(step) is None]
    keys = [override.partition("=")[0].strip() for override in overrides]
    for key in keys:
        if key.partition(".")[0].strip() not in changeable:
            raise FrozenKeyError(run=run.id, key=key, changeable=changeable)
    job = override_job(run.job, overrides)
    check_publish_licence(job.spec, job.task.load())
    run.replace_job(job)
    if (plan := run.result("plan")) is not None:
        # The plan is held against the limits that hold now.
        amended = replace(Plan.from_json(plan), limits=limits_of(job.spec))
        run.save_result("plan", amended.to_json())
