"""Files come and go bit for bit: folders, parts, open files, copies, the file system, the command line."""

import hashlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.hub_client.repositories import CARD
from benchmarks.hub_client.session import (
    DATASET,
    ENDPOINT,
    FOLDER,
    MODE,
    MODEL,
    SOURCE,
    TOKENS,
    ada,
    ask,
    check,
    nobody,
    refused,
)
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfFileSystem,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.utils import EntryNotFoundError, HfHubHTTPError

TOKEN = TOKENS["ada"]
MEBIBYTE = 1 << 20


def _digest(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@check(transfers=True)
def a_folder_comes_back_bit_for_bit() -> None:
    files = {
        "README.md": CARD.encode(),
        "config.json": json.dumps({"model_type": "bert", "architectures": ["B"]}).encode(),
        "model.safetensors": os.urandom(3 * MEBIBYTE),
        "sub dir/\u00e9 x.txt": b"hi",
        "empty.txt": b"",
        "odd": os.urandom(11 * MEBIBYTE),
    }
    for name, content in files.items():
        (SOURCE / name).parent.mkdir(parents=True, exist_ok=True)
        (SOURCE / name).write_bytes(content)
    made = ada.upload_folder(repo_id=MODEL, folder_path=SOURCE)
    assert len(made.oid) == 40
    folder = Path(snapshot_download(MODEL, token=TOKEN))
    assert {name: (folder / name).read_bytes() for name in files} == files


@check(transfers=True)
def what_is_there_is_not_sent_again() -> None:
    before = ada.repo_info(MODEL).sha
    ada.upload_folder(repo_id=MODEL, folder_path=SOURCE)
    assert ada.repo_info(MODEL).sha == before


@check(transfers=True)
def a_large_file_comes_back_bit_for_bit() -> None:
    # More than a hub takes in one part.
    (SOURCE / "big.bin").write_bytes(os.urandom(MEBIBYTE) * 70)
    ada.upload_file(path_or_fileobj=SOURCE / "big.bin", path_in_repo="big.bin", repo_id=MODEL)
    assert _digest(hf_hub_download(MODEL, "big.bin", token=TOKEN)) == _digest(SOURCE / "big.bin")


@check(transfers=True)
def a_large_file_is_found_again_in_another_home() -> None:
    code = "import sys; from huggingface_hub import hf_hub_download as d; print(d(*sys.argv[1:]))"
    where = {**os.environ, "HF_HOME": str(FOLDER / "another-home"), "HF_TOKEN": TOKEN}
    words = [sys.executable, "-c", code, MODEL, "big.bin"]
    found = subprocess.run(words, env=where, capture_output=True, text=True, check=True, timeout=120)
    assert _digest(found.stdout.strip().splitlines()[-1]) == _digest(SOURCE / "big.bin")


@check()
def open_files_and_bytes_are_uploaded() -> None:
    with (SOURCE / "model.safetensors").open("rb") as file:
        ada.upload_file(path_or_fileobj=file, path_in_repo="again.safetensors", repo_id=MODEL)
    ada.upload_file(path_or_fileobj=b"bytes", path_in_repo="b.txt", repo_id=MODEL)
    again = hf_hub_download(MODEL, "again.safetensors", token=TOKEN)
    assert _digest(again) == _digest(SOURCE / "model.safetensors")
    with (SOURCE / "big.bin").open("rb") as file:
        ada.upload_file(path_or_fileobj=file, path_in_repo="big2.bin", repo_id=MODEL)
    assert _digest(hf_hub_download(MODEL, "big2.bin", token=TOKEN)) == _digest(SOURCE / "big.bin")


@check()
def a_new_large_open_file_goes_in_parts() -> None:
    # Open files never go by chunks, so this is how large ones arrive from every client.
    content = os.urandom(MEBIBYTE) * 66 + MODE.encode()
    (FOLDER / "parts.bin").write_bytes(content)
    with (FOLDER / "parts.bin").open("rb") as file:
        ada.upload_file(path_or_fileobj=file, path_in_repo="parts.bin", repo_id=MODEL)
    assert _digest(hf_hub_download(MODEL, "parts.bin", token=TOKEN)) == _digest(FOLDER / "parts.bin")


@check()
def files_are_copied_and_deleted() -> None:
    operations: list[Any] = [
        CommitOperationCopy("model.safetensors", "copied.safetensors"),
        CommitOperationCopy("config.json", "c/config.json"),
        CommitOperationDelete("sub dir/"),
        CommitOperationDelete("b.txt"),
    ]
    ada.create_commit(MODEL, operations, commit_message="Copy")
    files = ada.list_repo_files(MODEL)
    assert {"copied.safetensors", "c/config.json"} <= set(files)
    assert not [each for each in files if each.startswith("sub dir") or each == "b.txt"]


@check()
def large_files_are_taken_over_from_another_repository() -> None:
    entry = ask("POST", f"/api/models/{MODEL}/paths-info/main", data={"paths": ["odd"]})[0]
    if "src_repo_id" in inspect.signature(CommitOperationCopy).parameters and MODE == "chunks":
        operation = CommitOperationCopy(
            "odd", "taken.bin", src_repo_id=MODEL, src_repo_type="model", src_revision="main"
        )
    else:
        file = {
            "xetHash": entry.get("xetHash", "0" * 64),
            "sha256": entry["lfs"]["oid"],
            "filename": "odd",
        }
        wanted = {"target": {"type": "dataset", "name": DATASET}, "files": [file]}
        assert not ask("POST", f"/api/models/{MODEL}/lfs-files/duplicate", json=wanted).get("failed")
        return
    ada.create_commit(DATASET, [operation], commit_message="Take over", repo_type="dataset")
    taken = hf_hub_download(DATASET, "taken.bin", repo_type="dataset", token=TOKEN)
    assert _digest(taken) == _digest(SOURCE / "odd")


@check()
def the_file_system_reads_and_writes() -> None:
    system = HfFileSystem(token=TOKEN, endpoint=ENDPOINT)
    assert f"{MODEL}/README.md" in system.ls(MODEL, detail=False)
    with system.open(f"{MODEL}/big.bin", "rb") as file:
        file.seek(5 * MEBIBYTE)
        assert file.read(100) == (SOURCE / "big.bin").read_bytes()[5 * MEBIBYTE :][:100]
    with system.open(f"{MODEL}/w.txt", "w") as file:
        file.write("written")
    assert system.read_text(f"{MODEL}/w.txt") == "written"
    system.rm(f"{MODEL}/w.txt")
    assert not system.exists(f"{MODEL}/w.txt", refresh=True)


@check()
def a_broken_download_goes_on_where_it_stopped() -> None:
    whole = (SOURCE / "big.bin").read_bytes()
    kept = b""
    for window in ("0-9999999", "10000000-", "-1"):
        reply = _read_range(window)
        kept += reply if window != "-1" else b""
        assert window != "-1" or reply == whole[-1:]
    assert kept == whole


def _read_range(window: str) -> bytes:
    from huggingface_hub.utils import get_session

    headers = {"Authorization": f"Bearer {TOKEN}", "Range": f"bytes={window}"}
    reply = get_session().get(f"{ENDPOINT}/{MODEL}/resolve/main/big.bin", headers=headers)
    assert reply.status_code == 206, reply.status_code
    content: bytes = reply.content
    return content


@check()
def the_command_line_uploads_and_downloads() -> None:
    program = Path(sys.executable).parent / "hf"
    target = FOLDER / "by-command"
    (FOLDER / "note.txt").write_text("by hand")

    def run(*words: str) -> str:
        where = {**os.environ, "HF_TOKEN": TOKEN}
        done = subprocess.run(
            [str(program), *words], env=where, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, f"hf {words}: {done.stdout}{done.stderr}"
        return done.stdout

    if not program.exists():
        return  # A client that only sees the packages of another environment has no command.
    assert "ada" in run("auth", "whoami")
    run("upload", MODEL, str(FOLDER / "note.txt"), "note.txt")
    run("download", MODEL, "note.txt", "--local-dir", str(target))
    assert (target / "note.txt").read_text() == "by hand"


@check()
def large_files_are_listed_and_removed_for_good() -> None:
    listed = list(ada.list_lfs_files(MODEL))
    gone = [each for each in listed if each.filename == "parts.bin"]
    assert len(gone) == 1 and gone[0].size == (FOLDER / "parts.bin").stat().st_size
    ada.permanently_delete_lfs_files(MODEL, gone)
    assert not ada.file_exists(MODEL, "parts.bin")
    assert ada.file_exists(MODEL, "big.bin")


@check()
def files_that_are_not_there_are_told_as_such() -> None:
    refused(EntryNotFoundError, lambda: hf_hub_download(MODEL, "none", token=TOKEN))
    refused(EntryNotFoundError, lambda: ada.delete_file("none", MODEL))
    refused(Exception, lambda: hf_hub_download(DATASET, "README.md", repo_type="dataset", token=False))
    refused(
        HfHubHTTPError,
        lambda: nobody.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=MODEL),
        401,
    )


@check()
def two_commits_on_one_parent_are_not_both_made() -> None:
    newest, older, *_ = ada.list_repo_commits(MODEL)
    operations = [CommitOperationAdd("p.txt", b"1")]

    def on(parent: str) -> str:
        made = ada.create_commit(MODEL, operations, commit_message="x", parent_commit=parent)
        return str(made.oid)

    refused(HfHubHTTPError, lambda: on(older.commit_id), 412)
    assert on(newest.commit_id) == ada.repo_info(MODEL).sha
