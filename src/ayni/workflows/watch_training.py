"""What the training of a run is at, for whoever asks: no lock, nothing heavy, nothing disturbed."""

from datetime import datetime
from typing import Any

from ayni.jobs.runs import Run
from ayni.train.status import read_status


def training_status(run: Run, *, now: datetime) -> dict[str, Any]:
    """The run in short, and its training as far as it got (`ayni.train.status.TrainingStatus`).

    `is_training` says whether a process works on it right now; a run that is killed or finished is not.
    """
    summary, config = run.summary(), run.job.spec.train
    is_over = run.result("train") is not None
    return {
        "run": run.id,
        "name": summary["name"],
        "status": summary["status"],
        "error": summary["error"],
        "is_training": summary["status"] == "running" and not is_over,
        "strategy": config.strategy,
        "codec": config.codec,
        "download_codec": config.download_codec,
        "num_learners": config.learners,
        **read_status(run.folder / "train", num_rounds=config.rounds, now=now).to_json(),
    }
