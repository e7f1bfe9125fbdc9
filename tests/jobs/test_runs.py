"""Runs survive the process that works on them."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ayni.errors import AyniError, UserError
from ayni.files import NotWritableError
from ayni.jobs.loading import Job, load_job
from ayni.jobs.runs import (
    DamagedRunError,
    Run,
    RunIsBusyError,
    RunNotFoundError,
    Runs,
    TaskChangedError,
)

NOON = datetime(2026, 11, 22, 12, 0, 0, 125_000, tzinfo=UTC)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "task.py").write_text("class Digits:\n    pass\n")
    (tmp_path / "job.yaml").write_text("name: My.Digits\ntask: task:Digits\nseed: 3\n")
    return load_job(tmp_path / "job.yaml")


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs", now=lambda: NOON)


def test_a_new_run_holds_its_job_and_its_status(runs: Runs, job: Job) -> None:
    run = runs.create(job)

    assert run.id == "20261122-120000-125-my-digits"
    assert run.job == job
    assert run.summary() == {
        "run": run.id,
        "name": "My.Digits",
        "status": "interrupted",
        "created_at": "2026-11-22T12:00:00.125000+00:00",
        "updated_at": "2026-11-22T12:00:00.125000+00:00",
        "error": None,
        "finished_steps": [],
        "folder": str(run.folder),
    }


def test_runs_of_the_same_moment_get_ids_of_their_own_in_order(runs: Runs, job: Job) -> None:
    ids = [runs.create(job).id for _ in range(3)]

    assert len(set(ids)) == 3
    assert [run.id for run in runs.list()] == sorted(ids, reverse=True)
    assert ids == sorted(ids)


def test_a_run_is_found_by_id_by_its_beginning_and_as_the_latest(runs: Runs, job: Job) -> None:
    first, second = runs.create(job), runs.create(job)

    assert runs.open(first.id).id == first.id
    assert runs.open(second.id[:-10]).id == second.id
    assert runs.open("latest").id == second.id


def test_a_beginning_of_two_ids_is_refused_with_both(runs: Runs, job: Job) -> None:
    first, second = runs.create(job), runs.create(job)

    with pytest.raises(RunNotFoundError) as caught:
        runs.open("20261122")

    assert str(caught.value) == f"2 runs begin with '20261122': {second.id}, {first.id}. Give more of the id."


def test_an_unknown_run_is_refused_with_the_newest(runs: Runs, job: Job) -> None:
    run = runs.create(job)

    with pytest.raises(RunNotFoundError) as caught:
        runs.open("1999")

    expected = f"No run is called '1999'. The newest are: {run.id}. List all with `ayni runs list`."
    assert str(caught.value) == expected


@pytest.mark.parametrize("reference", ["latest", "x", "", "..", "/"])
def test_without_runs_nothing_is_found(runs: Runs, reference: str) -> None:
    with pytest.raises(RunNotFoundError, match="There are no runs yet"):
        runs.open(reference)


@pytest.mark.parametrize("reference", ["..", "", ".new-x", "../runs"])
def test_a_reference_never_leads_out_of_the_folder(runs: Runs, job: Job, reference: str) -> None:
    runs.create(job)

    with pytest.raises(RunNotFoundError):
        runs.open(reference)


def test_a_result_is_kept_and_had_back(runs: Runs, job: Job) -> None:
    run = runs.create(job)

    run.save_result("train", {"rounds": 12})

    assert Run(run.folder).result("train") == {"rounds": 12}
    assert run.result("compress") is None
    assert run.summary()["finished_steps"] == ["train"]


def test_attempts_are_counted_over_processes_and_apart_for_each_step(runs: Runs, job: Job) -> None:
    run = runs.create(job)

    attempts = [run.begin_attempt("train"), Run(run.folder).begin_attempt("train"), run.begin_attempt("plan")]

    assert attempts == [1, 2, 1]
    assert run.num_attempts("train") == 2


def test_an_attempt_torn_by_a_crash_is_not_counted_and_hides_no_other(runs: Runs, job: Job) -> None:
    run = runs.create(job)
    run.begin_attempt("train")
    with (run.folder / "attempts.jsonl").open("a") as file:
        file.write('{"step": "tra')

    assert run.begin_attempt("train") == 2
    assert run.num_attempts("train") == 2


def test_a_run_is_running_while_its_lock_is_held_and_interrupted_after(runs: Runs, job: Job) -> None:
    run = runs.create(job)

    with run.lock():
        assert run.status == "running"
    assert run.status == "interrupted"


def test_a_finished_run_stays_finished(runs: Runs, job: Job) -> None:
    run = runs.create(job)

    run.set_status("finished")

    assert run.status == "finished"


def test_a_failed_run_keeps_its_error(runs: Runs, job: Job) -> None:
    run = runs.create(job)

    run.set_status("failed", error="The loss is NaN.")

    assert Run(run.folder).summary()["error"] == "The loss is NaN."


def test_a_status_without_meaning_is_refused(runs: Runs, job: Job) -> None:
    with pytest.raises(ValueError, match="not 'ready'"):
        runs.create(job).set_status("ready")


def test_two_places_cannot_work_on_one_run(runs: Runs, job: Job) -> None:
    run = runs.create(job)

    with run.lock(), pytest.raises(RunIsBusyError) as caught, Run(run.folder).lock():
        pass

    assert caught.value.pid == os.getpid()
    assert f"The process {os.getpid()} works on the run {run.id} right now." in str(caught.value)


def test_the_lock_is_free_after_an_error_inside(runs: Runs, job: Job) -> None:
    run = runs.create(job)
    with pytest.raises(ZeroDivisionError), run.lock():
        raise ZeroDivisionError

    with run.lock():
        assert run.is_busy


@pytest.mark.cluster
def test_the_lock_of_a_killed_process_is_free(runs: Runs, job: Job) -> None:
    run = runs.create(job)
    code = (
        "import sys, time; from pathlib import Path; from ayni.jobs.runs import Run\n"
        "with Run(Path(sys.argv[1])).lock():\n    print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, run.folder], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert run.status == "running"
        with pytest.raises(RunIsBusyError, match=f"The process {process.pid} works"), run.lock():
            pass

        process.send_signal(signal.SIGKILL)
        process.wait()

    assert run.status == "interrupted"
    with run.lock():
        assert run.is_busy


def test_looking_at_a_run_never_keeps_another_from_working_on_it(runs: Runs, job: Job) -> None:
    run = runs.create(job)
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            _ = Run(run.folder).status

    with ThreadPoolExecutor() as looker:
        looking = looker.submit(look)
        for _ in range(50):
            with run.lock():
                pass
        stop.set()
        looking.result()


def test_a_removed_run_is_gone_and_the_others_stay(runs: Runs, job: Job) -> None:
    first, second = runs.create(job), runs.create(job)

    runs.remove(first.id)

    assert [run.id for run in runs.list()] == [second.id]
    assert not first.folder.exists()


def test_a_run_that_is_worked_on_cannot_be_removed(runs: Runs, job: Job) -> None:
    run = runs.create(job)

    with run.lock(), pytest.raises(RunIsBusyError):
        runs.remove(run.id)

    assert run.folder.is_dir()


def test_a_removed_run_cannot_be_worked_on(runs: Runs, job: Job) -> None:
    run = runs.create(job)
    runs.remove(run.id)

    with pytest.raises(RunNotFoundError), run.lock():
        pass


def test_a_damaged_status_is_named_and_hides_no_other_run(runs: Runs, job: Job) -> None:
    damaged, whole = runs.create(job), runs.create(job)
    (damaged.folder / "status.json").write_text('{"run": ')

    with pytest.raises(DamagedRunError, match=r"status\.json is not JSON any more"):
        damaged.set_status("finished")

    assert [run.summary()["status"] for run in runs.list()] == ["interrupted", "damaged"]
    assert runs.list()[0].id == whole.id
    runs.remove(damaged.id)


@pytest.mark.parametrize("content", ["[]", "{}", '{"spec": {"name": 3}}'])
def test_a_damaged_job_is_named(runs: Runs, job: Job, content: str) -> None:
    run = runs.create(job)
    (run.folder / "job.json").write_text(content)

    with pytest.raises(DamagedRunError, match=r"job\.json"):
        _ = run.job


def test_an_absent_status_is_named(runs: Runs, job: Job) -> None:
    run = runs.create(job)
    (run.folder / "status.json").unlink()

    with pytest.raises(DamagedRunError, match=r"status\.json is missing") as caught:
        _ = run.status
    assert isinstance(caught.value, AyniError)
    assert not isinstance(caught.value, UserError)


def test_an_unchanged_task_may_go_on(runs: Runs, job: Job) -> None:
    runs.create(job).check_task_unchanged()


def test_a_changed_task_is_refused_with_both_hashes(runs: Runs, job: Job) -> None:
    run = runs.create(job)
    job.task.module_path.write_text("class Digits:\n    changed = True\n")

    with pytest.raises(TaskChangedError, match="was changed") as caught:
        run.check_task_unchanged()

    assert caught.value.expected_sha256 == job.task_sha256
    assert caught.value.found_sha256 == job.task.sha256


def test_a_task_that_is_gone_is_refused(runs: Runs, job: Job) -> None:
    run = runs.create(job)
    job.task.module_path.unlink()

    with pytest.raises(TaskChangedError, match="is gone since the run"):
        run.check_task_unchanged()


def test_a_crash_while_a_run_is_made_leaves_no_run(runs: Runs, job: Job, tmp_path: Path) -> None:
    runs.create(job)
    (tmp_path / "runs" / ".new-0123").mkdir()

    assert len(runs.list()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(job: Job, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o500)

    with pytest.raises(NotWritableError, match="Make it writable or choose another folder"):
        Runs(home / "runs").create(job)
