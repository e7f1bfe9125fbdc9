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
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ayni.database import Database
from ayni.errors import UserError
from ayni.files import explain_os_errors, write_atomically
from ayni.hub import store
from ayni.hub.git_objects import Commit, TreeEntry, build_trees, identity
from ayni.hub.names import RepositoryNameError, check_repository_name
from ayni.hub.snapshots import DamagedFileError, Snapshot, remove_incomplete, write_snapshot
from ayni.hub.sources import check_sources, store_files
from ayni.objects import ObjectStore

_SHORTEST_PREFIX = 4


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


class RevisionNotFoundError(UserError):
    """The repository has no such revision, or several begin with these digits."""

    def __init__(self, repository: str, revision: str, known: list[str], num_matching: int) -> None:
        self.repository = repository
        self.revision = revision
        found = "no revision" if num_matching == 0 else f"{num_matching} revisions that begin with"
        super().__init__(
            f"{repository} has {found} {revision!r}. Its newest are "
            f"{', '.join(sha[:12] for sha in known[:5])}; give main or at least {_SHORTEST_PREFIX} digits "
            "of one revision."
        )


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
    """Repositories: snapshots in `folder`, their bytes in `objects`, their history in `database`."""

    def __init__(self, database: Database, objects: ObjectStore, folder: Path) -> None:
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
        with self._database.transaction() as connection:
            known = store.revisions(connection, repository)
            newest = store.head(connection, repository)
        wanted = newest if revision in (None, "main") else _match(repository, str(revision), known)
        snapshot = self._snapshot(repository, str(wanted))
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
        with self._database.transaction() as connection:
            return store.repository_names(connection)

    def revisions(self, name: str) -> list[str]:
        """All revisions of a repository, newest first."""
        repository = self._resolve(name)
        with self._database.transaction() as connection:
            return store.revisions(connection, repository)

    def commit(self, repository: str, revision: str) -> Commit:
        """What is recorded of a revision: parent, author, message, time.

        Raises:
            RevisionNotFoundError: the repository has no revision with this full id.
        """
        with self._database.transaction() as connection:
            found = store.read_commit(connection, repository, revision)
            known = store.revisions(connection, repository)
        if found is None:
            raise RevisionNotFoundError(repository, revision, known, 0)
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
        with self._database.transaction() as connection:
            parent = store.head(connection, repository)
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
        with self._database.transaction() as connection:
            store.add_commit(connection, repository, commit, trees, publish_key=publish_key)
        self._write_ref(repository, commit.sha1)
        return Published(repository=repository, revision=commit.sha1, folder=snapshot.folder, is_new=True)

    def _published_before(self, repository: str, publish_key: str | None) -> Published | None:
        with self._database.transaction() as connection:
            known = store.spelling(connection, repository)
            if known not in (None, repository):
                raise RepositoryNameError(repository, f"there is {known} already, and only the case differs")
            newest = store.head(connection, repository)
            revision = publish_key and store.revision_of_key(connection, repository, publish_key)
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
        with self._database.transaction() as connection:
            files = store.read_files(connection, commit.tree)
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


def _match(repository: str, revision: str, known: list[str]) -> str:
    matching: list[str] = []
    if re.fullmatch(rf"[0-9a-f]{{{_SHORTEST_PREFIX},40}}", revision):
        matching = [sha for sha in known if sha.startswith(revision)]
    if len(matching) != 1:
        raise RevisionNotFoundError(repository, revision, known, len(matching))
    return matching[0]


def _nearest(name: str, known: list[str]) -> str | None:
    spelled = {each.partition("/")[2].lower(): each for each in known} | {
        each.lower(): each for each in known
    }
    near = difflib.get_close_matches(name.lower(), spelled, n=1)
    return spelled[near[0]] if near else None
