"""Runs that begin with a trained model: of the local hub, of a file, or as the task builds it."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ayni.compress.artefacts import ModelFileError
from ayni.jobs.loading import load_job
from ayni.jobs.problems import BadJobError
from ayni.jobs.runs import Run
from ayni.train.result import TrainResult
from ayni.workflows.adopt_model import NO_STRATEGY, adopt_model, text_of
from ayni.workflows.house import House
from ayni.workflows.initial_weights import InitialWeightsNotFoundError
from ayni.workflows.plan_job import plan_job
from ayni.workflows.progress import SilentProgress
from ayni.workflows.report_run import report_path
from ayni.workflows.run_job import run_job
from ayni.workflows.verify_run import verify_run

JOB = """
name: again
task: task:Points
seed: 1
model: {model}
site: {{zone: DE}}
explain: {{samples: 1}}
publish: {{repository: me/again, licence: mit}}
"""


def begin(house: House, job_file: Path, model: str) -> Run:
    job_file.write_text(JOB.format(model=model))
    return house.runs.create(load_job(job_file))


def done(run: Run, house: House) -> TrainResult:
    with run.lock():
        run_job(run, house, progress=SilentProgress(), approve=None, yes=False)
    return TrainResult.from_json(run.result("train"))


def test_a_published_model_goes_through_the_house_without_training(
    finished_once: tuple[Run, House], job_file: Path
) -> None:
    trained, house = finished_once
    run = begin(house, job_file, "me/points")

    result = done(run, house)

    before = TrainResult.from_json(trained.result("train"))
    assert (result.strategy, result.rounds, result.samples) == (NO_STRATEGY, 0, 0)
    assert result.metrics == pytest.approx(before.metrics)
    assert Path(result.model_path).read_bytes() == Path(before.model_path).read_bytes()
    assert report_path(run).exists()
    assert house.hub.find("me/again", None).folder.exists()
    assert "begins with a trained model: accuracy" in text_of(result)


def test_a_run_that_trained_nothing_is_as_it_was_written(house: House, job_file: Path) -> None:
    run = begin(house, job_file, "task")
    done(run, house)

    checks = verify_run(run.folder, expected_public_key=house.key.public_key)

    assert [check.problems for check in checks] == [()] * len(checks)


def test_a_model_can_be_taken_as_its_task_builds_it(house: House, job_file: Path) -> None:
    result = done(begin(house, job_file, "task"), house)

    assert result.num_parameters == 2 * 8 + 8 + 8 * 2 + 2
    assert Path(result.model_path).exists()


def test_weights_of_another_model_are_refused_whole(house: House, job_file: Path) -> None:
    save_file({"0.bias": np.zeros(8, np.float32)}, job_file.parent / "part.safetensors")
    run = begin(house, job_file, "part.safetensors")

    with pytest.raises(ModelFileError, match=r"part\.safetensors"):
        adopt_model(run, house)


def test_a_model_that_is_not_there_is_refused_with_the_plan(house: House, job_file: Path) -> None:
    run = begin(house, job_file, "nowhere.safetensors")

    with pytest.raises(InitialWeightsNotFoundError, match=r"model is 'nowhere\.safetensors'"):
        plan_job(run.job, house)


def test_a_plan_without_training_is_shorter(house: House, job_file: Path) -> None:
    # So many rounds that no noise of the two probes weighs as much.
    trains = plan_job(load_job(job_file, ["train.rounds=1000"]), house)
    adopts = plan_job(begin(house, job_file, "task").job, house)

    def seconds(plan: object) -> float:
        row = next(row for row in plan.rows if row.step == "train")  # type: ignore[attr-defined]
        return float((row.end - row.start).total_seconds())

    assert 0 < seconds(adopts) < seconds(trains)


def test_a_job_does_not_both_train_and_begin_with_a_model(job_file: Path) -> None:
    job_file.write_text(JOB.format(model="task") + "train: {rounds: 3}\n")

    with pytest.raises(BadJobError, match=r"train\.rounds has nothing to do"):
        load_job(job_file)
