"""The program in docs/verify.md verifies real receipts, and finds every change that it promises to find."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ayni.files import read_json_lines
from ayni.footprint.counters.cascade import NodeCounters
from ayni.footprint.counters.meters import ScriptedCounter
from ayni.footprint.grid.tariffs import Tariff
from ayni.footprint.impacts.embodied import server
from ayni.footprint.receipts.receipt import ReceiptSubject, last_hash, receipt_of_step, write_receipt
from ayni.footprint.receipts.site_conditions import SiteConditions
from ayni.footprint.receipts.verification import verify_receipts
from ayni.footprint.windows.cpu_time import ScriptedCpuClock
from ayni.footprint.windows.node_meter import NodeMeter
from ayni.jobs.runs import Run
from ayni.signing import SigningKey, load_or_create_key
from ayni.workflows.seal_run import seal_run
from ayni.workflows.verify_footprint import verify_footprint

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "verify.md").read_text(encoding="utf-8")
(PROGRAM,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SITE = SiteConditions(
    zone="DE",
    pue=1.3,
    wue_litres_per_kwh=1.8,
    machine=server(num_processors=1, memory_gigabytes=64),
    tariff=Tariff(name="flat", flat_microcredits_per_kwh=300_000),
    ask_microcredits_per_core_hour=10_000_000,
)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return load_or_create_key(tmp_path / "key.pem")


def make_run(folder: Path, key: SigningKey, *, unknown: tuple[str, ...] = ()) -> Path:
    """A sealed run of two steps, metered by counters in memory; the file has the trace of a crash."""
    clock, counter = ScriptedCpuClock(), ScriptedCounter(idle_watts=3.0)
    counters = NodeCounters(processor=counter, device=None, unknown=unknown, notes=(), cpu_clock=clock)
    path = folder / "meter" / "windows.jsonl"
    with NodeMeter(path, job="r1", counters=counters, reserved_cores=1, num_cores=2) as meter:
        for step in ("plan", "train"):
            meter.begin_step(step)
            counter.add(12_345_678)
            clock.job_seconds += 1.0
            clock.node_seconds += 1.5
            meter.end_step()
    with path.open("ab") as file:
        file.write(b'{"kind": "window", "jobs": {"r1": {}}\n')
    for step in ("plan", "train"):
        body = receipt_of_step(
            read_json_lines(path),
            step,
            subject=ReceiptSubject(run="r1", job="Pr\u00fcfung", member="me", site="own", node="vm"),
            conditions=SITE,
            previous_hash=last_hash(folder / "receipts"),
        )
        write_receipt(folder / "receipts", body, key)
    seal_run(Run(folder), key)
    return folder


def check(run: Path, public_key: str) -> subprocess.CompletedProcess[str]:
    program = run.parent / "check_run.py"
    program.write_text(PROGRAM, encoding="utf-8")
    return subprocess.run(
        [sys.executable, str(program), str(run), public_key], capture_output=True, text=True, check=False
    )


def edit(path: Path, change: Callable[[dict], None]) -> None:
    value = json.loads(path.read_bytes())
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def reseal(run: Path, key: SigningKey) -> None:
    """What a liar with the key would do after a change."""
    (run / "manifest.json").unlink()
    seal_run(Run(run), key)


def change_window(run: Path, change: Callable[[dict], None]) -> None:
    path = run / "meter" / "windows.jsonl"
    lines = path.read_bytes().splitlines()
    position = next(index for index, line in enumerate(lines) if json.loads(line)["kind"] == "window")
    window = json.loads(lines[position])
    change(window)
    lines[position] = json.dumps(window).encode()
    path.write_bytes(b"\n".join(lines) + b"\n")


def test_an_honest_run_is_verified_by_the_program_and_by_ayni(tmp_path: Path, key: SigningKey) -> None:
    run = make_run(tmp_path / "run", key)

    answer = check(run, key.public_key)

    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.fullmatch(r"VERIFIED: \d+ windows, \d+ files\n", answer.stdout)
    assert verify_receipts(run, key.public_key) == []


def test_a_run_whose_energy_is_unknown_is_verified(tmp_path: Path, key: SigningKey) -> None:
    run = make_run(tmp_path / "run", key, unknown=("gpu",))

    assert check(run, key.public_key).stdout.startswith("VERIFIED: 0 windows")


def test_another_key_is_not_accepted(tmp_path: Path, key: SigningKey) -> None:
    run = make_run(tmp_path / "run", load_or_create_key(tmp_path / "other.pem"))

    assert "was signed by" in check(run, key.public_key).stderr


def test_a_changed_file_is_found(tmp_path: Path, key: SigningKey) -> None:
    run = make_run(tmp_path / "run", key)
    edit(run / "receipts" / "0002-train.json", lambda receipt: receipt.update(energy_microjoules=1))

    assert "receipts/0002-train.json was changed" in check(run, key.public_key).stderr


def test_a_manifest_that_was_mended_after_a_change_is_found(tmp_path: Path, key: SigningKey) -> None:
    run = make_run(tmp_path / "run", key)
    edit(run / "manifest.json", lambda manifest: manifest["files"].popitem())

    assert "manifest.json was changed" in check(run, key.public_key).stderr


def test_a_receipt_that_the_key_did_not_sign_is_found(tmp_path: Path, key: SigningKey) -> None:
    run = make_run(tmp_path / "run", key)
    path = run / "receipts" / "0001-plan.json"
    stolen = json.loads((run / "receipts" / "0002-train.json").read_bytes())["signature"]
    edit(path, lambda receipt: receipt.update(signature=stolen))
    reseal(run, key)

    answer = check(run, key.public_key)
    assert answer.returncode != 0
    assert "InvalidSignature" in answer.stderr


def test_a_removed_receipt_breaks_the_chain(tmp_path: Path, key: SigningKey) -> None:
    run = make_run(tmp_path / "run", key)
    (run / "receipts" / "0001-plan.json").unlink()
    reseal(run, key)

    assert "0002-train.json does not follow the one before" in check(run, key.public_key).stderr


def test_a_repeated_receipt_is_found(tmp_path: Path, key: SigningKey) -> None:
    run = make_run(tmp_path / "run", key)
    rows = read_json_lines(run / "meter" / "windows.jsonl")
    again = receipt_of_step(
        rows,
        "train",
        subject=ReceiptSubject(run="r1", job="digits", member="me", site="own", node="vm"),
        conditions=SITE,
        previous_hash=last_hash(run / "receipts"),
    )
    write_receipt(run / "receipts", again, key)
    reseal(run, key)

    assert "counts a window again" in check(run, key.public_key).stderr


def test_energy_that_vanished_from_a_window_is_found(tmp_path: Path, key: SigningKey) -> None:
    run = make_run(tmp_path / "run", key)
    change_window(run, lambda window: window.update(other_microjoules=window["other_microjoules"] - 1))
    reseal(run, key)

    assert "does not add up to what the node drew" in check(run, key.public_key).stderr


def test_energy_moved_from_the_job_to_others_is_found(tmp_path: Path, key: SigningKey) -> None:
    run = make_run(tmp_path / "run", key)

    def move(window: dict) -> None:
        window["jobs"]["r1"]["dynamic_microjoules"] -= 1
        window["other_microjoules"] += 1

    change_window(run, move)
    reseal(run, key)

    assert "is not the sum of its windows" in check(run, key.public_key).stderr


def test_the_program_needs_nothing_but_python_and_cryptography() -> None:
    tree = ast.parse(PROGRAM)
    roots = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    roots |= {node.module.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert roots - set(sys.stdlib_module_names) == {"cryptography"}
    num_lines = len([line for line in PROGRAM.splitlines() if line.strip()])
    assert f"about {round(num_lines, -1)} lines" in PAGE


def names_of_checks(heading: str) -> list[str]:
    """What the table of one part of the page lists."""
    part = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)


def test_the_page_names_every_check_of_ayni_verify(tmp_path: Path, key: SigningKey) -> None:
    from ayni.workflows.verify_run import verify_run

    checks = verify_run(make_run(tmp_path / "run", key), expected_public_key=key.public_key)

    assert names_of_checks("With Ayni") == [check.name for check in checks]


def test_the_page_names_every_check_of_ayni_footprint_verify(tmp_path: Path, key: SigningKey) -> None:
    found = verify_footprint([make_run(tmp_path / "run", key)])

    assert names_of_checks("Receipts and windows of any origin") == [check.name for check in found.checks]
    assert found.is_ok
