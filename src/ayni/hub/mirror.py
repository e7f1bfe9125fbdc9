"""Copy a repository of another hub, and copy again only what is new there.

    a hub of Ayni        every commit of every branch and tag, with the same ids
    another hub          the newest revision of each branch and tag, as one commit that names where it is from

    contents of a commit -> checked -> stored -> one transaction: trees, commit, branch; then the next commit

So a mirror that was broken off goes on behind its last commit; contents that came are not fetched again.
Commits pass the same checks as those that members make. A branch on which somebody committed here is left
alone.

Not covered: discussions, pull requests, members, and who may read: a copy of a private or gated repository is
private.
"""

import re
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ayni.database import Database
from ayni.errors import AyniError, UserError
from ayni.hub import catalogue, commits, history_copy, revisions
from ayni.hub.commits import CommitHooks, CommitRequest, Committed
from ayni.hub.connection import HubConnection, HubRefusedError
from ayni.hub.content import ContentStore
from ayni.hub.git_objects import (
    FILE_MODE,
    GITATTRIBUTES,
    Commit,
    TreeEntry,
    blob_sha1,
    build_trees,
    lfs_pointer,
)
from ayni.hub.log_watch import LogWatch
from ayni.hub.repository import Kind, Moved, Repository, Visibility
from ayni.hub.revision_sources import HubRevisions, ListedFile, RevisionSource, quoted
from ayni.hub.revisions import BRANCHES, MAIN, TAGS, Recorded
from ayni.hub.sources import UnreadableSourceError, check_sources, store_files
from ayni.hub.tables import entries_table


class DivergedMirrorError(UserError):
    """Somebody committed to a branch that is a copy."""

    def __init__(self, repository: str, ref: str, here: str, there: str) -> None:
        self.ref = ref
        branch = ref.removeprefix(BRANCHES)
        super().__init__(
            f"{repository} has commits on {branch} that are not at the source: here it is at {here[:12]}, "
            f"there at {there[:12]}. Nothing was changed on it. Mirror into another name, or give --force to "
            "let the branch follow the source (the commits stay until they are freed)."
        )


class UntrueHistoryError(AyniError):
    """The other hub says of a commit what cannot be."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url} tells a history that is not true: {reason}. Nothing of it was kept.")


Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The hub that gets the copy."""

    database: Database
    content: ContentStore
    hooks: CommitHooks
    now: Callable[[], datetime]


@dataclass(slots=True, kw_only=True)
class Mirrored:
    """What a mirror did."""

    repository: str
    source: str
    keeps_ids: bool
    is_log_checked: bool = False
    num_commits: int = 0
    num_files: int = 0
    num_bytes: int = 0
    refs: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "repository": self.repository,
            "source": self.source,
            "keeps_ids": self.keeps_ids,
            "log_checked": self.is_log_checked,
            "new_commits": self.num_commits,
            "fetched_files": self.num_files,
            "fetched_bytes": self.num_bytes,
            "refs": dict(self.refs),
            "removed_refs": list(self.removed),
        }


