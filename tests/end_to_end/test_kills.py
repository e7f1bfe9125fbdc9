"""Killed at random moments and resumed: the job finishes, verifies, and no sample counts twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parent.parent.parent
JOB = ROOT / "examples" / "digits" / "job.yaml"
NUM_KILLS = int(os.environ.get("AYNI_TEST_KILLS", "20"))
SHORT = ("train.rounds=5", "train.local_steps=12", "explain.samples=2")
LONGEST_SECONDS = 300


def ayni(home: Path, *words: str) -> subprocess.Popen[bytes]:
    with (home.parent / "output.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ayni", *words],
            env={**os.environ, "AYNI_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def start_job(home: Path) -> subprocess.Popen[bytes]:
    overrides = [word for override in SHORT for word in ("--set", override)]
    return ayni(home, "run", str(JOB), "--yes", *overrides)


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """The whole family at once, as a power loss does."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def kill_command(process: subprocess.Popen[bytes]) -> None:
    """The command alone; its workers must find out by themselves and leave."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == [], "workers outlived the command"


def kill_worker(process: subprocess.Popen[bytes], rng: random.Random) -> None:
    """One worker, if there is any at this moment; the command must cope alone."""
    family = psutil.Process(process.pid).children(recursive=True)
    workers = [child for child in family if "spawn_main" in " ".join(child.cmdline())]
    if workers:
        rng.choice(workers).kill()


def runs_of(home: Path) -> list[Path]:
    folder = home / "runs"
    return (
        sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.exists() else []
    )


def bring_to_an_end(home: Path, process: subprocess.Popen[bytes]) -> Path:
    """Let the command finish; resume, or start anew where no run was made yet; return the run's folder."""
    for _ in range(3):
        if process.wait(timeout=LONGEST_SECONDS) == 0:
            return runs_of(home)[-1]
        runs = runs_of(home)
        process = ayni(home, "resume", runs[-1].name, "--yes") if runs else start_job(home)
    raise AssertionError((home.parent / "output.log").read_text(encoding="utf-8")[-3000:])


def count_of_each_sample(run: Path) -> Counter[tuple[int, int]]:
    """How often each (epoch, position) stands in an accepted update, read from the file alone."""
    counts: Counter[tuple[int, int]] = Counter()
    for line in (run / "train" / "accepted.jsonl").read_text(encoding="utf-8").splitlines():
        row: dict[str, Any] = json.loads(line)
        block = range(row["start"], row["start"] + row["num_samples"])
        counts.update(divmod(position, row["num_examples"]) for position in block)
    return counts


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run that nobody disturbed, and how long it took."""
    home = tmp_path_factory.mktemp("unbroken") / "home"
    started = time.monotonic()
    run = bring_to_an_end(home, start_job(home))
    return run, time.monotonic() - started


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("number", range(NUM_KILLS))
def test_a_run_killed_at_a_random_moment_ends_as_an_unbroken_one(
    number: int, unbroken: tuple[Path, float], tmp_path: Path
) -> None:
    rng = random.Random(number)
    home = tmp_path / "home"
    whole_run, whole_seconds = unbroken
    how = ("all", "command", "worker")[number % 3]

    process = start_job(home)
    time.sleep(rng.uniform(0.5, whole_seconds * 0.9))
    if process.poll() is None:
        if how == "worker":
            kill_worker(process, rng)
        else:
            (kill_all if how == "all" else kill_command)(process)
    run = bring_to_an_end(home, process)

    assert ayni(home, "verify", run.name).wait(timeout=60) == 0
    counts = count_of_each_sample(run)
    assert counts and set(counts.values()) == {1}
    assert counts.keys() == count_of_each_sample(whole_run).keys()
    accuracies = [
        json.loads((folder / "steps" / "train.json").read_text(encoding="utf-8"))["metrics"]["accuracy"]
        for folder in (run, whole_run)
    ]
    # The validation set has 500 images; a short training moves by a few points between seeds.
    assert abs(accuracies[0] - accuracies[1]) <= 0.03
