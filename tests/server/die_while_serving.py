"""Upload and commit over HTTP in a child that kills itself before its n-th change, n = 1, 2, ...; then look.

Changes are what `tests.hub.die_at_every_write` counts: of the disk, and each statement and commit of the
database. After each death the branch must be at the earlier commit or the new one, every file of it must have
its bytes, and a client that starts over must end with exactly one more commit.

Usage: python -m tests.server.die_while_serving FOLDER STRIDE
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import anyio.from_thread
import sqlalchemy as sa
from tests.hub.die_at_every_write import Death
from tests.server.hub_app import Client, assert_whole, commit, inline, large, make_hub, make_repository

from ayni.hub import uploads
from ayni.server.app import make_app
from ayni.server.routes import lfs

LARGE = os.urandom(1 << 16)
SMALL = b"new"


def use_small_parts() -> None:
    uploads.SINGLE_UP_TO_BYTES = lfs.SINGLE_UP_TO_BYTES = 1 << 14
    uploads.PART_BYTES, uploads.MEBIBYTE = 1 << 15, 1


def send_everything(client: Client) -> Any:
    """What a client does: batch, parts, completion, commit."""
    oid = hashlib.sha256(LARGE).hexdigest()
    body = {
        "operation": "upload",
        "transfers": ["basic", "multipart"],
        "objects": [{"oid": oid, "size": len(LARGE)}],
    }
    said = client.post("/ada/x.git/info/lfs/objects/batch", json=body).json()["objects"][0]
    if "actions" in said:
        send_to = said["actions"]["upload"]
        hrefs = [value for key, value in sorted(send_to["header"].items()) if key != "chunk_size"]
        for number, href in enumerate(hrefs):
            piece = LARGE[number << 15 : (number + 1) << 15]
            assert client.send("PUT", href, content=piece, token=None).status_code == 200
        assert client.post(send_to["href"], json={}, token=None).status_code == 200
    return commit(client, "ada/x", large("w.bin", LARGE), inline("a.txt", SMALL))


def _in_child(home: Path, at: int) -> int:
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    hub = make_hub(home)
    death = Death(at)
    sys.addaudithook(death.audit)
    sa.event.listen(sa.Engine, "before_cursor_execute", lambda *_: death.change())
    sa.event.listen(sa.Engine, "commit", lambda *_: death.change())
    with anyio.from_thread.start_blocking_portal() as portal:
        send_everything(Client(make_app(hub), portal))
    os._exit(0)


def _check(home: Path) -> None:
    hub = make_hub(home)
    with anyio.from_thread.start_blocking_portal() as portal:
        client = Client(make_app(hub), portal)
        titles = [each["title"] for each in client.get("/api/models/ada/x/commits/main").json()]
        assert titles in (["initial commit"], ["Change", "initial commit"]), titles
        for each in client.get("/api/models/ada/x/tree/main").json():
            served = client.get(f"/ada/x/resolve/main/{each['path']}")
            assert served.status_code == 200 and len(served.content) == each["size"], each
        assert send_everything(client).status_code == 200
        titles = [each["title"] for each in client.get("/api/models/ada/x/commits/main").json()]
        assert titles == ["Change", "initial commit"], titles
        assert client.get("/ada/x/resolve/main/w.bin").content == LARGE
        assert client.get("/ada/x/resolve/main/a.txt").content == SMALL
    assert_whole(hub)
    hub.database.close()


def main(folder: Path, stride: int) -> None:
    """Die before each `stride`-th change until the child gets to its end."""
    use_small_parts()
    template = folder / "template"
    hub = make_hub(template)
    with anyio.from_thread.start_blocking_portal() as portal:
        make_repository(Client(make_app(hub), portal))
    hub.database.close()
    at, num_deaths = 1, 0
    while True:
        home = folder / f"home-{at}"
        shutil.copytree(template, home)
        code = _in_child(home, at)
        _check(home)
        shutil.rmtree(home)
        if code == 0:
            break
        assert code == -9, code
        at, num_deaths = at + stride, num_deaths + 1
    print(f"{num_deaths} deaths")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