def mirror(
    hub: HubConnection,
    kind: Kind,
    name: str,
    target: Target,
    *,
    into: str | None = None,
    force: bool = False,
    log: LogWatch | None = None,
    say: Say = lambda _: None,
) -> Mirrored:
    """Copy one repository, or what is new in it.

    Args:
        hub: where it is.
        kind: of the repository.
        name: there.
        target: the hub that gets the copy.
        into: its name here; the same by default.
        force: lets branches follow the source where somebody committed here.
        log: holds what is copied against the other hub's log of commits; None = not.
        say: hears of progress.

    Raises:
        BrokenCommitLogError: the other hub shows what its log does not say.
        HubRefusedError, HubUnreachableError: the other hub does not give it.
        DivergedMirrorError: a branch has commits of its own here.
        UntrueHistoryError, UntrueContentError: the other hub is damaged, or lies.
        NameTakenError, RepositoryGoneError: the name cannot be had here.
    """
    source = HubRevisions(hub, kind, name)
    info = hub.ask("GET", source.api_path)
    # The history comes after the refs: it then has at least what they are at.
    refs = _refs(hub, source, info, log)
    history = _exact_history(hub, kind, name)
    visibility: Visibility = "private" if info.get("private") or info.get("gated") else "public"
    copy = _Copy(
        source=source,
        target=target,
        repository=_repository(target, kind, into or name, visibility),
        origin=f"{hub.url}/{name}",
        force=force,
        say=say,
        done=Mirrored(
            repository=into or name,
            source=f"{hub.url}/{name}",
            keeps_ids=history is not None,
            is_log_checked=log is not None and log.is_offered and history is not None,
        ),
    )
    if history is not None:
        copy.exactly(history, refs)
    else:
        copy.by_newest(refs)
    return copy.done


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    source: RevisionSource
    target: Target
    repository: Repository
    origin: str
    force: bool
    say: Say
    done: Mirrored

    def exactly(self, history: Mapping[str, Recorded], refs: Mapping[str, str]) -> None:
        """All commits with their ids, parents first; a branch follows commit by commit."""
        self._refuse_diverged(refs, set(history))
        following = _branches_of(history, refs)
        for recorded in history_copy.parents_first(history):
            if not self._has(recorded.revision):
                self._add(recorded.commit, recorded.revision, following.get(recorded.revision, ()), None)
        self._set_refs(refs)

    def by_newest(self, refs: Mapping[str, str]) -> None:
        """One commit for the newest revision of each ref."""
        at_source: dict[str, str] = {}
        for ref, revision in sorted(refs.items(), key=lambda pair: (pair[0] != MAIN, pair[0])):
            key = f"mirror:{self.origin}:{revision}"
            with self.target.database.reading() as connection:
                known = commits.revision_of_key(connection, self.repository.id, key)
                here = revisions.head(connection, self.repository.id, ref)
                is_ours = here is None or _is_mirrored(connection, self.repository.id, here)
            if not is_ours and not self.force:
                raise DivergedMirrorError(self.repository.name, ref, str(here), revision)
            if known is None:
                message = (
                    f"Mirror {self.origin} at {revision[:12]}\n\nMirrored-from: {self.origin}@{revision}"
                )
                made = _Wanted(message=message, parent=here, when=self.target.now())
                known = self._add(made, revision, (ref,) if ref.startswith(BRANCHES) else (), key)
            at_source[ref] = known
        self._set_refs(at_source)

    def _refuse_diverged(self, refs: Mapping[str, str], known: set[str]) -> None:
        with self.target.database.reading() as connection:
            here = revisions.list_refs(connection, self.repository.id)
        for ref, revision in here.items():
            if ref in refs and revision not in known and not self.force:
                raise DivergedMirrorError(self.repository.name, ref, revision, refs[ref])

    def _has(self, revision: str) -> bool:
        with self.target.database.reading() as connection:
            return revisions.read_commit(connection, self.repository.id, revision) is not None

    def _add(self, wanted: "Commit | _Wanted", at_source: str, refs: Iterable[str], key: str | None) -> str:
        """Fetch the files of a revision and commit them."""
        files = self.source.files(at_source)
        self.say(f"{at_source[:12]}: {len(files)} files")
        entries = {file.path: self._entry(at_source, file) for file in files}
        trees = build_trees(entries)
        if isinstance(wanted, Commit):
            if trees.root != wanted.tree:
                raise UntrueHistoryError(self.origin, f"the files of {at_source} hash to {trees.root}")
            made = wanted
        else:
            made = Commit(
                tree=trees.root,
                parent=wanted.parent,
                author=wanted.author,
                message=wanted.message,
                when=wanted.when,
            )
        first, *others = [*refs] or [_NOWHERE]
        request = CommitRequest(
            changes=dict(entries), message=made.message, author=made.author, when=made.when, ref=first
        )
        # Other writers wait for a transaction: files are looked into before it.
        hooks = self.target.hooks.looked_ahead(self.repository.kind, self.repository.name, entries)
        with self.target.database.transaction() as connection:
            for look in hooks.before:
                look(connection, self.repository, request)
            commits.write(connection, self.repository, made, trees, ref=first, request_key=key)
            revisions.remove_ref(connection, self.repository.id, _NOWHERE)
            for ref in others:
                revisions.set_ref(connection, self.repository.id, ref, made.sha1)
            for follow in hooks.after:
                follow(connection, self.repository, request, Committed(revision=made.sha1, is_new=True))
        self.done.num_commits += 1
        return made.sha1

    def _entry(self, revision: str, file: ListedFile) -> TreeEntry:
        sha256 = file.sha256 or self._known_sha256(file)
        if sha256 is None or self.target.content.size(sha256) != file.size_bytes:
            with self.target.content.writer() as writer:
                for piece in self.source.read(revision, file):
                    writer.write(piece)
                sha256 = writer.finish(file.sha256).sha256
            self.done.num_files += 1
            self.done.num_bytes += file.size_bytes
        if file.sha256 is not None and file.git_sha1 != blob_sha1(lfs_pointer(sha256, file.size_bytes)):
            raise UntrueHistoryError(self.origin, f"{file.path!r} has another pointer than its content")
        return TreeEntry(
            name=file.path,
            mode=FILE_MODE,
            git_sha1=file.git_sha1,
            sha256=sha256,
            size_bytes=file.size_bytes,
        )

    def _known_sha256(self, file: ListedFile) -> str | None:
        """Of a file whose git id some tree here has: then its content was compared with it when it came."""
        columns = entries_table.c
        query = sa.select(columns.sha256).where(
            columns.git_sha1 == file.git_sha1, columns.size_bytes == file.size_bytes
        )
        with self.target.database.reading() as connection:
            return connection.scalar(query.limit(1))

    def _set_refs(self, refs: Mapping[str, str]) -> None:
        with self.target.database.transaction() as connection:
            here = revisions.list_refs(connection, self.repository.id)
            for ref, revision in refs.items():
                if here.get(ref) != revision:
                    revisions.set_ref(connection, self.repository.id, ref, revision)
            for ref in here:
                if ref not in refs and ref != MAIN and ref.startswith((BRANCHES, TAGS)):
                    revisions.remove_ref(connection, self.repository.id, ref)
                    self.done.removed.append(ref)
        self.done.refs = dict(refs)


