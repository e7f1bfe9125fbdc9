"""`ayni train status` on the files of a home, and following a training that grows."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ayni import wiring
from ayni.cli import main, train
from ayni.cli.training_parts import notice_lines, round_line
from ayni.files import append_json_line
from ayni.jobs.loading import load_job
from ayni.jobs.runs import Run, Runs
from ayni.train.curve import append_notice, append_round
from ayni.train.started import append_started

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that was created and never worked on, of a job of four rounds."""
    monkeypatch.setenv("AYNI_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "task.py").write_text("class Digits:\n    pass\n")
    (tmp_path / "job.yaml").write_text("name: digits\ntask: task:Digits\ntrain: {rounds: 4}\n")
    return Runs(tmp_path / "runs").create(load_job(tmp_path / "job.yaml"))


def finish_round(run: Run, round_: int, **values: Any) -> None:
    folder = run.folder / "train"
    for learner in (0, 1):
        append_started(folder, session="s", round_=round_, learner=learner, attempt=1)
        accepted = {"round": round_, "learner": learner, "attempt": 1, "num_samples": 2560}
        append_json_line(folder / "accepted.jsonl", accepted)
    line = {
        "round": round_,
        "num_rounds": 4,
        "samples": 5120 * round_,
        "train_loss": 1.6936 / round_,
        "metrics": {"accuracy": 0.6 + 0.1 * round_},
        "samples_per_second": 1845.3,
        "bytes_sent": 3_310_752,
        "bytes_up": 827_688,
        "bytes_down": 2_483_064,
        "compute_seconds": 5.2,
        "utilisation": 0.934,
        "wall_seconds": 2.9 * round_,
        "learners_alive": 2,
        "num_updates": 2,
        "num_dropped": round_ - 1,
    }
    append_round(folder, {**line, **values})
    os.utime(folder / "rounds.jsonl", (NOON.timestamp(), NOON.timestamp()))


def status_of(run: Run) -> dict[str, Any]:
    return wiring.train_status(run.id)


GOLDEN = """\
Run RUN: interrupted
Training: round 3 of 4, 15,360 samples, 8.70 s at work
  loss             0.5645   █▃▁  (1.694 at first)
  accuracy         90.0 %   ▁▅█  (70.0 % at first)
  pace             1,845 samples/s, utilisation 93 %, 2 of 2 learners
  sent             9.93 MB: 2.48 MB up (int8), 7.45 MB down (fp32)
  updates          6 accepted, 3 dropped

learner  accepted  begun  samples  last begun
─────────────────────────────────────────────
0               3      3    7,680  round 3
1               3      4    7,680  round 4

Notices:
  12:00:00 UTC  learner 1 was lost
Go on with: ayni resume RUN
"""


def test_the_status_of_a_run_that_was_killed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for round_ in (1, 2, 3):
        finish_round(run, round_)
    append_started(run.folder / "train", session="s", round_=4, learner=1, attempt=1)
    append_notice(run.folder / "train", "learner 1 was lost", now=NOON)

    assert main.run_command(["train", "status"]) == 0

    shown = [
        line.rstrip() for line in capsys.readouterr().out.replace("\N{NO-BREAK SPACE}", " ").splitlines()
    ]
    assert shown == GOLDEN.replace("RUN", run.id).splitlines()


def test_a_run_that_did_not_come_to_training_has_a_status(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(["train", "status", run.id[:8]]) == 0

    assert capsys.readouterr().out.splitlines() == [
        f"Run {run.id}: interrupted",
        "Training: not begun (4 rounds to do)",
        f"Go on with: ayni resume {run.id}",
    ]


def test_before_the_first_round_is_done_the_learners_are_shown(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    append_started(run.folder / "train", session="s", round_=1, learner=0, attempt=2)

    main.run_command(["train", "status"])

    shown = capsys.readouterr().out
    assert "Training: begun, and no round is finished yet (4 rounds to do)" in shown
    assert "round 1, attempt 2" in shown


def test_rounds_from_before_the_bytes_were_told_apart_are_shown_without_them(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    new = ("bytes_up", "bytes_down", "utilisation", "num_updates", "num_dropped")
    finish_round(run, 1, **dict.fromkeys(new))

    main.run_command(["train", "status"])

    shown = capsys.readouterr().out.replace("\N{NO-BREAK SPACE}", " ")
    assert "  sent             3.31 MB\n" in shown
    assert "utilisation" not in shown and "updates" not in shown and "unknown" not in shown


def test_json_is_the_status_and_nothing_else(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    finish_round(run, 1)

    assert main.run_command(["train", "status", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["run"], found["is_training"], found["round"], found["codec"]) == (run.id, False, 1, "int8")
    assert found["curve"][0]["bytes_up"] == 827_688
    assert found["learners"][1]["samples"] == 2560


def test_a_run_at_work_has_a_time_left(run: Run) -> None:
    finish_round(run, 1)
    run.set_status("running")

    with run.lock():
        found = status_of(run)

    assert found["is_training"]
    assert round_line({**found, "seconds_left": 54.3}).endswith(", about 54 s left")
    line = round_line({**found, "seconds_left": 125.0}).replace("\N{NO-BREAK SPACE}", " ")
    assert line == (
        "round 1 of 4, loss 1.694, accuracy 70.0 %, 1,845 samples/s, utilisation 93 %, 2 of 2 learners, "
        "about 2 min 05 s left"
    )


def test_a_run_that_is_not_there_is_the_users_mistake(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["train", "status", "nothing"]) == 2

    assert "No run is called 'nothing'" in capsys.readouterr().err


class Script:
    """A training that gets on each time that the watcher pauses."""

    def __init__(self, run: Run, *acts: Callable[[], Any]) -> None:
        self._run = run
        self._acts = list(acts)

    def look(self) -> dict[str, Any]:
        return {**status_of(self._run), "is_training": bool(self._acts)}

    def pause(self) -> None:
        self._acts.pop(0)()


def test_following_says_each_round_and_notice_once(run: Run) -> None:
    script = Script(
        run,
        lambda: finish_round(run, 1),
        lambda: None,
        lambda: append_notice(run.folder / "train", "learner 1 was lost", now=NOON),
        lambda: (finish_round(run, 2), finish_round(run, 3)),
    )

    shown = list(train.lines(script.look, pause=script.pause))

    assert [line.partition(",")[0] for line in shown] == [
        "no round is finished yet",
        "round 1 of 4",
        "12:00:00 UTC  learner 1 was lost",
        "round 3 of 4",
        f"training is not done; the run {run.id} is interrupted",
    ]


def test_following_as_json_leaves_no_round_out(run: Run) -> None:
    finish_round(run, 1)
    script = Script(run, lambda: (finish_round(run, 2), finish_round(run, 3)), lambda: None)

    found = list(train.events(script.look, pause=script.pause))

    assert [(event["event"], event.get("round")) for event in found] == [
        ("round", 1),
        ("round", 2),
        ("round", 3),
        ("status", None),
    ]
    assert found[-1]["status"] == "interrupted"
    assert all(json.loads(json.dumps(event)) == event for event in found)


def test_following_a_run_that_is_over_ends_at_once(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    finish_round(run, 4)

    assert main.run_command(["train", "status", "--follow"]) == 0

    assert capsys.readouterr().out.splitlines()[-1] == f"training is done; the run {run.id} is interrupted"


def test_many_notices_are_counted_and_the_last_shown(run: Run) -> None:
    for number in range(9):
        append_notice(run.folder / "train", f"notice {number}", now=NOON)

    shown = notice_lines(status_of(run), limit=2)

    assert shown == [
        "The last 2 of 9 notices:",
        "  12:00:00 UTC  notice 7",
        "  12:00:00 UTC  notice 8",
    ]
