"""What a user can get wrong, through the real command line: a clear message, the right code, nothing lost."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ayni.cli.main import run_command
from ayni.jobs.loading import load_job
from ayni.jobs.runs import Runs

TASK = """
import torch
from torch import nn
from torch.utils.data import TensorDataset


class Points:
    def build_model(self):
        return nn.Linear(2, 2)

    def dataset(self, split):
        points = torch.rand(128, 2, generator=torch.Generator().manual_seed(len(split)))
        return TensorDataset(points, (points[:, 1] > points[:, 0]).long())

    def loss(self, model, batch):
        points, above = batch
        return nn.functional.cross_entropy(model(points), above)

    def evaluate(self, model, batches):
        pairs = [(model(points).argmax(1) == above) for points, above in batches]
        return {"accuracy": float(torch.cat(pairs).float().mean())}

    def example_input(self):
        return torch.zeros(1, 2)
"""
JOB = """
name: points
task: task:Points
train: {learners: 1, rounds: 2, local_steps: 3, batch_size: 16}
explain: {samples: 1}
"""


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "task.py").write_text(TASK)
    (folder / "job.yaml").write_text(JOB)
    return folder / "job.yaml"


@pytest.fixture
def ayni(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs a command line in this process; the exit code, and what a person sees."""

    def run(*words: object) -> tuple[int, str]:
        code = run_command([str(word) for word in words])
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    return run


Ayni = Callable[..., tuple[int, str]]


def with_method(job_file: Path, old: str, new: str) -> Path:
    task = job_file.parent / "task.py"
    text = task.read_text()
    assert old in text
    task.write_text(text.replace(old, new))
    return job_file


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("import torch\n", "import torhc\n", "No module named 'torhc'"),
        ("class Points", "class Punkte", "has no 'Points'. It has: Punkte"),
        ("    def loss", "    def lost", "it has no loss"),
        (
            "return nn.Linear(2, 2)",
            "raise RuntimeError('no such layer')",
            "build_model raised RuntimeError: no such layer (task.py, line 9)",
        ),
        ("torch.rand(128, 2", "torch.rand(0, 2", "empty"),
        ("torch.rand(128, 2", "torch.rand(8, 2", "8"),
        ("cross_entropy(model(points), above)", "cross_entropy(model(points), above) * float('nan')", "nan"),
        ("return nn.functional.cross_entropy(model(points), above)", "return model(points)", "scalar"),
        (
            'return {"accuracy": float',
            "return {\"accuracy\": float('x') or float",
            "evaluate raised ValueError",
        ),
    ],
)
def test_a_broken_task_is_named_before_anything_is_trained(
    old: str, new: str, message: str, job_file: Path, ayni: Ayni
) -> None:
    code, shown = ayni("run", with_method(job_file, old, new), "--yes")

    assert code == 2
    assert message in shown
    assert "Traceback" not in shown


def test_a_budget_that_is_too_small_names_the_limit_and_what_to_do(job_file: Path, ayni: Ayni) -> None:
    code, shown = ayni("run", job_file, "--set", "limits.energy_kwh=1e-9")

    assert code == 2
    assert "energy_kwh" in shown and "--set limits.energy_kwh=" in shown and "--yes" in shown


def test_a_zone_that_does_not_exist_names_the_nearest(job_file: Path, ayni: Ayni) -> None:
    code, shown = ayni("run", job_file, "--set", "site.zone=Germny")

    assert code == 2
    assert "DE" in shown


def test_a_licence_that_the_data_forbid_is_refused_before_work(job_file: Path, ayni: Ayni) -> None:
    card = "    def data_card(self):\n        return {'name': 'x', 'licence': 'cc-by-sa-4.0'}\n\n"
    with_method(job_file, "    def example_input", f"{card}    def example_input")

    code, shown = ayni("run", job_file, "--set", "publish={repository: me/x, licence: mit}")

    assert code == 2
    assert "contradicts" in shown and "cc-by-sa-4.0" in shown
    assert "train: started" not in shown


def test_a_home_that_is_a_file_is_explained(job_file: Path, home: Path, ayni: Ayni) -> None:
    home.write_text("not a folder")

    code, shown = ayni("run", job_file, "--yes")

    assert code == 2
    assert "AYNI_HOME" in shown and "Traceback" not in shown


def test_a_damaged_database_says_how_to_put_the_backup_back(job_file: Path, home: Path, ayni: Ayni) -> None:
    home.mkdir()
    (home / "state.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)

    code, shown = ayni("run", job_file, "--yes")

    assert code == 1
    assert "state.db.backup" in shown and "Traceback" not in shown


def test_a_job_needs_its_extras_and_names_the_first_that_is_missing(
    job_file: Path, ayni: Ayni, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "captum" else find(name))

    code, shown = ayni("run", job_file)

    assert code == 2
    assert "captum" in shown and "pip install 'ayni[" in shown


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("compress.score={f1: 1.0}", "compress.score weighs 'f1'"),
        ("compress.steps=[{prune: {}}]", "cannot be pruned"),
        ("compress.steps=[{distill: {}}]", "cannot be distilled"),
    ],
)
def test_what_compression_would_refuse_is_refused_before_the_training(
    override: str, message: str, job_file: Path, ayni: Ayni
) -> None:
    # One layer, whose channels are the output; and a single value instead of classes.
    with_method(job_file, "nn.Linear(2, 2)", "nn.Linear(2, 1 + self.is_wide)")
    with_method(job_file, "class Points:", "class Points:\n    is_wide = True\n")
    if "distill" in override:
        with_method(job_file, "is_wide = True", "is_wide = False")
        with_method(
            job_file, "cross_entropy(model(points), above)", "mse_loss(model(points), above[:, None].float())"
        )

    code, shown = ayni("run", job_file, "--yes", "--set", override)

    assert code == 2
    assert message in shown
    assert "train: started" not in shown and "Traceback" not in shown


