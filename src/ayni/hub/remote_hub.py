"""A hub elsewhere, for jobs: publish to it and find models on it over HTTP, as with the hub of this home.

A publication is prepared by the same functions as in process, so that both make the same files with the same
git ids: large files are sent as LFS, then one commit names them all and takes away what was there before. The
key of a publication stands in the commit's message, so that a resumed run does not publish twice.

Every revision that was published or found is kept as a plain folder here, and checked before it is used
again.

Large files go whole, by LFS, and not by `huggingface_hub` with its chunks (Xet). A run's weights are new in
all their tensors, so there are few chunks that a hub has already; and that client keeps state of its own
(caches, a token, its variables of the environment) which would decide over a publication beside our settings.

Not covered: sending only the chunks that the hub lacks, and resuming a large file in its middle.
"""

import base64
import hashlib
import io
import json
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ayni.errors import AyniError
from ayni.hub.connection import HubConnection, HubRefusedError
from ayni.hub.git_objects import FILE_MODE, TreeEntry, blob_hasher, identity
from ayni.hub.names import check_repository_name
from ayni.hub.publishing import Hub
from ayni.hub.repositories import AmbiguousRepositoryError, Published
from ayni.hub.revision_sources import HubRevisions, ListedFile
from ayni.hub.snapshots import Snapshot, remove_incomplete, write_snapshot
from ayni.hub.sources import check_sources, store_files
from ayni.objects import ObjectStore

KEY_TRAILER = "Ayni-Publication: "
_LFS_JSON = "application/vnd.git-lfs+json"
_COMMITS_LOOKED_AT = 1_000


