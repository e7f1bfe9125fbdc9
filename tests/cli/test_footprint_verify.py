"""`ayni footprint verify` says what it looked at, and ends with 1 when something is wrong."""

import json
from pathlib import Path

import pytest
import typer
from tests.footprint.pretended_node import Node

from ayni.cli import main
from ayni.cli.footprint_verify import verify
from ayni.signing import SigningKey, load_or_create_key

CHECKS = ["files", "signatures", "chains", "keys", "windows", "sums", "replay", "node", "nested"]


@pytest.fixture(autouse=True)
def command(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()
    app.command("verify")(verify)
    monkeypatch.setattr(main, "app", app)


@pytest.fixture
def key(home: Path) -> SigningKey:
    return load_or_create_key(home / "keys" / "signing.pem")


@pytest.fixture
def run(home: Path, key: SigningKey) -> Path:
    node = Node(home / "footprint")
    node.start("r1", cores=1)
    node.work(10.0, {"r1": 1.0})
    node.stop("r1")
    return node.sign("r1", key)


def test_each_check_is_a_line_and_the_sum_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command([str(run)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1].rstrip(":") for line in lines[:-1]] == CHECKS
    assert {line.split()[0] for line in lines[:-1]} == {"ok"}
    assert "is of this home" in lines[3]
    assert lines[-1] == "Together the receipts state 15 J (W1), each part counted once."


def test_a_failed_check_is_the_exit_code(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receipt = run / "receipts" / "0001-train.json"
    receipt.write_text(receipt.read_text().replace('"tier": "W1"', '"tier": "W0"'))

    assert main.run_command([str(run)]) == 1

    told = capsys.readouterr()
    assert "FAILED signatures: " in told.out
    assert "2 of 9 checks failed." in told.err


def test_json_holds_the_checks_the_runs_the_keys_and_the_sum(
    run: Path, key: SigningKey, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command([str(run), "--json", "--key", key.public_key]) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["energy_joules"], found["tier"]) == (True, 15.0, "W1")
    assert [check["name"] for check in found["checks"]] == CHECKS
    assert found["keys"] == [{"public_key": key.public_key, "owner": "the key that was given", "receipts": 1}]
    assert found["runs"][0]["run"] == "r1"


def test_another_key_than_the_one_required_is_a_failure(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = load_or_create_key(tmp_path / "other.pem").public_key

    assert main.run_command([str(run), "--key", other]) == 1

    assert "none of the keys that were given" in capsys.readouterr().out


def test_what_a_person_can_mend_ends_with_two(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command([str(tmp_path / "nowhere")]) == 2
    assert main.run_command([str(run), "--key", "AAAA"]) == 2

    told = capsys.readouterr().err
    assert "there is no such file or folder" in told
    assert "44 characters of base64" in told


def test_names_out_of_files_do_not_reach_the_terminal_as_commands(
    home: Path, key: SigningKey, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "evil").mkdir()
    file = home / "evil" / "\x1b[2Jgone.json"
    file.write_text("{}")

    assert main.run_command([str(file)]) == 1

    told = capsys.readouterr().out
    assert "\x1b[2J" not in told
    assert "?[2Jgone.json is no receipt" in told
