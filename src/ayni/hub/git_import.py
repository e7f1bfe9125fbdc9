"""Fill a repository from one commit of a git repository, by dulwich; where it is from is kept with it.

    one commit is fetched -> its pack is measured -> its files are stored -> one commit that names its source

Only https, http and file addresses are fetched, and nothing of the source is run: no hooks, no filters, no
settings of git. Symbolic links, submodules and pointers of git-lfs are left out, and said to be.

Not covered: the history of the source, its branches, and files that only git-lfs has.
"""

import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from ayni.database import Database
from ayni.errors import MissingExtraError, UserError
from ayni.hub import catalogue, commits, git_http, large_files, revisions
from ayni.hub.commits import CommitHooks, CommitRequest, Committed
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
from ayni.hub.names import check_file_paths, check_repository_name
from ayni.hub.repository import Kind, Moved

MAX_FILES = 100_000
MAX_DEPTH = 64
CARD = "README.md"
_SCHEMES = ("https", "http", "file")
_COMMIT = re.compile("[0-9a-f]{40}")
_POINTER = b"version https://git-lfs.github.com/spec/v1\n"
_PROVENANCE = re.compile(r"^imported_from:\n(?:[ \t]+.*\n)*", re.MULTILINE)
_LINK, _SUBMODULE, _FOLDER = 0o120000, 0o160000, 0o040000
_OFFSET_DELTA, _REF_DELTA = 6, 7