@pytest.mark.cluster
def test_a_loss_that_turns_nan_in_a_worker_stops_the_run_and_shows_its_traceback_to_debug_alone(
    job_file: Path, ayni: Ayni
) -> None:
    # Far more calls than the probe makes; each process counts its own.
    with_method(job_file, "class Points:", "class Points:\n    num_calls = 0\n")
    with_method(
        job_file,
        "        points, above = batch\n        return nn",
        "        points, above = batch\n        self.num_calls += 1\n        if self.num_calls > 300:\n"
        "            points = points * float('nan')\n        return nn",
    )
    command = ("run", job_file, "--yes", "--set", "train.local_steps=200")

    code, shown = ayni(*command)
    debug_code, debugged = ayni(*command, "--debug")

    assert code == debug_code == 2
    assert "nan in round 2, learner 0, step 101" in shown and "train.learning_rate" in shown
    assert "Traceback" not in shown and "in the worker" not in shown
    assert "in the worker:" in debugged and "_run_steps" in debugged


@pytest.mark.cluster
def test_a_huge_learning_rate_stops_the_run_and_says_what_to_change(job_file: Path, ayni: Ayni) -> None:
    # The first step with a huge rate makes the parameters overflow.
    code, shown = ayni(
        "run", job_file, "--yes", "--set", "train.learning_rate=1e38", "--set", "train.gradient_clip=null"
    )

    assert code == 2
    assert "learning_rate" in shown and "Traceback" not in shown


@pytest.mark.cluster
def test_a_run_from_start_to_end_and_two_at_once(job_file: Path, home: Path, ayni: Ayni) -> None:
    code, shown = ayni("run", job_file, "--json")
    assert code == 0, shown
    view = json.loads(shown[shown.index("{") : shown.rindex("}") + 1])
    run = view["run"]

    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from ayni.jobs.runs import Run\n"
            "with Run(Path(sys.argv[1])).lock():\n    print('held', flush=True); time.sleep(60)",
            view["folder"],
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    status = Path(view["folder"]) / "status.json"
    status.write_text(status.read_text().replace('"finished"', '"interrupted"'))
    busy_code, busy = ayni("resume", run)
    holder.kill()
    holder.wait()
    verified_code, verified = ayni("verify", run)

    assert busy_code == 2 and str(holder.pid) in busy
    assert verified_code == 0, verified


def test_a_refused_job_leaves_no_run_behind(job_file: Path, home: Path, ayni: Ayni) -> None:
    assert ayni("run", job_file, "--set", "limits.energy_kwh=1e-9")[0] == 2

    assert "no runs" in ayni("runs", "list")[1]


def test_a_changed_task_is_not_mixed_into_a_run(job_file: Path, home: Path, ayni: Ayni) -> None:
    Runs(home / "runs").create(load_job(job_file))
    with_method(job_file, "nn.Linear(2, 2)", "nn.Linear(2, 2, bias=False)")

    code, shown = ayni("resume", "latest", "--yes")

    assert code == 2
    assert "was changed" in shown


def test_a_receipt_changed_by_one_byte_fails_the_verification(home: Path, ayni: Ayni, tmp_path: Path) -> None:
    from ayni.footprint.receipts.receipt import SCHEMA
    from ayni.signing import load_or_create_key, sign_record

    folder = home / "runs" / "20260101-000000-000-x"
    (folder / "receipts").mkdir(parents=True)
    (folder / "job.json").write_text("{}")
    body = {"schema": SCHEMA, "previous_hash": "0" * 64, "step": "train"}
    receipt = sign_record(body, load_or_create_key(tmp_path / "key"))
    (folder / "receipts" / "0001-train.json").write_text(json.dumps(receipt).replace("train", "trian"))

    code, shown = ayni("verify", folder)

    assert code == 1
    assert "FAILED receipts" in shown and "hash" in shown


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.cluster
def test_a_full_disk_loses_nothing_and_the_run_goes_on_when_there_is_room(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ayni: Ayni
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("no mount here")
    try:
        monkeypatch.setenv("AYNI_HOME", str(disk / "home"))
        filler = disk / "filler"
        filler.write_bytes(b"x" * 450_000)
        code, shown = ayni("run", job_file, "--yes")
        assert code == 1, shown
        assert "No space left" in shown and "Traceback" not in shown

        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        resumed = ayni("resume", "latest", "--yes")
        if resumed[0]:
            # The disk filled before a run could be made: then there is nothing to go on with.
            assert "no runs" in resumed[1]
            resumed = ayni("run", job_file, "--yes")
        assert resumed[0] == 0, resumed[1]
        assert ayni("verify", "latest")[0] == 0
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def test_the_database_of_a_finished_installation_is_not_needed_to_list_and_verify(
    home: Path, ayni: Ayni
) -> None:
    home.mkdir()
    (home / "state.db").write_bytes(b"rubbish")

    assert ayni("runs", "list")[0] == 0
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(home / "state.db").execute("select 1 from x")
