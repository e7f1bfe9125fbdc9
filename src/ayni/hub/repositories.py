"""The local hub: publish files as a new revision of a repository, and find them again.

Order of writes when publishing: bytes into the object store, the snapshot's folder, then one database
transaction, then the file `refs/main`. The transaction is the moment of publication: before it the earlier
revision is the newest one, after it the new one is, and what a crash leaves behind is unused or made good
by the next publication. One publisher at a time per repository holds its lock.

On disk, readable without Ayni:

    <folder>/models/<namespace>/<name>/refs/main                  id of the newest revision
    <folder>/models/<namespace>/<name>/snapshots/<revision>/...   its files

Not covered: branches other than main, data set repositories, deletion, and network file systems without
flock.
"""

import contextlib
import difflib
import fcntl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ayni.database import Database
from ayni.errors import UserError
from ayni.files import explain_os_errors, write_atomically
from ayni.hub import card_index, catalogue, commits, evaluations, revisions
from ayni.hub.commits import CommitHooks, CommitRequest, Committed
from ayni.hub.content import ContentStore
from ayni.hub.git_objects import Commit, TreeEntry, build_trees, identity
from ayni.hub.names import RepositoryNameError, check_repository_name
from ayni.hub.repository import Kind, Moved, Repository
from ayni.hub.revisions import RevisionNotFoundError
from ayni.hub.snapshots import DamagedFileError, Snapshot, remove_incomplete, write_snapshot
from ayni.hub.sources import check_sources, store_files

_LOCAL_KIND: Kind = "model"


class RepositoryNotFoundError(UserError):
    """No repository has this name."""

    def __init__(self, name: str, known: list[str]) -> None:
        self.name = name
        if near := _nearest(name, known):
            hint = f"Did you mean {near}?"
        else:
            hint = f"There are: {', '.join(known[:10])}." if known else "Nothing was published here yet."
        super().__init__(f"There is no repository {name!r}. {hint}")


