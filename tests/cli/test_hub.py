"""`ayni hub`, as a person types it, on a home of its own."""

import json
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from ayni.cli import main


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AYNI_HUB_URL", "AYNI_HUB_TOKEN", "AYNI_DATABASE_URL", "AYNI_OBJECTS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AYNI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*words: str) -> None:
    assert main.run_command(["hub", *words]) == 0, words


def test_members_and_repositories_are_made_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    run("user", "add", "ada")
    run("user", "add", "ben")
    run("org", "create", "lab", "--admin", "ada")
    run("org", "add-member", "lab", "ben", "--role", "contributor")
    run("create", "lab/digits", "--private")
    run("create", "ada/images", "--kind", "dataset")
    capsys.readouterr()

    run("ls", "--json")
    listed = json.loads(capsys.readouterr().out)
    run("org", "members", "lab", "--json")
    members = json.loads(capsys.readouterr().out)

    assert [(each["kind"], each["name"], each["private"]) for each in listed] == [
        ("dataset", "ada/images", False),
        ("model", "lab/digits", True),
    ]
    assert {each["user"]: each["role"] for each in members} == {"ada": "admin", "ben": "contributor"}


def test_a_token_is_printed_alone_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    run("user", "add", "ada")
    capsys.readouterr()

    run("token", "create", "ada", "--name", "ci", "--scope", "read", "--days", "30")
    token = capsys.readouterr().out.strip()
    run("token", "list", "ada", "--json")
    (listed,) = json.loads(capsys.readouterr().out)
    run("token", "revoke", str(listed["number"]), "ada")
    capsys.readouterr()
    run("token", "list", "ada", "--json")

    assert token.startswith("hf_") and len(token) == 49
    assert (listed["name"], listed["scope"], listed["expires_at"] is not None) == ("ci", "read", True)
    assert json.loads(capsys.readouterr().out) == []


def test_whose_token_must_be_said_on_the_hubs_own_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["hub", "token", "create"]) == 2
    assert "Name the user" in capsys.readouterr().err


def test_quota_and_policy_are_set_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    run("user", "add", "ada")
    run("org", "quota", "ada", "1.5M")
    run("org", "policy", "ada", "safetensors-only")

    said = capsys.readouterr().out

    assert "at most 1,500,000" in said and "ada: safetensors-only" in said
    assert main.run_command(["hub", "org", "quota", "ada", "many"]) == 2


def test_a_damaged_hub_is_exit_code_1_with_what_is_wrong(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("create", "ada/x")
    run("fsck", "--hashes")
    next((home / "objects").glob("??/*")).unlink()
    capsys.readouterr()

    assert main.run_command(["hub", "fsck", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"] and found["problems"][0]["kind"] == "missing-object"


def test_garbage_is_freed_by_its_own_command(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import io

    from ayni.objects import ObjectStore

    run("ls")
    ObjectStore(str(home / "objects")).put(io.BytesIO(b"nobody names this"))

    run("gc", "--grace-hours", "0", "--dry-run", "--json")
    run("gc", "--grace-hours", "0")

    assert "Freed 17 bytes" in capsys.readouterr().out


def test_keys_are_switched_on_and_rotated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("create", "ada/x")
    monkeypatch.setenv("AYNI_MASTER_KEY_FILE", str(tmp_path / "master.keys"))
    assert main.run_command(["hub", "fsck"]) == 2
    assert "ayni hub encrypt" in capsys.readouterr().err

    run("encrypt")
    run("rotate-key", "--drop-older")
    run("fsck", "--hashes")

    said = capsys.readouterr().out
    assert "Encrypted 1 objects" in said and "1 keys of objects" in said and "were removed" in said
    assert len((tmp_path / "master.keys").read_text().splitlines()) == 1


def test_without_a_key_there_is_nothing_to_rotate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["hub", "rotate-key"]) == 2
    assert "AYNI_MASTER_KEY_FILE" in capsys.readouterr().err


def test_another_hub_that_does_not_answer_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["hub", "ls", "--endpoint", "http://127.0.0.1:9"]) == 1
    assert "http://127.0.0.1:9 does not answer" in capsys.readouterr().err
