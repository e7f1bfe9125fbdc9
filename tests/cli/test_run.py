"""Stopping a run: what is said, and with which code it ends."""

import os
import signal
from datetime import UTC, datetime, timedelta

import pytest
import typer

from ayni.cli.run import _hint_how_to_resume, _newest_run_since
from ayni.errors import AyniError, UserError
from ayni.jobs.loading import load_job
from ayni.jobs.runs import Runs

HINT = "Stopped; what is finished is kept. Go on with: ayni resume 20261122-digits\n"


def stop_by_keyboard() -> None:
    raise KeyboardInterrupt


def stop_by_signal() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.sigtimedwait([], 5)


@pytest.mark.parametrize("stop", [stop_by_keyboard, stop_by_signal])
def test_a_stopped_run_says_how_to_go_on(stop: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(stop)

    with pytest.raises(typer.Exit) as caught, _hint_how_to_resume(lambda: "20261122-digits"):
        stop()

    assert caught.value.exit_code == 130
    assert capsys.readouterr().err == HINT


def test_an_error_that_the_caller_did_not_cause_says_how_to_go_on() -> None:
    with pytest.raises(AyniError, match="disk") as caught, _hint_how_to_resume(lambda: "20261122-digits"):
        raise AyniError("The disk is gone.")

    assert caught.value.__notes__ == [HINT.rstrip()]


def test_an_error_that_would_come_again_has_no_hint() -> None:
    with pytest.raises(UserError) as caught, _hint_how_to_resume(lambda: "20261122-digits"):
        raise UserError("The loss became nan.")

    assert not hasattr(caught.value, "__notes__")


def test_an_error_before_the_run_began_has_no_hint() -> None:
    with pytest.raises(AyniError) as caught, _hint_how_to_resume(lambda: None):
        raise AyniError("The disk is gone.")

    assert not hasattr(caught.value, "__notes__")


def test_a_stop_before_the_run_began_names_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), _hint_how_to_resume(lambda: None):
        raise KeyboardInterrupt

    assert capsys.readouterr().err == "Stopped before a run began.\n"


def test_the_handling_of_signals_is_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with _hint_how_to_resume(lambda: None):
        assert signal.getsignal(signal.SIGTERM) is not before

    assert signal.getsignal(signal.SIGTERM) is before


def test_the_newest_run_is_the_one_that_this_command_began(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("AYNI_HOME", str(home))
    (home / "task.py").touch()
    (home / "job.yaml").write_text("name: d\ntask: task:x\n")
    run = Runs(home / "runs").create(load_job(home / "job.yaml"))

    assert _newest_run_since(datetime.now(UTC) - timedelta(minutes=1)) == run.id
    assert _newest_run_since(datetime.now(UTC) + timedelta(minutes=1)) is None
