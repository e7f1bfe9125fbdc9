"""A hub on a folder with a clock that tests turn, and commits made as the server makes them."""

import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.hub.hub_rows import WHEN

from ayni.database import Database
from ayni.hub import catalogue, commits, garbage, uploads
from ayni.hub.collection import Collected, Collector, Place
from ayni.hub.commit_lines import large_entry
from ayni.hub.commits import CommitHooks, CommitRequest
from ayni.hub.fsck import Checked, Checker
from ayni.hub.git_objects import FILE_MODE, TreeEntry, blob_sha1
from ayni.hub.repository import Repository
from ayni.hub.xet.chunk_reader import ChunkReader
from ayni.hub.xet.contents import XetContents
from ayni.objects import ObjectStore, Stored


class StockedHub:
    """Ada's repositories, and a day that passes when told."""

    def __init__(self, folder: Path, *, database: str | None = None) -> None:
        self.folder = folder
        self.time = WHEN
        self.database = Database(database or folder / "state.db")
        self.objects = ObjectStore(str(folder / "objects"))
        self.xorbs = ObjectStore(str(folder / "objects" / "xorbs"))
        self.content = XetContents(self.objects, self.database, ChunkReader(self.database, self.xorbs))
        self.hooks = CommitHooks(before=(garbage.keeping(self.content),))

    def repository(self, name: str = "ada/x") -> Repository:
        with self.database.transaction() as connection:
            return catalogue.create(connection, "model", name, visibility="public", when=self.time)

    def store(self, content: bytes) -> str:
        return self.objects.put(io.BytesIO(content))

    def receive(self, repository: Repository, content: bytes) -> str:
        """As an upload of a large file does."""
        sha256 = self.store(content)
        stored = Stored(sha256=sha256, size_bytes=len(content))
        with self.database.transaction() as connection:
            uploads.note_received(connection, repository.id, stored, when=self.time)
        return sha256

    def commit(self, repository: Repository, large: tuple[str, ...] = (), **files: bytes | None) -> str:
        """Commit small files by name, or take some away; those in `large` are kept by LFS."""
        changes = {
            name: None if content is None else self._entry(name, content, large)
            for name, content in files.items()
        }
        request = CommitRequest(changes=changes, message="Change", author="ada", when=self.time)
        with self.database.transaction() as connection:
            return commits.commit(connection, repository, request, hooks=self.hooks).revision

    def _entry(self, name: str, content: bytes, large: tuple[str, ...]) -> TreeEntry:
        sha256 = self.store(content)
        if name in large:
            return large_entry(name, sha256, len(content))
        return TreeEntry(
            name=name,
            mode=FILE_MODE,
            git_sha1=blob_sha1(content),
            sha256=sha256,
            size_bytes=len(content),
        )

    def collector(self, hours: float = 24) -> Collector:
        return Collector(
            database=self.database,
            objects=Place(listed=self.objects, content=self.objects),
            xorbs=Place(listed=self.xorbs, content=self.xorbs),
            now=lambda: self.time,
            grace=timedelta(hours=hours),
        )

    def collect(self, hours: float = 24) -> Collected:
        return self.collector(hours).run()

    def check(self, *, with_hashes: bool = True) -> Checked:
        checker = Checker(
            database=self.database,
            objects=self.objects,
            content=self.content,
            xorbs=self.xorbs,
            xorb_content=self.xorbs,
            now=self.time,
        )
        return checker.check(with_hashes=with_hashes)

    def pass_hours(self, hours: float) -> None:
        self.time += timedelta(hours=hours)


@pytest.fixture
def stocked_hub(tmp_path: Path) -> Iterator[StockedHub]:
    hub = StockedHub(tmp_path / "hub")
    yield hub
    hub.database.close()
