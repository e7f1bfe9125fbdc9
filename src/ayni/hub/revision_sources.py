"""Where the files of a revision come from: this hub, or another one over HTTP. Both are read in one way.

What another hub says is not believed: paths are held against the rules for paths, and every content against
the digest that was announced for it, SHA-256 or git's.

Not covered: what is done with the files (`export.py`, `mirror.py`).
"""

import hashlib
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ayni.database import Database
from ayni.errors import AyniError
from ayni.hub import catalogue, revisions
from ayni.hub.connection import HubConnection, HubUnreachableError
from ayni.hub.content import ContentStore
from ayni.hub.git_objects import blob_hasher
from ayni.hub.names import check_file_paths, check_repository_name
from ayni.hub.repositories import RepositoryNotFoundError
from ayni.hub.repository import API_NAMES, Kind, Moved, Repository

ATTEMPTS = 4
_PAGE = 1_000
_KINDS: dict[Kind, str] = {kind: name for name, kind in API_NAMES.items()}
_PREFIXES: dict[Kind, str] = {"model": "", "dataset": "datasets/", "space": "spaces/"}


class UntrueContentError(AyniError):
    """What came is not what was announced."""

    def __init__(self, path: str, announced: str, found: str) -> None:
        self.path = path
        super().__init__(
            f"{path!r} came with the digest {found[:12]}..., announced was {announced[:12]}.... Nothing of "
            "it was kept. Try again; if it stays so, the other hub is damaged (ayni hub fsck there)."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A file of a revision. `sha256` is None where only git's id of it is known."""

    path: str
    size_bytes: int
    git_sha1: str
    sha256: str | None


class RevisionSource(Protocol):
    """The files of one repository."""

    name: str

    def resolve(self, revision: str | None) -> str:
        """The id of a branch, tag or the beginning of an id; the newest of main without one."""
        ...

    def files(self, revision: str) -> list[ListedFile]:
        """All files of a revision."""
        ...

    def read(self, revision: str, file: ListedFile) -> Iterator[bytes]:
        """The content of a file, checked when its end is reached.

        Raises:
            UntrueContentError: after the last piece, if it is not what was announced.
        """
        ...


class LocalRevisions:
    """Files of a repository of this hub. Fulfils RevisionSource."""

    def __init__(self, database: Database, content: ContentStore, kind: Kind, name: str) -> None:
        self._database = database
        self._content = content
        self._repository = find_repository(database, kind, name)
        self.name = self._repository.name

    def resolve(self, revision: str | None) -> str:
        """The id of a revision.

        Raises:
            RevisionNotFoundError: there is none.
        """
        with self._database.reading() as connection:
            return revisions.resolve(connection, self._repository, revision)

    def files(self, revision: str) -> list[ListedFile]:
        """All files of a revision."""
        with self._database.reading() as connection:
            made = revisions.read_commit(connection, self._repository.id, revision)
            assert made is not None, "it was resolved before"
            found = revisions.read_files(connection, made.tree)
        return [
            ListedFile(
                path=path, size_bytes=entry.size_bytes or 0, git_sha1=entry.git_sha1, sha256=entry.sha256
            )
            for path, entry in found.items()
        ]

    def read(self, _revision: str, file: ListedFile) -> Iterator[bytes]:
        """The content of a file; see the port."""
        return checked(self._content.read(str(file.sha256)), file)


class HubRevisions:
    """Files of a repository of another hub, over HTTP. Fulfils RevisionSource."""

    def __init__(self, hub: HubConnection, kind: Kind, name: str) -> None:
        check_repository_name(name)
        self.name = name
        self._hub = hub
        self.api_path = f"/api/{_KINDS[kind]}/{name}"
        self._page_path = f"/{_PREFIXES[kind]}{name}"

    def resolve(self, revision: str | None) -> str:
        """The id of a revision.

        Raises:
            HubRefusedError: there is none, or it may not be seen.
        """
        at = f"{self.api_path}/revision/{quoted(revision)}" if revision else self.api_path
        return str(self._hub.ask("GET", at)["sha"])

    def files(self, revision: str) -> list[ListedFile]:
        """All files of a revision.

        Raises:
            FilePathError: a path that leaves its folder, or that some file system takes for another.
        """
        said = self._hub.pages(f"{self.api_path}/tree/{quoted(revision)}", recursive="true", limit=str(_PAGE))
        found = [_listed(entry) for entry in said if entry["type"] == "file"]
        check_file_paths([each.path for each in found])
        return found

    def read(self, revision: str, file: ListedFile) -> Iterator[bytes]:
        """The content of a file; see the port."""
        return checked(self._received(revision, file), file)

    def _received(self, revision: str, file: ListedFile) -> Iterator[bytes]:
        """The bytes; where the connection breaks off they go on in a new one."""
        path = f"{self._page_path}/resolve/{quoted(revision)}/{urllib.parse.quote(file.path)}"
        num_bytes, attempt = 0, 1
        while True:
            try:
                with self._hub.download(path, start=num_bytes) as reply:
                    if num_bytes and reply.status_code != 206:
                        raise HubUnreachableError(self._hub.url, "it broke off, and sends no parts")
                    for piece in reply.iter_bytes(1 << 20):
                        num_bytes += len(piece)
                        if num_bytes > file.size_bytes:
                            raise UntrueContentError(
                                file.path, f"{file.size_bytes} bytes", f"{num_bytes} bytes"
                            )
                        yield piece
            except HubUnreachableError:
                attempt += 1
                if attempt > ATTEMPTS or num_bytes == 0:
                    raise
                continue
            if num_bytes >= file.size_bytes or attempt >= ATTEMPTS:
                return
            attempt += 1


def checked(pieces: Iterator[bytes], file: ListedFile) -> Iterator[bytes]:
    """Hand pieces on, and raise at their end if they are not the file.

    Raises:
        UntrueContentError: they have another digest.
    """
    digest = hashlib.sha256() if file.sha256 is not None else blob_hasher(file.size_bytes)
    announced = file.sha256 or file.git_sha1
    for piece in pieces:
        digest.update(piece)
        yield piece
    if digest.hexdigest() != announced:
        raise UntrueContentError(file.path, announced, digest.hexdigest())


def find_repository(database: Database, kind: Kind, name: str) -> Repository:
    """A repository of this hub by a name that it has or had.

    Raises:
        RepositoryNotFoundError, RepositoryGoneError: there is none, or no longer.
    """
    with database.reading() as connection:
        found = catalogue.find(connection, kind, name)
        if found is None:
            raise RepositoryNotFoundError(name, catalogue.names(connection, kind))
    return found.repository if isinstance(found, Moved) else found


def quoted(text: str) -> str:
    """One part of a path, slashes too."""
    return urllib.parse.quote(text, safe="")


def _listed(entry: dict[str, Any]) -> ListedFile:
    large = entry.get("lfs")
    return ListedFile(
        path=str(entry["path"]),
        size_bytes=int(large["size"] if large else entry["size"]),
        git_sha1=str(entry["oid"]),
        sha256=None if large is None else str(large["oid"]),
    )
