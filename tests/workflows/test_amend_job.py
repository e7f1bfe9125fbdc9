"""A job is mended while a run waits, and what is done stays done."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ayni import wiring
from ayni.errors import UserError
from ayni.files import read_json
from ayni.hub.licences import LicenceConflictError
from ayni.jobs.problems import BadJobError
from ayni.jobs.runs import Run
from ayni.market.planning import BudgetTooSmallError
from ayni.train.local import NoSuchDeviceError
from ayni.train.result import TrainResult
from ayni.workflows.amend_job import FrozenKeyError, amend_job
from ayni.workflows.compress_model import compress_model
from ayni.workflows.house import House
from ayni.workflows.progress import SilentProgress
from ayni.workflows.run_job import run_job
from ayni.workflows.verify_run import verify_run

NewRun = Callable[..., Run]


class StopAt(SilentProgress):
    """Progress that dies when a step begins, as Ctrl-C would."""

    def __init__(self, step: str) -> None:
        self._step = step

    def started(self, step: str, *, total: float | None) -> None:
        if step == self._step:
            raise KeyboardInterrupt


def work(run: Run, house: House) -> None:
    with run.lock():
        run_job(run, house, progress=SilentProgress(), approve=None, yes=False)


def work_until(step: str, run: Run, house: House) -> None:
    with run.lock(), pytest.raises(KeyboardInterrupt):
        run_job(run, house, progress=StopAt(step), approve=None, yes=False)


def test_a_refused_compression_is_mended_and_the_training_is_kept(house: House, new_run: NewRun) -> None:
    run = new_run("compress={}")
    work_until("compress", run, house)
    # The plan would have refused this: as if the metric were gone only after the training.
    amend_job(run, ["compress.score={f1: 1.0}"])
    with pytest.raises(UserError, match="f1"):
        work(run, house)
    model = (run.folder / "train" / "model.safetensors").read_bytes()

    amend_job(run, ["compress.score={metric: 1.0}", "compress.steps=[{quantize: {}}]"])
    work(run, house)

    compressed = run.result("compress")
    assert compressed is not None and compressed["variants"][-1]["name"] == "int8"
    assert run.num_attempts("train") == 1
    assert (run.folder / "train" / "model.safetensors").read_bytes() == model
    checks = verify_run(run.folder, expected_public_key=house.key.public_key)
    assert [check.name for check in checks if check.problems] == []


def test_every_section_may_change_before_its_step(new_run: NewRun) -> None:
    run = new_run()

    amend_job(
        run,
        ["explain.samples=0", "publish=null", "limits.deadline=9h", "compress.steps=[{quantize: {}}]"],
    )

    spec = run.job.spec
    assert (spec.explain.samples, spec.publish, spec.limits.deadline) == (0, None, "9h")
    assert spec.compress is not None and len(spec.compress.steps) == 1
    assert spec.train == new_run().job.spec.train


@pytest.mark.parametrize("override", ["train.rounds=9", "seed=2", "task=other:X", "nonsense=1", "rounds"])
def test_what_the_run_stands_for_cannot_change_and_the_error_names_what_may(
    override: str, new_run: NewRun
) -> None:
    run = new_run()
    before = read_json(run.folder / "job.json")

    with pytest.raises(FrozenKeyError, match="below compress, audit, explain, limits, publish"):
        amend_job(run, ["explain.samples=0", override])

    assert read_json(run.folder / "job.json") == before


def test_where_the_rest_of_the_training_runs_may_change_until_it_is_done(
    house: House, new_run: NewRun
) -> None:
    run = new_run()
    learners = run.job.spec.train.learners
    # As examples/clusters/slurm.sh adds it to `ayni resume`: what stays as it is may be said too.
    amend_job(run, ["train.engine=tcp://10.0.0.2:8786", "train.quorum=1", f"train.learners={learners}"])
    assert (run.job.spec.train.engine, run.job.spec.train.quorum) == ("tcp://10.0.0.2:8786", 1)

    with pytest.raises(FrozenKeyError, match=r"publish, and train\.device, train\.engine, "):
        amend_job(run, [f"train.learners={learners + 1}"])
    amend_job(run, ["train.engine=local"])
    work_until("publish", run, house)

    # A script adds it to every `ayni resume`: passed over, for the run says where it was trained.
    amend_job(run, ["train.engine=tcp://10.0.0.3:8786", f"train.learners={learners}"])
    assert run.job.spec.train.engine == "local"


def test_a_section_whose_step_is_finished_cannot_change(house: House, new_run: NewRun) -> None:
    run = new_run()
    work_until("publish", run, house)

    with pytest.raises(
        FrozenKeyError, match=r"the step explain is finished.*below limits, publish\."
    ) as caught:
        amend_job(run, ["explain.samples=1"])

    assert caught.value.changeable == ("limits", "publish")


def test_nothing_of_a_finished_run_can_change(finished: Run) -> None:
    with pytest.raises(FrozenKeyError, match="Nothing in it may change"):
        amend_job(finished, ["publish.licence=mit"])


def test_a_mistake_in_the_mending_changes_nothing(new_run: NewRun) -> None:
    run = new_run()

    with pytest.raises(BadJobError, match=r"--set compress\.stepps=1.*`steps`"):
        amend_job(run, ["compress.stepps=1"])

    assert run.job.spec.compress is None


def test_a_licence_that_the_data_forbid_is_refused_here_too(new_run: NewRun, job_file: Path) -> None:
    card = "    def data_card(self):\n        return {'licence': 'cc-by-sa-4.0'}\n\n"
    task = job_file.with_name("task.py")
    task.write_text(task.read_text().replace("    def example_input", f"{card}    def example_input"))
    run = new_run("publish.licence=cc-by-sa-4.0")

    with pytest.raises(LicenceConflictError):
        amend_job(run, ["publish.licence=mit"])


def test_a_raised_limit_lets_a_refused_plan_pass(house: House, new_run: NewRun) -> None:
    run = new_run("limits.energy_kwh=1e-9")
    with pytest.raises(BudgetTooSmallError):
        work(run, house)

    amend_job(run, ["limits.energy_kwh=1"])
    work(run, house)

    assert run.result("report") is not None
    assert run.num_attempts("plan") == 1


def test_resume_mends_from_python_and_names_the_run_that_an_error_stopped(
    house: House, new_run: NewRun
) -> None:
    run, _newer = new_run(), new_run()

    with pytest.raises(FrozenKeyError) as caught:
        wiring.resume(run.id, overrides=["train.rounds=1"])

    assert caught.value.stopped_run == run.id  # type: ignore[attr-defined]


def test_compression_computes_on_the_jobs_device(new_run: NewRun) -> None:
    run = new_run("train.device=cuda", "compress={}")
    trained = TrainResult(
        model_path="train/model.safetensors",
        strategy="diloco",
        num_learners=1,
        rounds=1,
        samples=1,
        wall_seconds=1.0,
        compute_seconds=1.0,
        bytes_sent=0,
        metrics={},
        num_parameters=1,
        num_lost_updates=0,
        num_optimizer_resets=0,
        curve=[],
    )

    # No such device is here, and that is said.
    with pytest.raises(NoSuchDeviceError):
        compress_model(
            run,
            SimpleNamespace(),  # type: ignore[arg-type]
            trained,
            meter=None,  # type: ignore[arg-type]
            progress=SilentProgress(),
            guard=SimpleNamespace(check=None),  # type: ignore[arg-type]
        )