class AmbiguousRepositoryError(UserError):
    """Several namespaces have a repository of this name."""

    def __init__(self, name: str, candidates: list[str]) -> None:
        self.candidates = candidates
        super().__init__(f"{name!r} can mean {', '.join(candidates)}. Write the one you want in full.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A revision that can be found. `is_new` is False when an earlier attempt had published it."""

    repository: str
    revision: str
    folder: Path
    is_new: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "repository": self.repository,
            "revision": self.revision,
            "folder": str(self.folder),
            "is_new": self.is_new,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Published":
        """The inverse of `to_json`."""
        return cls(
            repository=data["repository"],
            revision=data["revision"],
            folder=Path(data["folder"]),
            is_new=data["is_new"],
        )


class LocalHub:
    """Repositories: snapshots in `folder`, their bytes in `objects`, their history in `database`.

    `hooks` look at publications as at commits that come over HTTP.
    """

    def __init__(
        self,
        database: Database,
        objects: ContentStore,
        folder: Path,
        *,
        hooks: CommitHooks = CommitHooks(),  # noqa: B008 - a frozen value
    ) -> None:
        self._hooks = hooks
        self._database = database
        self._objects = objects
        self._folder = folder

    def publish(
        self,
        repository: str,
        files: Mapping[str, Path | bytes],
        *,
        message: str,
        author: str,
        when: datetime,
        publish_key: str | None = None,
    ) -> Published:
        """Make `files` the newest revision of a repository, on top of the one before.

        A publication under a `publish_key` that was used before in this repository changes nothing and
        returns the earlier revision, even when the files differ: a resumed run must not publish twice.

        Raises:
            RepositoryNameError: the name breaks the rules, or differs from a known one only by case.
            FilePathError: a path leaves the folder, collides with another or belongs to the hub.
            UnreadableSourceError: a file to publish is missing or changed while it was read.
            DiskFullError, NotWritableError: the device refuses; the earlier revision stays the newest.
        """
        check_repository_name(repository)
        check_sources(files)
        identity(author)
        with self._locked(repository):
            remove_incomplete(self._snapshots(repository))
            if (earlier := self._published_before(repository, publish_key)) is not None:
                return earlier
            entries = store_files(self._objects, files)
            return self._commit(
                repository, entries, message=message, author=author, when=when, publish_key=publish_key
            )

    def find(self, name: str, revision: str | None = None) -> Snapshot:
        """A published revision; the newest one without `revision`. A missing folder is written again.

        `name` is `namespace/name`, or the name alone when only one namespace has it. `revision` is "main",
        an id or its first digits.

        Raises:
            RepositoryNotFoundError, AmbiguousRepositoryError: no repository, or more than one.
            RevisionNotFoundError: no revision, or more than one.
            DamagedObjectError, MissingObjectError: the folder was gone and could not be written again.
        """
        repository = self._resolve(name)
        with self._database.reading() as connection:
            wanted = revisions.resolve(connection, self._known(connection, repository), revision)
        snapshot = self._snapshot(repository, wanted)
        if not snapshot.folder.is_dir():
            self._write_missing(snapshot)
        return snapshot

    def rebuild(self, repository: str, revision: str) -> Snapshot:
        """Write a revision's folder again from the stored objects, in the place of the one that is there.

        Raises:
            RevisionNotFoundError: the repository has no revision with this full id.
            DamagedObjectError, MissingObjectError: an object is not usable; the old folder stays.
        """
        snapshot = self._snapshot(repository, revision)
        with self._locked(repository):
            write_snapshot(snapshot.folder, snapshot.files, self._objects)
        return snapshot

    def repositories(self) -> list[str]:
        """All repositories in alphabetical order."""
        with self._database.reading() as connection:
            return catalogue.names(connection, _LOCAL_KIND)

    def revisions(self, name: str) -> list[str]:
        """All revisions of a repository, newest first."""
        repository = self._resolve(name)
        with self._database.reading() as connection:
            number = self._known(connection, repository).id
            return [each.revision for each in revisions.history(connection, number)]

    def commit(self, repository: str, revision: str) -> Commit:
        """What is recorded of a revision: parent, author, message, time.

        Raises:
            RevisionNotFoundError: the repository has no revision with this full id.
        """
        with self._database.reading() as connection:
            number = self._known(connection, repository).id
            found = revisions.read_commit(connection, number, revision)
            newest = [each.revision for each in revisions.history(connection, number, limit=5)]
        if found is None:
            raise RevisionNotFoundError(repository, revision, newest, 0)
        return found

    def _commit(
        self,
        repository: str,
        entries: dict[str, TreeEntry],
        *,
        message: str,
        author: str,
        when: datetime,
        publish_key: str | None,
    ) -> Published:
        with self._database.reading() as connection:
            known = self._find(connection, repository)
            parent = None if known is None else revisions.head(connection, known.id)
        trees = build_trees(entries)
        commit = Commit(tree=trees.root, parent=parent, author=author, message=message, when=when)
        snapshot = Snapshot(
            repository=repository,
            revision=commit.sha1,
            folder=self._snapshots(repository) / commit.sha1,
            files=entries,
        )
        if not _is_whole(snapshot):
            write_snapshot(snapshot.folder, entries, self._objects)
        # Other writers wait for a transaction, so whatever takes long comes before it.
        hooks = self._hooks.looked_ahead(_LOCAL_KIND, repository, entries)
        request = CommitRequest(
            changes=entries, message=message, author=author, when=when, parent=parent, key=publish_key
        )

        def record(connection: sa.Connection) -> None:
            owner = self._find(connection, repository) or catalogue.create(
                connection, _LOCAL_KIND, repository, visibility="public", when=when
            )
            here = revisions.head(connection, owner.id)
            if here == commit.sha1:  # an attempt before this one had come through
                return
            if here != parent:
                raise commits.StaleParentError(repository, parent or "its empty state", here)
            for look in hooks.before:
                look(connection, owner, request)
            commits.write(connection, owner, commit, trees, request_key=publish_key)
            card_index.refresh(connection, self._objects, owner.id, commit.tree)
            evaluations.refresh(connection, self._objects, owner.id, commit.tree)
            for follow in hooks.after:
                follow(connection, owner, request, Committed(revision=commit.sha1, is_new=True))

        self._database.run(record)
        self._write_ref(repository, commit.sha1)
        return Published(repository=repository, revision=commit.sha1, folder=snapshot.folder, is_new=True)

    def _published_before(self, repository: str, publish_key: str | None) -> Published | None:
        with self._database.reading() as connection:
            known = self._find(connection, repository)
            if known is None:
                return None
            if known.name != repository:
                raise RepositoryNameError(
                    repository, f"there is {known.name} already, and only the case differs"
                )
            newest = revisions.head(connection, known.id)
            revision = publish_key and commits.revision_of_key(connection, known.id, publish_key)
        if newest is not None:
            # A crash after the transaction left the file behind.
            self._write_ref(repository, newest)
        if not revision:
            return None
        snapshot = self._snapshot(repository, revision)
        if not _is_whole(snapshot):
            write_snapshot(snapshot.folder, snapshot.files, self._objects)
        return Published(repository=repository, revision=revision, folder=snapshot.folder, is_new=False)

    def _write_missing(self, snapshot: Snapshot) -> None:
        with self._locked(snapshot.repository):
            # Another process may have written it while this one waited.
            if not snapshot.folder.is_dir():
                write_snapshot(snapshot.folder, snapshot.files, self._objects)

    def _snapshot(self, repository: str, revision: str) -> Snapshot:
        commit = self.commit(repository, revision)
        with self._database.reading() as connection:
            files = revisions.read_files(connection, commit.tree)
        folder = self._snapshots(repository) / revision
        return Snapshot(repository=repository, revision=revision, folder=folder, files=files)

    def _resolve(self, name: str) -> str:
        known = self.repositories()
        candidates = [each for each in known if name in (each, each.partition("/")[2])]
        if len(candidates) > 1:
            raise AmbiguousRepositoryError(name, candidates)
        if not candidates:
            raise RepositoryNotFoundError(name, known)
        return candidates[0]

    def _find(self, connection: sa.Connection, name: str) -> Repository | None:
        found = catalogue.find(connection, _LOCAL_KIND, name)
        return found.repository if isinstance(found, Moved) else found

    def _known(self, connection: sa.Connection, name: str) -> Repository:
        found = self._find(connection, name)
        if found is None:
            raise RepositoryNotFoundError(name, catalogue.names(connection, _LOCAL_KIND))
        return found

    def _place(self, repository: str) -> Path:
        # Only names that passed check_repository_name get here: none can leave the folder.
        return self._folder / "models" / repository

    def _snapshots(self, repository: str) -> Path:
        return self._place(repository) / "snapshots"

    def _write_ref(self, repository: str, revision: str) -> None:
        path = self._place(repository) / "refs" / "main"
        if not path.is_file() or path.read_text() != revision:
            write_atomically(path, revision.encode())

    @contextlib.contextmanager
    def _locked(self, repository: str) -> Iterator[None]:
        place = self._place(repository)
        with explain_os_errors(place):
            place.mkdir(parents=True, exist_ok=True)
            lock = (place / ".lock").open("ab")
        with lock:
            # Released by the system when the process dies.
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _is_whole(snapshot: Snapshot) -> bool:
    if not snapshot.folder.is_dir():
        return False
    try:
        snapshot.verify()
    except DamagedFileError:
        return False
    return True


def _nearest(name: str, known: list[str]) -> str | None:
    spelled = {each.partition("/")[2].lower(): each for each in known} | {
        each.lower(): each for each in known
    }
    near = difflib.get_close_matches(name.lower(), spelled, n=1)
    return spelled[near[0]] if near else None
