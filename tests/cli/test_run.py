"""Stopping a run: what is said, and with which code it ends."""

import os
import signal
from pathlib import Path

import pytest
import typer

from ayni import wiring
from ayni.cli.run import hint_how_to_resume
from ayni.errors import AyniError, UserError
from ayni.jobs.loading import load_job
from ayni.jobs.runs import Run, Runs

HINT = "Stopped; what is finished is kept. Go on with: ayni resume {}"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that has just begun, and a newer one of another process."""
    home = tmp_path / "home"
    monkeypatch.setenv("AYNI_HOME", str(home))
    (tmp_path / "task.py").touch()
    (tmp_path / "job.yaml").write_text("name: d\ntask: task:x\n")
    runs = Runs(home / "runs")
    mine, _newer = (runs.create(load_job(tmp_path / "job.yaml")) for _ in range(2))
    return mine


def stop_by_keyboard() -> None:
    raise KeyboardInterrupt


def stop_by_signal() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.sigtimedwait([], 5)


@pytest.mark.parametrize("stop", [stop_by_keyboard, stop_by_signal])
def test_a_stopped_run_says_how_to_go_on_with_it_and_no_other(
    stop: object, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(stop)

    with pytest.raises(typer.Exit) as caught, hint_how_to_resume(), wiring._stopped_run_named(run):
        stop()

    assert caught.value.exit_code == 130
    shown = capsys.readouterr().err.splitlines()
    assert shown[-1] == HINT.format(run.id) and shown[:-1] in ([], ["Stopping ..."])


def test_an_error_that_the_caller_did_not_cause_says_how_to_go_on(run: Run) -> None:
    with (
        pytest.raises(AyniError, match="disk") as caught,
        hint_how_to_resume(),
        wiring._stopped_run_named(run),
    ):
        raise AyniError("The disk is gone.")

    assert caught.value.__notes__ == [HINT.format(run.id)]


def test_an_error_of_the_job_before_its_training_has_no_hint(run: Run) -> None:
    with pytest.raises(UserError) as caught, hint_how_to_resume(), wiring._stopped_run_named(run):
        raise UserError("The loss became nan.")

    assert not hasattr(caught.value, "__notes__")


def test_an_error_of_the_job_after_its_training_says_that_the_training_is_kept(run: Run) -> None:
    run.save_result("train", {})

    with pytest.raises(UserError) as caught, hint_how_to_resume(), wiring._stopped_run_named(run):
        raise UserError("This model cannot be pruned.")

    (note,) = caught.value.__notes__
    assert "training is kept" in note and f"ayni resume {run.id} --set" in note


def test_an_error_before_the_run_began_has_no_hint() -> None:
    with pytest.raises(AyniError) as caught, hint_how_to_resume():
        raise AyniError("The disk is gone.")

    assert not hasattr(caught.value, "__notes__")


def test_a_stop_before_the_run_began_names_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), hint_how_to_resume():
        raise KeyboardInterrupt

    assert capsys.readouterr().err == "Stopped before a run began.\n"


def test_the_handling_of_signals_is_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    with hint_how_to_resume():
        assert signal.getsignal(signal.SIGTERM) is not before[0]

    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