class GitUrlError(UserError):
    """A git repository cannot be fetched from there."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        super().__init__(
            f"{url!r} cannot be imported: {reason}. Name an https://, http:// or file:// address, and a "
            "branch, a tag or a commit of 40 digits."
        )


class TooLargeImportError(UserError):
    """A git repository is larger than it may be."""

    def __init__(self, what: str, found: int, most: int) -> None:
        self.found = found
        self.most = most
        super().__init__(
            f"The import was broken off at {found} {what}; {most} are allowed. Nothing was kept. Allow more "
            "with --max-bytes if you know the source."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A commit that was fetched. `files` maps paths to ids of blobs in `store`; `left_out` says why not."""

    url: str
    commit: str
    tree: str
    subject: str
    files: Mapping[str, bytes]
    left_out: Mapping[str, str]
    store: Any = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did. `is_new` is False where this commit had been imported before."""

    repository: str
    revision: str
    url: str
    commit: str
    num_files: int
    left_out: Mapping[str, str]
    is_new: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "repository": self.repository,
            "revision": self.revision,
            "url": self.url,
            "commit": self.commit,
            "num_files": self.num_files,
            "left_out": dict(self.left_out),
            "is_new": self.is_new,
        }


@contextmanager
def fetch(url: str, wanted: str | None, *, max_bytes: int, allows_private: bool = False) -> Iterator[Fetched]:
    """One commit of a git repository: a branch, a tag or an id; the newest of HEAD without `wanted`.

    Of an http(s) server redirects to private addresses are followed only with `allows_private`.

    Raises:
        GitUrlError: no address that is fetched, no answer, or no such commit.
        TooLargeImportError: more bytes or files than allowed.
        MissingExtraError: dulwich is not installed.
    """
    try:
        from dulwich.repo import Repo
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra="git", package="dulwich") from error
    check_git_url(url)
    with tempfile.TemporaryDirectory(prefix="ayni-git-") as folder:
        repository = Repo.init_bare(folder)
        try:
            commit = _fetch_into(
                repository, _client_for(url, max_bytes, allows_private), url, wanted, max_bytes
            )
            files, left_out = _list_files(repository.object_store, commit.tree)
            yield Fetched(
                url=url,
                commit=commit.id.decode(),
                tree=commit.tree.decode(),
                subject=commit.message.decode(errors="replace").strip().partition("\n")[0][:200],
                files=files,
                left_out=left_out,
                store=repository.object_store,
            )
        finally:
            repository.close()


def check_git_url(url: str) -> None:
    """Refuse addresses that are not fetched.

    Raises:
        GitUrlError: another scheme, a secret in it, or no place.
    """
    parsed = urlsplit(url)
    if parsed.scheme not in _SCHEMES:
        raise GitUrlError(url, f"the scheme {parsed.scheme!r} is not fetched")
    if parsed.username or parsed.password:
        raise GitUrlError(
            f"{parsed.scheme}://***@{parsed.hostname}", "a password would be written into the card"
        )
    if parsed.scheme == "file" and (parsed.netloc or not Path(parsed.path).is_absolute()):
        raise GitUrlError(url, "file:// needs an absolute path")
    if parsed.scheme != "file" and not parsed.hostname:
        raise GitUrlError(url, "it names no host")


def write_import(
    fetched: Fetched,
    database: Database,
    content: ContentStore,
    *,
    kind: Kind,
    name: str,
    author: str,
    hooks: CommitHooks,
    now: datetime,
) -> Imported:
    """Make the files of a commit the newest revision of a repository, with where they are from.

    Raises:
        FilePathError: a path that cannot be published here; nothing is changed.
        CardMistakeError, RefusedFileError and others: what the hooks refuse.
    """
    check_repository_name(name)
    check_file_paths(fetched.files)
    key = f"import:{fetched.url}@{fetched.commit}"
    if (known := _imported_before(database, kind, name, key)) is not None:
        return _imported(fetched, name, known, is_new=False)
    entries = _store(fetched, content, now)
    trees = build_trees(entries)
    # Other writers wait for a transaction: files are looked into before it.
    hooks = hooks.looked_ahead(kind, name, entries)
    with database.transaction() as connection:
        found = catalogue.find(connection, kind, name)
        repository = found.repository if isinstance(found, Moved) else found
        if repository is None:
            repository = catalogue.create(connection, kind, name, visibility="public", when=now)
        here = revisions.head(connection, repository.id)
        made = Commit(tree=trees.root, parent=here, author=author, message=_message(fetched), when=now)
        request = CommitRequest(changes=dict(entries), message=made.message, author=author, when=now, key=key)
        for look in hooks.before:
            look(connection, repository, request)
        commits.write(connection, repository, made, trees, request_key=key)
        for follow in hooks.after:
            follow(connection, repository, request, Committed(revision=made.sha1, is_new=True))
    return _imported(fetched, name, made.sha1, is_new=True)


def card_with_provenance(card: str, fetched: Fetched, now: datetime) -> str:
    """A README that says in its metadata where the files are from."""
    said = (
        "imported_from:\n"
        f"  url: {_yaml_text(fetched.url)}\n"
        f"  commit: {fetched.commit}\n"
        f"  tree: {fetched.tree}\n"
        f"  imported_at: '{now.isoformat(timespec='seconds')}'\n"
    )
    card = card.replace("\r\n", "\n")
    begins, _, rest = card.partition("\n")
    end = re.search(r"^---[ \t]*$", rest, re.MULTILINE)
    if begins.strip() == "---" and end is not None:
        front = _PROVENANCE.sub("", rest[: end.start()])
        return f"---\n{front}{said}{rest[end.start() :]}"
    return f"---\n{said}---\n\n{card}"


def pack_content_bytes(pack: IO[bytes], *, most: int) -> int:
    """Bytes that the objects of a pack unpack to, without keeping them; stops above `most`.

    Source: git documentation, gitformat-pack: header of 12 bytes, then for each object its type and size in
    groups of 7 bits, for deltas their base, and a zlib stream; a delta begins with its own two sizes.

    Raises:
        TooLargeImportError: more than `most`.
        ValueError: it is no pack.
    """
    pack.seek(0)
    header = pack.read(12)
    if header[:4] != b"PACK":
        raise ValueError("no pack of git")
    reader, total = _PackReader(pack), 0
    for _ in range(int.from_bytes(header[8:], "big")):
        total += reader.next_size(most - total)
        if total > most:
            raise TooLargeImportError("unpacked bytes", total, most)
    return total


class _PackReader:
    """Walks over the objects of a pack."""

    def __init__(self, pack: IO[bytes]) -> None:
        self._pack = pack
        self._waiting = b""

    def next_size(self, most: int) -> int:
        """Bytes of the next object when it is whole."""
        byte = self._byte()
        kind, size, shift = byte >> 4 & 7, byte & 15, 4
        while byte & 128:
            byte = self._byte()
            size |= (byte & 127) << shift
            shift += 7
        if kind == _OFFSET_DELTA:
            while self._byte() & 128:
                pass
        elif kind == _REF_DELTA:
            for _ in range(20):
                self._byte()
        if size > most:
            raise TooLargeImportError("unpacked bytes", size, most)
        start = self._skip_stream(size)
        return _delta_target(start) if kind in (_OFFSET_DELTA, _REF_DELTA) else size

    def _byte(self) -> int:
        if not self._waiting:
            self._waiting = self._pack.read(1 << 16)
            if not self._waiting:
                raise ValueError("the pack ends early")
        first, self._waiting = self._waiting[0], self._waiting[1:]
        return first

    def _skip_stream(self, size: int) -> bytes:
        """Pass over one zlib stream; its first bytes."""
        stream, start, num_bytes = zlib.decompressobj(), b"", 0
        while not stream.eof:
            given = stream.unconsumed_tail or self._waiting or self._pack.read(1 << 16)
            if not given:
                raise ValueError("the pack ends early")
            if not stream.unconsumed_tail:
                self._waiting = b""
            try:
                out = stream.decompress(given, 1 << 16)
            except zlib.error as error:
                raise ValueError(f"the pack is damaged: {error}") from error
            start = (start + out)[:32] if len(start) < 32 else start
            num_bytes += len(out)
            if num_bytes > size:
                raise ValueError("an object of the pack is larger than it says")
        self._waiting = stream.unused_data + self._waiting
        return start


def _delta_target(start: bytes) -> int:
    position = 0
    for number in range(2):
        size, shift = 0, 0
        while True:
            byte = start[position]
            position += 1
            size |= (byte & 127) << shift
            shift += 7
            if not byte & 128:
                break
        if number == 1:
            return size
    raise AssertionError("there are two sizes")


def _client_for(url: str, max_bytes: int, allows_private: bool) -> tuple[Any, Any]:
    """A client of dulwich for an address, and the path that it takes."""
    if urlsplit(url).scheme == "file":
        from dulwich.client import get_transport_and_path
        from dulwich.config import ConfigFile

        return get_transport_and_path(url, config=ConfigFile(), quiet=True)

    def too_large(num_bytes: int) -> Exception:
        return TooLargeImportError("bytes", num_bytes, max_bytes)

    return git_http.open_http(url, max_bytes=max_bytes, allows_private=allows_private, too_large=too_large)


def _fetch_into(
    repository: Any, client_and_path: tuple[Any, Any], url: str, wanted: str | None, max_bytes: int
) -> Any:
    from dulwich.client import HTTPUnauthorized
    from dulwich.errors import GitProtocolError, NotGitRepository
    from dulwich.objects import Commit as GitCommit
    from dulwich.objects import Tag

    client, path = client_and_path
    chosen: list[bytes] = []

    def choose(refs: Mapping[bytes, bytes], depth: int | None = None) -> list[bytes]:
        chosen[:] = [_choose(url, refs, wanted)]
        return list(chosen)

    with tempfile.TemporaryFile(prefix="ayni-pack-") as pack:
        try:
            _receive(client, path, choose, repository.get_graph_walker(), pack=pack, max_bytes=max_bytes)
        except (GitProtocolError, NotGitRepository, HTTPUnauthorized, OSError, KeyError) as error:
            raise GitUrlError(url, f"it could not be fetched ({type(error).__name__}: {error})") from error
        except Exception as error:
            # urllib3 has errors of its own, which are no OSError.
            if type(error).__module__.partition(".")[0] != "urllib3":
                raise
            raise GitUrlError(url, f"it does not answer ({type(error).__name__})") from error
        if pack.tell():
            try:
                pack_content_bytes(pack, most=_unpacked_limit(max_bytes))
            except ValueError as error:
                raise GitUrlError(url, str(error)) from error
            pack.seek(0)
            repository.object_store.add_thin_pack(pack.read, None)
    try:
        found = repository.object_store[chosen[0]]
        while isinstance(found, Tag):
            found = repository.object_store[found.object[1]]
    except KeyError as error:
        raise GitUrlError(url, f"the commit {wanted} did not come") from error
    if not isinstance(found, GitCommit):
        raise GitUrlError(url, f"{wanted} is no commit")
    return found


def _receive(client: Any, path: Any, choose: Any, walker: Any, *, pack: IO[bytes], max_bytes: int) -> None:
    num_bytes = 0

    def take(piece: bytes) -> int:
        nonlocal num_bytes
        num_bytes += len(piece)
        if num_bytes > max_bytes:
            raise TooLargeImportError("bytes", num_bytes, max_bytes)
        return pack.write(piece)

    # One commit without its parents, where the other side can.
    client.fetch_pack(path, choose, walker, take, depth=1)


def _unpacked_limit(max_bytes: int) -> int:
    return 8 * max_bytes


def _choose(url: str, refs: Mapping[bytes, bytes], wanted: str | None) -> bytes:
    if wanted is None:
        if b"HEAD" not in refs:
            raise GitUrlError(url, "it has no commits")
        return refs[b"HEAD"]
    for name in (wanted, f"refs/heads/{wanted}", f"refs/tags/{wanted}"):
        if (found := refs.get(name.encode())) is not None:
            return found
    if _COMMIT.fullmatch(wanted):
        return wanted.encode()
    raise GitUrlError(url, f"it has no branch or tag {wanted!r}")


def _list_files(store: Any, root: bytes) -> tuple[dict[str, bytes], dict[str, str]]:
    files: dict[str, bytes] = {}
    left_out: dict[str, str] = {}
    waiting = [("", root, 0)]
    while waiting:
        prefix, tree, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise TooLargeImportError("folders below one another", depth, MAX_DEPTH)
        for entry in store[tree].items():
            path = prefix + entry.path.decode("utf-8", "surrogateescape")
            kind = entry.mode & 0o170000
            if kind == _FOLDER:
                waiting.append((f"{path}/", entry.sha, depth + 1))
            elif kind in (_LINK, _SUBMODULE):
                left_out[path] = "a symbolic link" if kind == _LINK else "a submodule"
            else:
                files[path] = entry.sha
            if len(files) + len(left_out) > MAX_FILES:
                raise TooLargeImportError("files", len(files) + len(left_out), MAX_FILES)
    for path, sha in list(files.items()):
        if store[sha].data.startswith(_POINTER):
            left_out[path] = "a pointer of git-lfs without its content"
            del files[path]
    return files, left_out


def _store(fetched: Fetched, content: ContentStore, now: datetime) -> dict[str, TreeEntry]:
    entries: dict[str, TreeEntry] = {}
    for path, sha in fetched.files.items():
        if path not in (CARD, GITATTRIBUTES):
            entries[path] = _store_file(content, path, fetched.store[sha].data)
    card = _text(fetched, CARD) or f"# {fetched.url.rstrip('/').rpartition('/')[2]}\n"
    entries[CARD] = _store_file(content, CARD, card_with_provenance(card, fetched, now).encode())
    large = [path for path, entry in entries.items() if entry.is_lfs]
    before = _text(fetched, GITATTRIBUTES).encode() or large_files.first_gitattributes()
    attributes = large_files.with_lines_for(before, large) or before
    entries[GITATTRIBUTES] = _store_file(content, GITATTRIBUTES, attributes)
    return entries


def _store_file(content: ContentStore, path: str, data: bytes) -> TreeEntry:
    with content.writer() as writer:
        writer.write(data)
        stored = writer.finish()
    is_large = large_files.is_large(path, len(data)) and path not in (CARD, GITATTRIBUTES)
    git_sha1 = blob_sha1(lfs_pointer(stored.sha256, len(data)) if is_large else data)
    return TreeEntry(name=path, mode=FILE_MODE, git_sha1=git_sha1, sha256=stored.sha256, size_bytes=len(data))


def _text(fetched: Fetched, path: str) -> str:
    sha = fetched.files.get(path)
    return "" if sha is None else fetched.store[sha].data.decode("utf-8", "replace")


def _message(fetched: Fetched) -> str:
    lines = [
        f"Import {fetched.url} at {fetched.commit[:12]}",
        "",
        fetched.subject.replace("\0", ""),
        "",
        f"Imported-from: {fetched.url}",
        f"Imported-commit: {fetched.commit}",
        f"Imported-tree: {fetched.tree}",
    ]
    lines += [f"Left-out: {path!r}, {reason}" for path, reason in list(fetched.left_out.items())[:100]]
    return "\n".join(lines)


def _imported_before(database: Database, kind: Kind, name: str, key: str) -> str | None:
    with database.reading() as connection:
        found = catalogue.find(connection, kind, name)
        repository = found.repository if isinstance(found, Moved) else found
        return None if repository is None else commits.revision_of_key(connection, repository.id, key)


def _imported(fetched: Fetched, name: str, revision: str, *, is_new: bool) -> Imported:
    return Imported(
        repository=name,
        revision=revision,
        url=fetched.url,
        commit=fetched.commit,
        num_files=len(fetched.files),
        left_out=fetched.left_out,
        is_new=is_new,
    )


def _yaml_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
