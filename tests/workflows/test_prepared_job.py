"""A job whose section `data` brings examples and augments them: every step sees the same task."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ayni import wiring
from ayni.data.sources.file_trees import content_hash, open_files
from ayni.files import read_json
from ayni.jobs.loading import load_job
from ayni.jobs.runs import Run, TaskChangedError
from ayni.workflows.house import House
from ayni.workflows.progress import SilentProgress
from ayni.workflows.report_run import report_path, view_of
from ayni.workflows.run_job import run_job

NewRun = Callable[..., Run]
CARD = "name: Points of the plane, licence: cc0-1.0"
AUGMENT = "augment: {policy: table, share: 0.5}"
DATA = f"data={{source: points.csv, {CARD}, {AUGMENT}}}"
PLAIN = f"data={{source: points.csv, {CARD}}}"


@pytest.fixture
def points_file(job_file: Path) -> Path:
    """A table beside the job; the task of the job has data of its own, which are not looked at."""
    lines = [f"{x / 20},{y / 20},{int(y > x)}" for x in range(20) for y in range(20)]
    path = job_file.with_name("points.csv")
    path.write_text("\n".join(["x,y,label", *lines]), encoding="utf-8")
    return path


def work(run: Run, house: House) -> None:
    with run.lock():
        run_job(run, house, progress=SilentProgress(), approve=None, yes=True)


def test_every_step_sees_the_jobs_data_and_what_was_done_to_them_is_recorded(
    house: House, new_run: NewRun, points_file: Path
) -> None:
    run = new_run(DATA, "compress={steps: [{recover: {epochs: 1}}]}")

    work(run, house)

    view: Any = view_of(run)
    data, augmentation = view["data"], view["data"]["augmentation"]
    assert data["rows"] == 400
    assert data["sha256"] == content_hash(open_files(str(points_file)))
    assert data["splits"]["num_examples"] == {"train": 280, "validation": 60, "test": 60}
    assert not any(data["splits"]["num_shared"].values())
    assert augmentation["policy"]["name"] == "table"
    assert (augmentation["seed"], augmentation["share"], augmentation["num_records"]) == (1, 0.5, 280)
    # 2 learners, 3 rounds of 5 steps of 16 examples, half of them replaced.
    assert augmentation["rho_eff"] == pytest.approx(0.5 * 2 * 3 * 5 * 16 / 280)
    page = report_path(run)
    assert page is not None
    assert "policy table" in page.read_text(encoding="utf-8")
    card = (Path(run.result("publish")["folder"]) / "README.md").read_text(encoding="utf-8")  # type: ignore[index]
    assert "policy table" in card
    assert data["sha256"] in card


def test_a_task_without_data_of_its_own_is_enough_and_its_model_can_be_loaded(
    house: House, new_run: NewRun, points_file: Path
) -> None:
    task = points_file.with_name("task.py")
    source = task.read_text(encoding="utf-8")
    start, end = source.index("    def dataset"), source.index("    def loss")
    task.write_text(source[:start] + source[end:], encoding="utf-8")
    run = new_run(DATA)

    work(run, house)

    assert wiring.load("me/points") is not None


def test_a_run_goes_on_with_the_data_that_it_began_with_alone(
    house: House, new_run: NewRun, points_file: Path
) -> None:
    run = new_run(DATA)
    frozen = read_json(run.folder / "job.json")

    assert frozen["data"]["content_sha256"] == content_hash(open_files(str(points_file)))
    assert Run(run.folder).job.task == load_job(points_file.with_name("job.yaml"), [DATA]).task
    run.check_task_unchanged()
    changed = json.loads(json.dumps(frozen))
    changed["spec"]["data"]["augment"]["share"] = 1.0
    (run.folder / "job.json").write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(TaskChangedError):
        Run(run.folder).check_task_unchanged()


@pytest.mark.cluster
def test_workers_of_dask_see_the_wrapped_task(home: Path, job_file: Path, points_file: Path) -> None:
    from ayni.train.dask_engine import DaskEngine
    from ayni.train.in_process_engine import InProcessEngine
    from ayni.train.result import SilentObserver
    from ayni.train.training import train

    def trained(data: str, folder: str, engine: Any) -> bytes:
        job = load_job(job_file, [data])
        result = train(
            job.task,
            job.spec.train,
            seed=1,
            folder=home / folder,
            spill_folder=home / f"{folder}-spill",
            engine=engine,
            observer=SilentObserver(),
        )
        return Path(result.model_path).read_bytes()

    here = trained(DATA, "here", InProcessEngine())
    with DaskEngine(2) as engine:
        there, plain = trained(DATA, "there", engine), trained(PLAIN, "plain", engine)

    assert there == here
    assert plain != here
