"""The composition root of `ayni hub`: what an operator or a member asks of a hub, in process or over HTTP.

What members may ask as well goes through the hub's API in both cases, so that roles, checks and the audit
log are the same. What looks after the store (check, gc, keys) and copies into it works on this machine's hub
alone.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ayni.errors import MissingExtraError, UserError
from ayni.settings import Settings, read_settings
from ayni.wiring.hub_storage import HubStorage, NoMasterKeyError
from ayni.wiring.serve import served_hub, storage_of

if TYPE_CHECKING:
    from ayni.hub.connection import HubConnection
    from ayni.hub.repository import Kind

LOCAL = "local"
SECONDS_BEFORE_DROPPING = 3.0
_APIS = {"model": "models", "dataset": "datasets", "space": "spaces"}


class WhoseTokensError(UserError):
    """In process there is nobody whose tokens could be meant."""

    def __init__(self) -> None:
        super().__init__(
            "Name the user whose tokens are meant: on the hub's own machine you are its operator, who has "
            "none."
        )


class NothingToMirrorError(UserError):
    """No repository to mirror was found."""

    def __init__(self, source: str, namespace: str | None) -> None:
        whose = f" of {namespace}" if namespace else ""
        super().__init__(f"{source} shows no repositories{whose}. Is a token needed (AYNI_HUB_TOKEN)?")


@contextmanager
def connected(endpoint: str | None = None, *, home: Path | None = None) -> "Iterator[HubConnection]":
    """A connection to the hub that is meant: `endpoint`, AYNI_HUB_URL, or the one in this home.

    Raises:
        HubUrlError: no address of a hub.
    """
    settings = read_settings(home=home)
    url = endpoint or settings.hub_url
    if url is not None and url != LOCAL:
        from ayni.hub.connection import HubConnection

        with HubConnection(url, _token_for(url, settings)) as connection:
            yield connection
        return
    try:
        from ayni.server import in_process
        from ayni.server.app import make_app
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra="hub", package=error.name or "fastapi") from error
    storage = storage_of(home)
    hub = served_hub(storage, base_url=in_process.BASE_URL, callers=in_process.OperatorCallers())
    try:
        with in_process.connected(make_app(hub)) as connection:
            yield connection
    finally:
        storage.database.close()


def create(
    name: str, *, kind: "Kind", is_private: bool, endpoint: str | None, home: Path | None = None
) -> Any:
    """Make a repository with its first commit: {"url", "name", "id"}."""
    owner, _, own_name = name.rpartition("/")
    body = {
        "name": own_name,
        "organization": owner or None,
        "type": kind,
        "visibility": "private" if is_private else "public",
    }
    with connected(endpoint, home=home) as hub:
        return hub.ask("POST", "/api/repos/create", json=body)


def list_repositories(
    *,
    kind: "Kind | None" = None,
    search: str | None = None,
    owner: str | None = None,
    endpoint: str | None = None,
    home: Path | None = None,
) -> list[dict[str, Any]]:
    """What may be seen, by name: {"kind", "name", "private", "gated", "changed", "downloads", "likes"}."""
    found = []
    with connected(endpoint, home=home) as hub:
        for each in _APIS if kind is None else (kind,):
            said = hub.pages(f"/api/{_APIS[each]}", search=search, author=owner, limit=1000, full="true")
            found += [_row(each, one) for one in said]
    return sorted(found, key=lambda row: (row["kind"], row["name"].lower()))


def info(
    name: str,
    *,
    kind: "Kind" = "model",
    revision: str | None = None,
    endpoint: str | None = None,
    home: Path | None = None,
) -> Any:
    """What the API says of a repository, with its files."""
    from ayni.hub.revision_sources import quoted

    path = f"/api/{_APIS[kind]}/{name}" + (f"/revision/{quoted(revision)}" if revision else "")
    with connected(endpoint, home=home) as hub:
        return hub.ask("GET", path, params={"blobs": "true"})


def ask(
    method: str, path: str, body: Any = None, *, endpoint: str | None = None, home: Path | None = None
) -> Any:
    """One request to `/api/v1`."""
    given = {} if body is None else {"json": body}
    with connected(endpoint, home=home) as hub:
        return hub.ask(method, f"/api/v1{path}", **given)


def tokens_path(user: str | None, *, endpoint: str | None, home: Path | None = None) -> str:
    """Where tokens are: those of a user, or one's own.

    Raises:
        WhoseTokensError: no user is named, and the hub is asked in process.
    """
    url = endpoint or read_settings(home=home).hub_url
    if user is None and url in (None, LOCAL):
        raise WhoseTokensError
    return "/tokens" if user is None else f"/users/{user}/tokens"


def check(*, with_hashes: bool = False, home: Path | None = None) -> dict[str, Any]:
    """Prove that the hub of this home is whole: {"ok", "counts", "problems", "notes"}."""
    from ayni.hub.fsck import Checker

    with _storage(home) as storage:
        checker = Checker(
            database=storage.database,
            objects=storage.objects,
            content=storage.content,
            xorbs=storage.xorbs,
            xorb_content=storage.xorbs,
            now=storage.now(),
        )
        return checker.check(with_hashes=with_hashes).to_json()


def collect(
    *, grace: timedelta, chunk_grace: timedelta, is_dry_run: bool, home: Path | None = None
) -> dict[str, Any]:
    """Free what the hub of this home does not need; keys of the answer: docs/hub.md."""
    from ayni.hub.collection import Collector, Place

    with _storage(home) as storage:
        collector = Collector(
            database=storage.database,
            objects=Place(listed=storage.objects, content=storage.objects),
            xorbs=Place(listed=storage.xorbs, content=storage.xorbs),
            now=storage.now,
            grace=grace,
            chunk_grace=chunk_grace,
        )
        done = collector.look() if is_dry_run else collector.run()
        return done.to_json()


def rotate_key(*, drops_older: bool = False, home: Path | None = None) -> dict[str, Any]:
    """Wrap every data key by a new master key: {"newest", "rewrapped", "in_use", "dropped"}.

    With a file a new key is put into it; elsewhere the newest key that is given counts.

    Raises:
        NoMasterKeyError: objects are not encrypted.
    """
    from ayni.hub.encryption import EncryptedObjects
    from ayni.hub.master_keys import FileMasterKeys

    with _storage(home) as storage:
        keys = storage.master_keys
        if keys is None:
            raise NoMasterKeyError
        if isinstance(keys, FileMasterKeys):
            keys.add()
        stores = [each for each in (storage.objects, storage.xorbs) if isinstance(each, EncryptedObjects)]
        num_rewrapped = sum(each.rewrap() for each in stores)
        if drops_older:
            # A server may be about to write a key that it wrapped a moment before the new one came.
            time.sleep(SECONDS_BEFORE_DROPPING)
        # A second pass for what a server stored under the key before while the first was under way.
        num_rewrapped += sum(each.rewrap() for each in stores)
        in_use = set().union(*(each.master_keys_in_use() for each in stores)) - {keys.newest_id}
        is_dropped = drops_older and not in_use and isinstance(keys, FileMasterKeys)
        if is_dropped and isinstance(keys, FileMasterKeys):
            keys.drop_older()
        return {
            "newest": keys.newest_id,
            "rewrapped": num_rewrapped,
            "older_in_use": sorted(in_use),
            "dropped_older": is_dropped,
        }


def encrypt(home: Path | None = None) -> int:
    """Encrypt what lies open in the hub of this home; how many objects."""
    with _storage(home) as storage:
        return storage.encrypt()


def export(
    name: str,
    folder: Path,
    *,
    kind: "Kind" = "model",
    revision: str | None = None,
    endpoint: str | None = None,
    home: Path | None = None,
) -> dict[str, Any]:
    """Write a revision as a plain folder: {"repository", "revision", "folder", "num_files", "num_bytes"}."""
    from ayni.hub.export import export as write
    from ayni.hub.revision_sources import HubRevisions, LocalRevisions

    url = endpoint or read_settings(home=home).hub_url
    if url is not None and url != LOCAL:
        with connected(url, home=home) as hub:
            return write(HubRevisions(hub, kind, name), folder, revision=revision).to_json()
    with _storage(home) as storage:
        source = LocalRevisions(storage.database, storage.content, kind, name)
        return write(source, folder, revision=revision).to_json()


def mirror(
    source: str,
    names: Sequence[str] = (),
    *,
    kinds: "Sequence[Kind]" = ("model",),
    namespace: str | None = None,
    into: str | None = None,
    force: bool = False,
    say: Callable[[str], None] = lambda _: None,
    home: Path | None = None,
) -> list[dict[str, Any]]:
    """Copy repositories of another hub, or a folder as one repository, into the hub of this home.

    Raises:
        NothingToMirrorError: there is nothing.
        DivergedMirrorError and others of `ayni.hub.mirror`: with what was copied before left as it is.
    """
    from ayni.hub.mirror import Target, list_repositories, mirror_folder
    from ayni.hub.mirror import mirror as copy

    settings = read_settings(home=home)
    with _storage(home) as storage:
        target = Target(
            database=storage.database, content=storage.content, hooks=storage.commit_hooks(), now=storage.now
        )
        if "://" not in source:
            name = into or (names[0] if names else "")
            return [mirror_folder(Path(source), kinds[0], name, target).to_json()]
        from ayni.hub.connection import HubConnection
        from ayni.hub.log_watch import LogWatch

        done = []
        with HubConnection(source, _token_for(source, settings)) as hub:
            host = urlsplit(hub.url).netloc.replace(":", "_")
            log = LogWatch(hub, settings.hub_copies_folder / host)
            wanted = [(kind, name) for kind in kinds for name in names] or [
                (kind, name) for kind in kinds for name in list_repositories(hub, kind, namespace)
            ]
            if not wanted:
                raise NothingToMirrorError(source, namespace)
            for kind, name in wanted:
                say(f"{kind} {name}")
                done.append(copy(hub, kind, name, target, into=into, force=force, log=log, say=say).to_json())
        return done


def import_git(
    url: str,
    name: str,
    *,
    kind: "Kind" = "space",
    commit: str | None = None,
    max_bytes: int,
    author: str,
    allows_private: bool = False,
    home: Path | None = None,
) -> dict[str, Any]:
    """Fill a repository of the hub of this home from a commit of git; what was left out is in the answer."""
    from ayni.hub.git_import import fetch, write_import

    with (
        _storage(home) as storage,
        fetch(url, commit, max_bytes=max_bytes, allows_private=allows_private) as fetched,
    ):
        done = write_import(
            fetched,
            storage.database,
            storage.content,
            kind=kind,
            name=name,
            author=author,
            hooks=storage.commit_hooks(),
            now=datetime.now(UTC),
        )
        return done.to_json()


def _token_for(url: str, settings: Settings) -> str | None:
    """The token of the settings, for the hub that it is for; where they name none, for any that is asked."""
    is_for = settings.hub_url in (None, url.rstrip("/"))
    return settings.hub_token if is_for else None


@contextmanager
def _storage(home: Path | None) -> Iterator[HubStorage]:
    storage = storage_of(home)
    try:
        yield storage
    finally:
        storage.database.close()


def _row(kind: str, said: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": said["id"],
        "private": bool(said.get("private")),
        "gated": said.get("gated") or False,
        "changed": said.get("lastModified"),
        "downloads": said.get("downloads"),
        "likes": said.get("likes"),
    }