# Commits that no branch is on are written by way of this one.
_NOWHERE = f"{BRANCHES}.mirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A commit that is to be made from the files of a revision."""

    message: str
    parent: str | None
    when: datetime
    author: str = "mirror"


def _refs(
    hub: HubConnection, source: HubRevisions, info: Mapping[str, Any], log: LogWatch | None
) -> dict[str, str]:
    """Branches and tags of the other hub."""
    path = f"{source.api_path}/refs"
    number = str(info.get("_id", ""))
    if log is not None and re.fullmatch("[0-9a-f]{1,24}", number):
        refs = log.check(path, int(number, 16))
        return {ref: at for ref, at in refs.items() if ref.startswith((BRANCHES, TAGS))}
    told = hub.ask("GET", path)
    return {str(each["ref"]): str(each["targetCommit"]) for each in [*told["branches"], *told["tags"]]}


def _repository(target: Target, kind: Kind, name: str, visibility: Visibility) -> Repository:
    with target.database.transaction() as connection:
        found = catalogue.find(connection, kind, name)
        if found is None:
            return catalogue.create(connection, kind, name, visibility=visibility, when=target.now())
    return found.repository if isinstance(found, Moved) else found


def _exact_history(hub: HubConnection, kind: Kind, name: str) -> dict[str, Recorded] | None:
    """Every commit with its id; None where the other hub is none of Ayni."""
    owner, _, own_name = name.partition("/")
    path = f"/api/v1/repositories/{kind}s/{quoted(owner)}/{quoted(own_name)}/history"
    try:
        said = hub.ask("GET", path)
    except HubRefusedError as error:
        # A repository that may not be read was refused before; so this is an address that is not known.
        if error.status in (401, 403, 404, 405):
            return None
        raise
    except ValueError:
        return None
    try:
        found = [history_copy.from_json(each) for each in said["commits"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UntrueHistoryError(hub.url, str(error)) from error
    return {each.revision: each for each in found}


def _branches_of(history: Mapping[str, Recorded], refs: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The branch that each commit is on, so that it can be seen as soon as it is there; main first."""
    found: dict[str, tuple[str, ...]] = {}
    for ref in sorted(refs, key=lambda each: (each != MAIN, each)):
        at: str | None = refs[ref]
        while ref.startswith(BRANCHES) and at is not None and at in history and at not in found:
            found[at] = (ref,)
            at = history[at].commit.parent
    return found


def _is_mirrored(connection: sa.Connection, repository_id: int, revision: str) -> bool:
    made = revisions.read_commit(connection, repository_id, revision)
    return made is not None and "\nMirrored-from: " in made.message


def list_repositories(hub: HubConnection, kind: Kind, namespace: str | None) -> list[str]:
    """The names of the repositories of another hub that may be seen there."""
    query = {} if namespace is None else {"author": namespace}
    said = hub.pages(f"/api/{kind}s?{urllib.parse.urlencode({**query, 'limit': 1000})}")
    return [str(each["id"]) for each in said]


def mirror_folder(folder: Path, kind: Kind, name: str, target: Target) -> Mirrored:
    """Make what is in a folder the newest revision of a repository, unless it is already.

    Raises:
        UnreadableSourceError: it is no folder, or a file changed while it was read.
        FilePathError: a path that cannot be published.
    """
    if not folder.is_dir():
        raise UnreadableSourceError(str(folder), "it is no folder")
    files: dict[str, Path | bytes] = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and ".git" not in path.relative_to(folder).parts
    }
    files.pop(GITATTRIBUTES, None)
    check_sources(files)
    repository = _repository(target, kind, name, "public")
    entries = store_files(target.content, files)
    hooks = target.hooks.looked_ahead(kind, name, entries)
    done = Mirrored(repository=name, source=str(folder.absolute()), keeps_ids=False)
    with target.database.transaction() as connection:
        here = revisions.head(connection, repository.id)
        before = None if here is None else revisions.read_commit(connection, repository.id, here)
        trees = build_trees(entries)
        done.refs = {MAIN: here} if here is not None else {}
        if before is not None and before.tree == trees.root:
            return done
        made = Commit(
            tree=trees.root,
            parent=here,
            author="mirror",
            message=f"Mirror the folder {folder.name}",
            when=target.now(),
        )
        request = CommitRequest(
            changes=dict(entries), message=made.message, author=made.author, when=made.when
        )
        for look in hooks.before:
            look(connection, repository, request)
        commits.write(connection, repository, made, trees)
        for follow in hooks.after:
            follow(connection, repository, request, Committed(revision=made.sha1, is_new=True))
    done.refs = {MAIN: made.sha1}
    done.num_commits, done.num_files = 1, len(files)
    done.num_bytes = sum(each.size_bytes or 0 for each in entries.values())
    return done
