"""What augmentation a training saw, as runs, reports and model cards keep it."""

from collections.abc import Mapping
from typing import Any

from ayni.jobs.loading import Job
from ayni.task import Task
from ayni.train.learner import load_dataset
from ayni.train.result import TrainResult
from ayni.workflows.adopt_model import NO_STRATEGY


def augmentation_record(job: Job, task: Task, trained: TrainResult) -> dict[str, Any] | None:
    """Policy, share, strength, back-end, seed, and |D'| / |D| of the training; None without augmentation.

    |D'| counts views shown, repeats counted; rho_eff is None when the model was not trained by this run.
    """
    augment = None if job.spec.data is None else job.spec.data.augment
    if augment is None:
        return None
    num_records = len(load_dataset(task, "train", seed=job.spec.seed))
    is_trained = trained.strategy != NO_STRATEGY
    record = {
        **augment.to_json(),
        "seed": job.spec.seed,
        "num_records": num_records,
        "num_shown": trained.samples if is_trained else None,
        "rho_eff": augment.rho_eff(num_shown=trained.samples, num_records=num_records)
        if is_trained
        else None,
    }
    return {**record, "text": _sentence(record)}


def _sentence(record: Mapping[str, Any]) -> str:
    policy = record["policy"]
    done = ", ".join(name for each in policy["operations"] for name in each)
    rho = record["rho_eff"]
    ratio = (
        "the model was not trained by this run"
        if rho is None
        else f"views shown over records |D'|/|D| = {rho:.3g}"
    )
    return (
        f"policy {policy['name']} ({done}; border {policy['border']}), strength {record['strength']:g}, "
        f"share {record['share']:g} of each batch, computed by {record['backend']}, seed {record['seed']}; "
        f"{ratio}"
    )
