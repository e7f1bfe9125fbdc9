"""The real `git` clones and fetches from a hub that answers; git and dulwich check what came."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.hub_app import Client, commit, inline, make_repository, ndjson

from ayni.hub.git_upload import packet
from ayni.server.served_hub import ServedHub

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
ADA = {"Authorization": "Bearer hf_ada"}


def git(*arguments: str, folder: Path | None = None, fails: bool = False) -> str:
    environ = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
    }
    done = subprocess.run(
        ["git", "-c", "filter.lfs.required=false", "-c", "protocol.version=2", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environ,
        check=False,
        timeout=60,
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout.strip()


def send(hub: ServedHub, *lines: Any, revision: str = "main") -> str:
    with httpx.Client(base_url=hub.base_url, headers=ADA, trust_env=False) as client:
        client.post("/api/repos/create", json={"name": "x", "private": True})
        reply = client.post(f"/api/models/ada/x/commit/{revision}", content=ndjson("Change", *lines))
    assert reply.status_code == 200, reply.text
    return str(reply.json()["commitOid"])


def address(hub: ServedHub, suffix: str = ".git", token: str = "hf_ada") -> str:
    return hub.base_url.replace("://", f"://ada:{token}@") + f"/ada/x{suffix}"


@needs_git
@pytest.mark.parametrize("suffix", [".git", ""])
def test_a_clone_has_the_same_ids_and_bytes(running_hub: ServedHub, tmp_path: Path, suffix: str) -> None:
    binary = os.urandom(3_000_000)
    send(running_hub, inline("a.txt", b"one"), inline("sub dir/b.txt", b"two"))
    newest = send(running_hub, inline("sub dir/deep/c.txt", binary), inline("a.txt", b"three"))

    git("clone", "-q", address(running_hub, suffix), str(tmp_path / "copy"))

    copy = tmp_path / "copy"
    assert git("rev-parse", "HEAD", folder=copy) == newest
    assert (copy / "sub dir" / "deep" / "c.txt").read_bytes() == binary
    assert (copy / "a.txt").read_bytes() == b"three"
    git("fsck", "--strict", folder=copy)
    assert git("log", "--format=%s", folder=copy).splitlines() == ["Change", "Change", "initial commit"]


@needs_git
def test_a_fetch_brings_only_what_is_new(running_hub: ServedHub, tmp_path: Path) -> None:
    send(running_hub, inline("big.txt", os.urandom(1_000_000)))
    copy = tmp_path / "copy"
    git("clone", "-q", address(running_hub), str(copy))
    before = sum(path.stat().st_size for path in (copy / ".git/objects").rglob("*") if path.is_file())
    newest = send(running_hub, inline("a.txt", b"new"))

    git("pull", "-q", folder=copy)

    after = sum(path.stat().st_size for path in (copy / ".git/objects").rglob("*") if path.is_file())
    assert git("rev-parse", "HEAD", folder=copy) == newest
    assert after - before < 20_000
    git("fsck", "--strict", folder=copy)


@needs_git
def test_a_shallow_clone_grows_when_asked(running_hub: ServedHub, tmp_path: Path) -> None:
    for number in range(4):
        send(running_hub, inline("a.txt", b"%d" % number))
    copy = tmp_path / "copy"

    git("clone", "-q", "--depth", "2", address(running_hub), str(copy))
    shallow = git("rev-list", "--count", "HEAD", folder=copy)
    git("fetch", "-q", "--unshallow", folder=copy)

    assert (shallow, git("rev-list", "--count", "HEAD", folder=copy)) == ("2", "5")
    git("fsck", "--strict", folder=copy)


@needs_git
def test_branches_and_tags_come_along(running_hub: ServedHub, tmp_path: Path) -> None:
    first = send(running_hub, inline("a.txt", b"one"))
    with httpx.Client(base_url=running_hub.base_url, headers=ADA, trust_env=False) as client:
        client.post("/api/models/ada/x/branch/side", json={})
        client.post("/api/models/ada/x/tag/main", json={"tag": "v1"})
    side = send(running_hub, inline("b.txt", b"two"), revision="side")
    copy = tmp_path / "copy"

    git("clone", "-q", address(running_hub), str(copy))

    assert git("rev-parse", "v1", "origin/side", "HEAD", folder=copy).split() == [first, side, first]


@needs_git
def test_a_private_repository_is_for_who_has_a_token(running_hub: ServedHub, tmp_path: Path) -> None:
    send(running_hub, inline("a.txt", b"one"))
    url = f"{running_hub.base_url}/ada/x.git"

    for each in (url, address(running_hub, token="hf_ben"), address(running_hub, token="hf_wrong")):
        git("clone", "-q", each, str(tmp_path / "copy"), fails=True)
    assert not (tmp_path / "copy").exists()


@needs_git
def test_a_push_is_refused(running_hub: ServedHub, tmp_path: Path) -> None:
    send(running_hub, inline("a.txt", b"one"))
    copy = tmp_path / "copy"
    git("clone", "-q", address(running_hub), str(copy))
    (copy / "b.txt").write_text("b")
    git("add", "b.txt", folder=copy)
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "b", folder=copy)

    assert "403" in git("push", folder=copy, fails=True)


def test_large_files_go_as_pointers(client: Client) -> None:
    dulwich = pytest.importorskip("dulwich.client")
    from tests.server.hub_app import large, upload

    content = os.urandom(2_000)
    name = make_repository(client)
    upload(client, name, content)
    newest = commit(client, name, large("w.safetensors", content)).json()["commitOid"]

    want = packet(f"want {newest} side-band-64k\n") + b"0000" + packet("done\n")
    reply = client.post(f"/{name}.git/git-upload-pack", content=want)

    assert reply.status_code == 200 and dulwich
    files = _unpacked(reply.content)
    assert any(each.startswith(b"version https://git-lfs") for each in files)
    assert content not in files


def test_an_empty_repository_advertises_itself(client: Client) -> None:
    make_repository(client)

    reply = client.get("/ada/x.git/info/refs?service=git-upload-pack")

    assert reply.headers["Content-Type"] == "application/x-git-upload-pack-advertisement"
    assert b"symref=HEAD:refs/heads/main" in reply.content


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"0000",
        b"zzzz",
        b"0005",
        b"ffffwant",
        packet("want " + "0" * 40),
        packet("want x"),
        packet("push me"),
        packet("want " + "0" * 40 + "\n") + packet("deepen -1"),
        b"\x1f\x8b",
    ],
)
def test_what_is_no_request_is_refused(client: Client, body: bytes) -> None:
    make_repository(client)

    headers = {"Content-Encoding": "gzip"} if body.startswith(b"\x1f") else {}
    reply = client.post("/ada/x.git/git-upload-pack", content=body, headers=headers)

    assert reply.status_code == 400


def test_git_is_asked_for_a_password_and_others_are_not(client: Client) -> None:
    make_repository(client, private=True)
    path = "/ada/x.git/info/refs?service=git-upload-pack"

    by_git = client.get(path, token=None, headers={"User-Agent": "git/2.40"})
    by_other = client.get(path, token=None)

    assert by_git.headers["WWW-Authenticate"].startswith("Basic")
    assert by_other.headers["WWW-Authenticate"] == "Bearer"


def _unpacked(reply: bytes) -> list[bytes]:
    """The contents of the objects in a pack that came in bands."""
    import io

    from dulwich.object_format import DEFAULT_OBJECT_FORMAT
    from dulwich.pack import PackData

    position, data = 0, b""
    while position < len(reply):
        size = int(reply[position : position + 4], 16)
        line = reply[position + 4 : position + size]
        if line[:1] == b"\x01":
            data += line[1:]
        position += max(size, 4)
    with PackData.from_file(io.BytesIO(data), size=len(data), object_format=DEFAULT_OBJECT_FORMAT) as found:
        return [b"".join(each.decomp_chunks) for each in found.iter_unpacked()]
