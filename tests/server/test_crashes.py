"""Whatever dies, fills up or is asked for at once, a repository holds whole commits and nothing else."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio.from_thread
import httpx
import pytest
import sqlalchemy as sa
from tests.server.hub_app import (
    SECRET,
    Client,
    assert_whole,
    commit,
    inline,
    large,
    make_hub,
    make_repository,
    ndjson,
    upload,
)

from ayni.database import Database
from ayni.hub.xet.store import XetStore
from ayni.objects import ObjectStore
from ayni.server.app import make_app
from ayni.server.served_hub import ServedHub

CRASHER, ROOT = "tests.server.die_while_serving", Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_a_server_that_dies_before_any_change_leaves_whole_commits(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", CRASHER, str(tmp_path), "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 50


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond 2 MB: the system's way to say that there is no room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.disk
def test_a_full_disk_is_507_and_leaves_nothing(client: Client, request: pytest.FixtureRequest) -> None:
    make_repository(client)
    before = set(client.app.hub.content.list())
    content = os.urandom(3_000_000)
    request.getfixturevalue("full_disk")

    by_lfs = upload(client, "ada/x", content)
    in_commit = commit(client, "ada/x", inline("a.txt", content))

    for reply in (by_lfs, in_commit):
        assert reply.status_code == 507
        assert "no space left" in reply.json()["error"] and "/" not in reply.json()["error"]
    assert set(client.app.hub.content.list()) == before
    assert list((Path(client.app.hub.content.url) / "incoming").iterdir()) == []
    assert len(client.get("/api/models/ada/x/commits/main").json()) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A device of 8 MB of its own, where the system lets us have one."""
    folder = tmp_path / "device"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no device can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.disk
def test_a_device_that_is_full_for_objects_and_database_keeps_whole_commits(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    hub = make_hub(small_disk / "hub")
    with anyio.from_thread.start_blocking_portal() as portal:
        client = Client(make_app(hub), portal)
        make_repository(client)
        ballast.write_bytes(bytes(1 << 20))

        kept: dict[str, bytes] = {}
        statuses = []
        for number in range(200):
            # Small ones at the end: they find room for their bytes, and none for their rows.
            content = os.urandom(300_000 if number < 100 else 100)
            reply = commit(client, "ada/x", inline(f"{number}.bin", content))
            statuses.append(reply.status_code)
            if reply.status_code == 200:
                kept[f"{number}.bin"] = content
            else:
                assert "no space left" in reply.json()["error"], reply.text

        assert set(statuses) == {200, 507}
        assert_whole(hub)
        ballast.unlink()
        assert commit(client, "ada/x", inline("last.txt", b"there is room")).status_code == 200
        assert len(client.get("/api/models/ada/x/commits/main").json()) == len(kept) + 2
        for path, content in kept.items():
            assert client.get(f"/ada/x/resolve/main/{path}").content == content
    assert_whole(hub)
    hub.database.close()


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("comes_back", [True, False])
@pytest.mark.parametrize("at", [1, 4, 12, "commit"])
def test_a_database_server_that_crashes_in_the_middle_of_a_commit_leaves_it_whole_or_not_there(
    tmp_path: Path, postgresql: Any, migrated: str, at: int | str, comes_back: bool
) -> None:
    url = postgresql.new_database(migrated)
    database = Database(url, retry_seconds=60 if comes_back else 0.2)
    xet = XetStore.over(database, ObjectStore(str(tmp_path / "xorbs")), secret=SECRET)
    content = xet.contents(ObjectStore(str(tmp_path / "objects")))
    hub = make_hub(tmp_path, database=database, xet=xet, content=content)
    seen: list[object] = []

    def crash_once(connection: sa.Connection, *_: object) -> None:
        # Only what writes: a request whose reading breaks off is told so, and nothing has happened.
        if connection.get_execution_options().get("ayni_only_reads"):
            return
        seen.append(connection)
        if len(seen) == (1 if at == "commit" else at):
            postgresql.crash()
            if comes_back:
                postgresql.start()

    with anyio.from_thread.start_blocking_portal() as portal:
        client = Client(make_app(hub), portal)
        make_repository(client)
        upload(client, "ada/x", b"w" * 1000)
        engine, event = database._engine, "commit" if at == "commit" else "before_cursor_execute"
        sa.event.listen(engine, event, crash_once)

        reply = commit(client, "ada/x", large("w.bin", b"w" * 1000), inline("a.txt", b"1"))

        if comes_back:
            assert reply.status_code == 200, reply.text
        else:
            assert reply.status_code in (500, 503), reply.text
            assert "postgresql://" not in reply.text and "Traceback" not in reply.text
            postgresql.start()
        assert len(seen) >= (1 if at == "commit" else int(at))
        assert_whole(hub)
        again = commit(client, "ada/x", large("w.bin", b"w" * 1000), inline("a.txt", b"1"))
        assert again.status_code == 200
        titles = [each["title"] for each in client.get("/api/models/ada/x/commits/main").json()]
        assert titles == ["Change", "initial commit"]
        assert client.get("/ada/x/resolve/main/w.bin").content == b"w" * 1000
    assert_whole(hub)
    database.close()


@pytest.mark.disk
def test_a_database_that_is_gone_is_an_error_without_details(client: Client, tmp_path: Path) -> None:
    make_repository(client)
    client.app.hub.database.close()
    for path in Path(client.app.hub.database.where).parent.glob("state.db*"):
        path.write_bytes(b"garbage" * 1000)

    for reply in (client.get("/api/models"), commit(client, "ada/x", inline("a.txt", b"1"))):
        assert reply.status_code == 500
        assert str(tmp_path) not in reply.text and "Traceback" not in reply.text


def test_content_that_is_gone_is_told_as_such_and_asked_for_again(client: Client) -> None:
    make_repository(client)
    content = b"w" * 1000
    upload(client, "ada/x", content)
    commit(client, "ada/x", large("w.bin", content))
    for digest in list(client.app.hub.content.list()):
        client.app.hub.content.delete(digest)

    assert client.get("/ada/x/resolve/main/w.bin").status_code == 503
    assert upload(client, "ada/x", content).status_code == 200
    assert client.get("/ada/x/resolve/main/w.bin").content == content


def test_many_clients_at_once_lose_no_commit(running_hub: ServedHub) -> None:
    headers = {"Authorization": "Bearer hf_ada"}
    with httpx.Client(base_url=running_hub.base_url, headers=headers, timeout=60) as first:
        assert first.post("/api/repos/create", json={"name": "x"}).status_code == 200
    statuses: list[int] = []

    def work(number: int) -> None:
        with httpx.Client(base_url=running_hub.base_url, headers=headers, timeout=60) as own:
            for round_number in range(4):
                body = ndjson("Change", inline(f"{number}/{round_number}", f"{number}".encode()))
                statuses.append(own.post("/api/models/ada/x/commit/main", content=body).status_code)
                statuses.append(own.get("/api/models/ada/x").status_code)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(statuses) == {200} and len(statuses) == 64
    with httpx.Client(base_url=running_hub.base_url, timeout=60) as reader:
        assert len(reader.get("/api/models/ada/x/commits/main").json()) == 33
        tree = reader.get("/api/models/ada/x/tree/main?recursive=true").json()
        assert len([each for each in tree if each["type"] == "file"]) == 33