class ChangedOnTheWayError(AyniError):
    """A hub made another revision than was sent to it."""

    def __init__(self, url: str, repository: str, paths: list[str]) -> None:
        self.paths = paths
        super().__init__(
            f"The hub {url} made a revision of {repository} that differs from what was sent, in "
            f"{', '.join(paths[:5])}. Ask its operator what changes commits there."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteHub:
    """The hub at an address. Fulfils Hub.

    Attributes:
        connect: opens a connection to it.
        folder: where revisions are kept on this machine.
        here: asked for repositories that the other hub does not have.
    """

    connect: Callable[[], HubConnection]
    folder: Path
    here: Hub

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
        """Make `files` the newest revision of a repository there; the hub says who did it, and when.

        Raises:
            RepositoryNameError, FilePathError, UnreadableSourceError: as with the hub of this home.
            HubRefusedError, HubFailedError, HubUnreachableError: the hub did not take it.
            ChangedOnTheWayError: it took something else.
        """
        del when  # the hub's clock counts
        check_repository_name(repository)
        check_sources(files)
        identity(author)
        objects = self._staging
        with self.connect() as hub:
            _make_repository(hub, repository)
            source = HubRevisions(hub, "model", repository)
            if (earlier := _published_before(hub, source, publish_key)) is not None:
                snapshot = self._fetch(hub, source, earlier)
                return _published(repository, snapshot, is_new=False)
            entries = store_files(objects, files)
            _send_large_files(hub, repository, entries, objects)
            revision = _commit(hub, source, entries, objects, _message(message, publish_key))
            _compare(hub, source, revision, entries)
            snapshot = self._snapshot(hub, repository, revision, entries)
            write_snapshot(snapshot.folder, entries, objects)
        _clear(objects, entries)
        return _published(repository, snapshot, is_new=True)

    def find(self, name: str, revision: str | None = None) -> Snapshot:
        """A revision that is there, fetched unless its folder is here; else what the hub of this home has.

        Raises:
            RepositoryNotFoundError, AmbiguousRepositoryError: neither has it, or there are several.
            HubRefusedError, HubFailedError, HubUnreachableError: it cannot be fetched.
            UntrueContentError: what came is not what was announced.
        """
        with self.connect() as hub:
            full_name = _full_name(hub, name)
            if full_name is not None:
                source = HubRevisions(hub, "model", full_name)
                try:
                    wanted = source.resolve(revision)
                except HubRefusedError as error:
                    if error.code != "RepoNotFound":
                        raise
                else:
                    return self._fetch(hub, source, wanted)
        return self.here.find(name, revision)

    @property
    def _staging(self) -> ObjectStore:
        return ObjectStore(str(self.folder / "incoming"))

    def _fetch(self, hub: HubConnection, source: HubRevisions, revision: str) -> Snapshot:
        """The folder of a revision: the one that is here if it is whole, else written anew."""
        listed = source.files(revision)
        kept = self._snapshot(hub, source.name, revision, {})
        if (known := _entries_of(kept.folder, listed)) is not None:
            return self._snapshot(hub, source.name, revision, known)
        objects, entries = self._staging, dict[str, TreeEntry]()
        for file in listed:
            with objects.writer() as writer:
                for piece in source.read(revision, file):
                    writer.write(piece)
                entries[file.path] = _entry(file, writer.finish().sha256)
        snapshot = self._snapshot(hub, source.name, revision, entries)
        remove_incomplete(snapshot.folder.parent)
        write_snapshot(snapshot.folder, entries, objects)
        _clear(objects, entries)
        return snapshot

    def _snapshot(
        self, hub: HubConnection, repository: str, revision: str, entries: Mapping[str, TreeEntry]
    ) -> Snapshot:
        host = urllib.parse.urlsplit(hub.url).netloc.replace(":", "_")
        folder = self.folder / host / "models" / repository / "snapshots" / revision
        return Snapshot(repository=repository, revision=revision, folder=folder, files=entries)


def _make_repository(hub: HubConnection, repository: str) -> None:
    owner, _, name = repository.partition("/")
    try:
        hub.ask("POST", "/api/repos/create", json={"name": name, "organization": owner, "type": "model"})
    except HubRefusedError as error:
        if error.status != 409:
            raise


def _published_before(hub: HubConnection, source: HubRevisions, publish_key: str | None) -> str | None:
    if publish_key is None:
        return None
    for number, said in enumerate(hub.pages(f"{source.api_path}/commits/main", limit=100)):
        if number >= _COMMITS_LOOKED_AT:
            break
        if f"{KEY_TRAILER}{publish_key}" in str(said["message"]).splitlines():
            return str(said["id"])
    return None


def _message(message: str, publish_key: str | None) -> tuple[str, str]:
    summary, _, rest = message.partition("\n")
    trailer = "" if publish_key is None else f"{KEY_TRAILER}{publish_key}"
    return summary, "\n\n".join(part for part in (rest.strip(), trailer) if part)


def _send_large_files(
    hub: HubConnection, repository: str, entries: Mapping[str, TreeEntry], objects: ObjectStore
) -> None:
    wanted = {str(entry.sha256): entry.size_bytes or 0 for entry in entries.values() if entry.is_lfs}
    if not wanted:
        return
    asked = {
        "operation": "upload",
        "transfers": ["basic"],
        "hash_algo": "sha256",
        "objects": [{"oid": oid, "size": size} for oid, size in wanted.items()],
    }
    headers = {"Accept": _LFS_JSON, "Content-Type": _LFS_JSON}
    path = f"/{repository}.git/info/lfs/objects/batch"
    said = hub.ask("POST", path, content=json.dumps(asked), headers=headers)
    for each in said["objects"]:
        if (error := each.get("error")) is not None:
            raise HubRefusedError(hub.url, int(error["code"]), str(error["message"]))
        if (actions := each.get("actions")) is not None:
            hub.put(actions["upload"]["href"], objects.read(each["oid"]), num_bytes=each["size"])


def _commit(
    hub: HubConnection,
    source: HubRevisions,
    entries: Mapping[str, TreeEntry],
    objects: ObjectStore,
    message: tuple[str, str],
) -> str:
    here = source.resolve(None)
    gone = [file.path for file in source.files(here) if file.path not in entries]

    def lines() -> Iterator[bytes]:
        yield _line("header", {"summary": message[0], "description": message[1], "parentCommit": here})
        for path in gone:
            yield _line("deletedFile", {"path": path})
        for path, entry in entries.items():
            yield _operation(path, entry, objects)

    body = {"content": lines(), "headers": {"Content-Type": "application/x-ndjson"}}
    return str(hub.ask("POST", f"{source.api_path}/commit/main", **body)["commitOid"])


def _operation(path: str, entry: TreeEntry, objects: ObjectStore) -> bytes:
    if entry.is_lfs:
        value: dict[str, Any] = {"algo": "sha256", "oid": entry.sha256, "size": entry.size_bytes}
        return _line("lfsFile", {"path": path, **value})
    content = b"".join(objects.read(str(entry.sha256)))
    return _line("file", {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"})


def _line(key: str, value: dict[str, Any]) -> bytes:
    return json.dumps({"key": key, "value": value}).encode() + b"\n"


def _compare(
    hub: HubConnection, source: HubRevisions, revision: str, entries: Mapping[str, TreeEntry]
) -> None:
    made = {file.path: file.git_sha1 for file in source.files(revision)}
    sent = {path: entry.git_sha1 for path, entry in entries.items()}
    if made != sent:
        different = sorted(path for path in {*made, *sent} if made.get(path) != sent.get(path))
        raise ChangedOnTheWayError(hub.url, source.name, different)


def _full_name(hub: HubConnection, name: str) -> str | None:
    if "/" in name:
        return name
    said = hub.pages("/api/models", search=name, limit=100)
    found = [str(each["id"]) for each in said if str(each["id"]).partition("/")[2] == name]
    if len(found) > 1:
        raise AmbiguousRepositoryError(name, found)
    return found[0] if found else None


def _entries_of(folder: Path, listed: list[ListedFile]) -> dict[str, TreeEntry] | None:
    """The files of a folder that was fetched before; None unless each is there with its bytes."""
    entries: dict[str, TreeEntry] = {}
    for file in listed:
        place = folder / file.path
        if not place.is_file() or place.stat().st_size != file.size_bytes:
            return None
        digest, blob = hashlib.sha256(), blob_hasher(file.size_bytes)
        with place.open("rb") as opened:
            while piece := opened.read(io.DEFAULT_BUFFER_SIZE * 16):
                digest.update(piece)
                blob.update(piece)
        is_same = (
            digest.hexdigest() == file.sha256
            if file.sha256 is not None
            else blob.hexdigest() == file.git_sha1
        )
        if not is_same:
            return None
        entries[file.path] = _entry(file, digest.hexdigest())
    return entries


def _entry(file: ListedFile, sha256: str) -> TreeEntry:
    return TreeEntry(
        name=file.path,
        mode=FILE_MODE,
        git_sha1=file.git_sha1,
        sha256=sha256,
        size_bytes=file.size_bytes,
    )


def _clear(objects: ObjectStore, entries: Mapping[str, TreeEntry]) -> None:
    for entry in entries.values():
        objects.delete(str(entry.sha256))


def _published(repository: str, snapshot: Snapshot, *, is_new: bool) -> Published:
    return Published(repository=repository, revision=snapshot.revision, folder=snapshot.folder, is_new=is_new)
