"""Collect garbage, or mirror, in a child that kills itself before its n-th change, n = 1, 2, ...; then look.

Changes are what `die_at_every_write` counts: of the disk, and each statement and commit of the database.
After each death the hub must be sound with every byte read, what is used must be there, and the same work
begun again must come to the end that it has when nobody dies.

Usage: python -m tests.hub.die_while_tending collect|mirror FOLDER STRIDE
"""

import contextlib
import dataclasses
import os
import shutil
import sys
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from tests.hub.die_at_every_write import Death
from tests.hub.stocked_hub import StockedHub
from tests.server.hub_app import inline, make_hub, ndjson

from ayni.hub import catalogue, commits, export, revisions
from ayni.hub.connection import HubConnection
from ayni.hub.mirror import Target, mirror
from ayni.hub.repository import Repository
from ayni.hub.revision_sources import LocalRevisions
from ayni.hub.revisions import MAIN
from ayni.hub.tables import commits_table
from ayni.server.app import make_app
from ayni.server.in_process import OperatorCallers, connected
from ayni.signing import sha256_hex

Files = dict[str, bytes]


class Work(Protocol):
    """What is done over and over, and how its end is known."""

    def prepare(self, folder: Path) -> None:
        """Make the folder from which every attempt begins."""
        ...

    def run(self, folder: Path) -> None:
        """Do it once, from wherever it was left."""
        ...

    def end(self, folder: Path) -> object:
        """What there is; the same after every completed run."""
        ...


def files_of(hub: StockedHub, folder: Path) -> Files:
    """All that `ada/x` holds, as an export says."""
    shutil.rmtree(folder, ignore_errors=True)
    export.export(LocalRevisions(hub.database, hub.content, "model", "ada/x"), folder)
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def check(folder: Path) -> StockedHub:
    """The hub of a folder, which must be whole."""
    hub = StockedHub(folder / "hub")
    found = hub.check(with_hashes=True)
    assert found.is_sound, found.problems
    return hub


class Collect:
    """A hub with all that can be freed, seen unused a day ago."""

    def prepare(self, folder: Path) -> None:
        hub = StockedHub(folder / "hub")
        kept, gone = hub.repository(), hub.repository("ada/gone")
        hub.commit(kept, large=("w",), a=b"one", w=b"w" * 5000)
        hub.commit(kept, a=b"two")
        self._squash(hub)
        hub.commit(gone, large=("w",), a=b"one", w=b"v" * 5000)
        with hub.database.transaction() as connection:
            catalogue.delete(connection, gone, when=hub.time)
        for number in range(4):
            hub.store(b"nobody names this %d" % number)
        hub.collect()
        hub.database.close()

    def _squash(self, hub: StockedHub) -> None:
        with hub.database.transaction() as connection:
            kept = catalogue.find(connection, "model", "ada/x")
            assert isinstance(kept, Repository)
            commits.squash(connection, kept, MAIN, message="All", author="ada", when=hub.time)

    def run(self, folder: Path) -> None:
        hub = StockedHub(folder / "hub")
        hub.time += timedelta(hours=25)
        hub.collect()
        # What deleted rows named was seen unused only now.
        hub.time += timedelta(hours=25)
        hub.collect()
        hub.database.close()

    def end(self, folder: Path) -> object:
        hub = check(folder)
        with hub.database.reading() as connection:
            num_commits = connection.scalar(sa.select(sa.func.count()).select_from(commits_table))
        files, objects = files_of(hub, folder / "out"), set(hub.objects.list())
        hub.database.close()
        assert objects == {sha256_hex(content) for content in files.values()} and len(files) == 2
        return files, objects, num_commits


class Mirror:
    """A hub that copies another one: several commits, a branch, a tag."""

    def prepare(self, folder: Path) -> None:
        with self._source(folder) as source:
            source.ask("POST", "/api/repos/create", json={"name": "x", "organization": "ada"})
            for turn in (b"one", b"two"):
                body = ndjson("Change", inline("a.txt", turn), inline(f"sub/{turn.decode()}", turn * 500))
                source.ask("POST", "/api/models/ada/x/commit/main", content=body)
            source.ask("POST", "/api/models/ada/x/tag/main", json={"tag": "v1"})
        StockedHub(folder / "hub").database.close()

    def run(self, folder: Path) -> None:
        hub = StockedHub(folder / "hub")
        target = Target(database=hub.database, content=hub.content, hooks=hub.hooks, now=lambda: hub.time)
        with self._source(folder) as source:
            mirror(source, "model", "ada/x", target)
        hub.database.close()

    def end(self, folder: Path) -> object:
        hub = check(folder)
        with hub.database.reading() as connection:
            refs = revisions.list_refs(connection, 1)
            num_commits = connection.scalar(sa.select(sa.func.count()).select_from(commits_table))
        files = files_of(hub, folder / "out")
        hub.database.close()
        return files, refs, num_commits

    def _source(self, folder: Path) -> contextlib.AbstractContextManager[HubConnection]:
        hub = dataclasses.replace(make_hub(folder / "source"), callers=OperatorCallers())
        return connected(make_app(dataclasses.replace(hub, base_url="http://localhost")))


def dies_at(work: Work, folder: Path, at: int) -> bool:
    """Whether a child that does the work died before its change number `at`."""
    child = os.fork()
    if child == 0:
        death = Death(at)
        sa.event.listen(sa.Engine, "before_cursor_execute", lambda *_: death.change())
        sa.event.listen(sa.Engine, "commit", lambda *_: death.change())
        sys.addaudithook(death.audit)
        try:
            work.run(folder)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(3)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -9), f"the work failed at change {at}: {code}"
    return code != 0


def main(work: Work, folder: Path, stride: int) -> None:
    """Die before each `stride`-th change until the child gets to its end."""
    start = folder / "start"
    work.prepare(start)
    whole = folder / "whole"
    shutil.copytree(start, whole)
    work.run(whole)
    wanted = work.end(whole)
    at, num_deaths = 1, 0
    while True:
        home = folder / "home"
        shutil.copytree(start, home)
        died = dies_at(work, home, at)
        check(home).database.close()
        work.run(home)
        found = work.end(home)
        assert found == wanted, (at, found, wanted)
        shutil.rmtree(home)
        if not died:
            break
        at, num_deaths = at + stride, num_deaths + 1
    print(f"{num_deaths} deaths")


if __name__ == "__main__":
    works: dict[str, Work] = {"collect": Collect(), "mirror": Mirror()}
    main(works[sys.argv[1]], Path(sys.argv[2]), int(sys.argv[3]))
