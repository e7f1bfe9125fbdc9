"""Publish in a child that kills itself before its n-th change of the disk, for n = 1, 2, ...; then look.

Changes are what Python's audit hooks see (open for writing, rename, mkdir, remove) and each statement and
commit of the database. After each death the hub must read either the earlier revision or the new one,
whole; `refs/main` must name a whole snapshot; and publishing again under the same key must end with exactly
two revisions.

Usage: python die_at_every_write.py FOLDER STRIDE
"""

import json
import os
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from ayni.database import Database
from ayni.hub.repositories import LocalHub, Published
from ayni.objects import ObjectStore

WHEN = datetime(2026, 3, 4, tzinfo=UTC)
EARLIER = {"README.md": b"earlier", "folder/weights.safetensors": b"w" * 1000}
NEW = {"README.md": b"new", "folder/weights.safetensors": b"v" * 1000, "folder/deep/receipt.json": b"{}"}
CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate", "os.chmod"}


def open_hub(home: Path) -> tuple[Database, LocalHub]:
    database = Database(home / "ayni.db")
    return database, LocalHub(database, ObjectStore(str(home / "objects")), home / "hub")


def publish_new(hub: LocalHub) -> Published:
    return hub.publish("me/digits", NEW, message="New", author="me", when=WHEN, publish_key="run-2")


class Death:
    """Counts changes and kills the process before the chosen one."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0

    def change(self) -> None:
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in CHANGES or (event == "open" and _writes(arguments)):
            self.change()


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 else 0
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def publish_in_child(home: Path, at: int) -> bool:
    """True when the child reached its end, False when it died on the way."""
    child = os.fork()
    if child == 0:
        try:
            _, hub = open_hub(home)
            death = Death(at)
            sa.event.listen(sa.Engine, "before_cursor_execute", lambda *_: death.change())
            sa.event.listen(sa.Engine, "commit", lambda *_: death.change())
            sys.addaudithook(death.audit)
            publish_new(hub)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(3)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"the publisher failed at change {at}: {status}"
    return status == 0


def check(home: Path, earlier: str) -> str:
    database, hub = open_hub(home)
    newest = hub.find("me/digits")
    newest.verify()
    hub.find("me/digits", earlier).verify()
    named = (home / "hub/models/me/digits/refs/main").read_text()
    hub.find("me/digits", named).verify()
    again = publish_new(hub)
    assert again.is_new == (newest.revision == earlier)
    assert hub.revisions("digits") == [again.revision, earlier]
    assert (home / "hub/models/me/digits/refs/main").read_text() == again.revision
    assert sorted(path.name for path in again.folder.parent.iterdir()) == sorted([again.revision, earlier])
    hub.find("me/digits").verify()
    database.close()
    return "earlier" if newest.revision == earlier else "new"


def main() -> None:
    folder, stride = Path(sys.argv[1]), int(sys.argv[2])
    start = folder / "start"
    database, hub = open_hub(start)
    earlier = hub.publish(
        "me/digits", EARLIER, message="Earlier", author="me", when=WHEN, publish_key="run-1"
    )
    database.close()
    at, finished = 1, False
    while not finished:
        home = folder / "home"
        shutil.copytree(start, home)
        finished = publish_in_child(home, at)
        print(json.dumps({"at": at, "newest": check(home, earlier.revision), "finished": finished}))
        shutil.rmtree(home)
        at += stride


if __name__ == "__main__":
    main()
