"""Commits over HTTP: which files go where (`preupload`), and the commit itself, line by line.

    bytes of each line are stored -> files are looked into -> one transaction: may it be, is it new, trees,
    commit, branch -> reply

A commit that is cut off anywhere before the transaction leaves only bytes that nothing names.
"""

from collections.abc import Mapping

import pydantic
import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from ayni.hub import commits, discussions, large_files, pull_requests, revisions, uploads
from ayni.hub.commit_lines import MAX_LINE_BYTES, CommitLines
from ayni.hub.commits import CommitRequest, Committed
from ayni.hub.content_safety import look_ahead
from ayni.hub.discussions import DiscussionNotFoundError
from ayni.hub.first_commit import store_gitattributes
from ayni.hub.git_objects import GITATTRIBUTES, TreeEntry
from ayni.hub.gitignore import Ignored
from ayni.hub.permissions import allowed, readable
from ayni.hub.repository import Repository
from ayni.hub.revisions import BRANCHES, PULL_REQUESTS, RevisionNotFoundError
from ayni.server.bodies import lines
from ayni.server.call import Call, Text
from ayni.server.descriptions import page_path
from ayni.server.errors import RefusedRequestError
from ayni.server.routing import Route

MAX_FILES = 256
MAX_COMMIT_BYTES = 1 << 30
# Files inside a commit are stored as they come, so a quota is asked on the way.
CHECKED_EVERY_BYTES = 16 << 20
_GITIGNORE = ".gitignore"
_MAX_GITIGNORE_BYTES = 1 << 20


class File(pydantic.BaseModel):
    """A file that is to come."""

    path: Text
    size: int = pydantic.Field(ge=0)
    sample: str = ""


class Preupload(pydantic.BaseModel):
    """Files that are to come."""

    files: list[File] = pydantic.Field(max_length=MAX_FILES)
    gitIgnore: str | None = None  # noqa: N815 - the clients' word


def preupload(call: Call) -> Response:
    """`POST .../preupload/{rev}`: how each file is to be sent, and what is there now."""
    asked = call.body(Preupload)
    with call.hub.database.reading() as connection:
        tree = _tree_of_branch(connection, call)
        call.hub.check_upload(connection, call.caller, call.repository, _new_bytes(connection, tree, asked))
        ignored = Ignored(_ignore_rules(connection, call, asked, tree))
        said = [_destiny(connection, tree, each, ignored) for each in asked.files]
    return JSONResponse({"files": said})


async def commit(call: Call) -> Response:
    """`POST .../commit/{rev}`: newline-delimited JSON."""
    # Before anything is taken, and again when it is committed.
    await run_in_threadpool(_refuse_early, call)
    taken = CommitLines(content=call.hub.content)
    num_checked = 0
    async for several in lines(call.request, max_line_bytes=MAX_LINE_BYTES, max_bytes=MAX_COMMIT_BYTES):
        await run_in_threadpool(_take, taken, several)
        if taken.num_inline_bytes - num_checked > CHECKED_EVERY_BYTES:
            num_checked = taken.num_inline_bytes
            await run_in_threadpool(_check_so_far, call, taken)
    return await run_in_threadpool(_commit, call, taken)


def _refuse_early(call: Call) -> None:
    number = pull_requests.number_of(call.parts["rev"])
    if number is not None and not call.flag("create_pr"):
        with call.hub.database.reading() as connection:
            _check_may_add(connection, call, number)


def _take(taken: CommitLines, several: list[bytes]) -> None:
    for line in several:
        taken.take(line)


def _check_so_far(call: Call, taken: CommitLines) -> None:
    with call.hub.database.reading() as connection:
        call.hub.check_upload(connection, call.caller, call.repository, _sizes(taken.files))


def _commit(call: Call, taken: CommitLines) -> Response:
    hub, repository = call.hub, call.repository
    with hub.database.reading() as connection:
        sizes = _known_sizes(connection, call, taken)
    # A row says that it came, the store that it is still there: a restored backup may lack it.
    stored = {digest for digest in sizes if hub.content.has(digest)}
    # Looking into files takes time, and all other writers wait for a transaction.
    changes = taken.changes({digest: sizes[digest] for digest in stored})
    looked = look_ahead(hub.database, hub.content, repository.kind, repository.name, _files(changes))

    def work(connection: sa.Connection) -> tuple[Committed, str | None]:
        now_known = _known_sizes(connection, call, taken)
        changes = taken.changes({digest: size for digest, size in now_known.items() if digest in stored})
        derived = _attributes(connection, call, taken)
        hub.check_upload(connection, call.caller, repository, _sizes({**changes, **derived}))
        request = CommitRequest(
            changes=changes,
            derived=derived,
            message=taken.message,
            author=call.author,
            when=hub.now(),
            parent=taken.parent,
            ref=branch_ref(call.parts["rev"]),
        )
        request, url = _addressed(connection, call, taken, request)
        return commits.commit(connection, repository, request, hooks=hub.commit_hooks_after(looked)), url

    committed, url = hub.database.run(work)
    return JSONResponse(_answer(call, repository, committed, url))


def _known_sizes(connection: sa.Connection, call: Call, taken: CommitLines) -> dict[str, int]:
    digests = [each.sha256 for each in taken.large_files.values()]
    return uploads.known_sizes(connection, call.repository.id, digests, readable=readable(call.caller))


def _files(changes: Mapping[str, TreeEntry | None]) -> dict[str, TreeEntry]:
    return {path: entry for path, entry in changes.items() if entry is not None}


def _sizes(changes: Mapping[str, TreeEntry | None]) -> dict[str, int]:
    """What a quota counts: bytes by SHA-256."""
    return {str(entry.sha256): entry.size_bytes or 0 for entry in _files(changes).values()}


def _new_bytes(connection: sa.Connection, tree: str | None, asked: Preupload) -> int:
    """Bytes that are to come, without files that seem to be there already."""
    num_bytes = 0
    for file in asked.files:
        entry = None if tree is None else revisions.find_entry(connection, tree, file.path)
        num_bytes += 0 if entry is not None and entry.size_bytes == file.size else file.size
    return num_bytes


def _addressed(
    connection: sa.Connection, call: Call, taken: CommitLines, request: CommitRequest
) -> tuple[CommitRequest, str | None]:
    """The request with the ref that it goes to, and the page of the pull request that it asks for."""
    if call.flag("create_pr"):
        found = pull_requests.request_for_new(
            connection, call.repository, request, title=taken.summary, text=taken.description
        )
        page = page_path(call.repository.kind, call.repository.name)
        number = pull_requests.number_of(found.ref)
        return found, call.url(f"{page}/discussions/{number}")
    if (number := pull_requests.number_of(request.ref)) is not None:
        _check_may_add(connection, call, number)
    return request, None


def _check_may_add(connection: sa.Connection, call: Call, number: int) -> None:
    """Commits to a pull request come from who opened it, or who may commit to main, while it is open."""
    try:
        discussion = discussions.find(connection, call.repository, number)
    except DiscussionNotFoundError as error:
        known = list(revisions.list_refs(connection, call.repository.id).values())
        raise RevisionNotFoundError(call.repository.name, pull_requests.ref_of(number), known, 0) from error
    if not call.is_by(discussion.author) and allowed(call.caller, "content.write", call.repository) != "yes":
        raise RefusedRequestError(
            403, f"Pull request {number} is {discussion.author}'s. Open one of your own, or comment on it."
        )
    if not discussion.is_open:
        raise RefusedRequestError(409, f"Pull request {number} is {discussion.status} and takes no commits.")


def branch_ref(revision: str) -> str:
    """The ref that a commit goes to: a branch by its name, or the full ref of a branch or pull request.

    Raises:
        RefusedRequestError: a tag, or another ref that stays where it is (400).
    """
    if not revision.startswith("refs/"):
        return f"{BRANCHES}{revision}"
    if not revision.startswith((BRANCHES, PULL_REQUESTS)):
        raise RefusedRequestError(400, f"Commits go to branches and pull requests, not to {revision!r}.")
    return revision


def _answer(call: Call, repository: Repository, committed: Committed, url: str | None) -> dict[str, object]:
    page = page_path(repository.kind, repository.name)
    said: dict[str, object] = {
        "success": True,
        "commitUrl": call.url(f"{page}/commit/{committed.revision}"),
        "commitOid": committed.revision,
        "hookOutput": "",
    }
    if url is not None:
        said["pullRequestUrl"] = url
    return said


def _tree_of_branch(connection: sa.Connection, call: Call) -> str | None:
    """The tree that a commit would change; None in a repository without commits."""
    revision = "main" if call.flag("create_pr") else call.parts["rev"]
    here = revisions.head(connection, call.repository.id, branch_ref(revision))
    if here is None and revision == "main":
        return None
    if here is None:
        here = revisions.resolve(connection, call.repository, revision)
    found = revisions.read_commit(connection, call.repository.id, here)
    return None if found is None else found.tree


def _destiny(connection: sa.Connection, tree: str | None, file: File, ignored: Ignored) -> dict[str, object]:
    mode = "lfs" if large_files.is_large(file.path, file.size) else "regular"
    entry = None if tree is None else revisions.find_entry(connection, tree, file.path)
    said: dict[str, object] = {
        "path": file.path,
        "uploadMode": mode,
        "shouldIgnore": ignored.covers(file.path),
    }
    if entry is not None and not entry.is_folder:
        # What the client compares with: it skips a file that is there already.
        said["oid"] = entry.sha256 if mode == "lfs" else entry.git_sha1
    return said


def _ignore_rules(connection: sa.Connection, call: Call, asked: Preupload, tree: str | None) -> str:
    if asked.gitIgnore is not None:
        return asked.gitIgnore
    return _text_at(connection, call, tree, _GITIGNORE).decode(errors="replace")


def _attributes(connection: sa.Connection, call: Call, taken: CommitLines) -> dict[str, TreeEntry | None]:
    """A new `.gitattributes` where large files come that it does not cover."""
    if not taken.large_files or GITATTRIBUTES in (*taken.files, *taken.deleted_files):
        return {}
    tree = _tree_of_branch(connection, call)
    before = _text_at(connection, call, tree, GITATTRIBUTES)
    after = large_files.with_lines_for(before, taken.large_files)
    # Stored inside the transaction, which is rare and short, so that no other commit comes between.
    return {} if after is None else {GITATTRIBUTES: store_gitattributes(call.hub.content, after)}


def _text_at(connection: sa.Connection, call: Call, tree: str | None, path: str) -> bytes:
    entry = None if tree is None else revisions.find_entry(connection, tree, path)
    if entry is None or entry.sha256 is None:
        return b""
    return b"".join(call.hub.content.read(entry.sha256, 0, _MAX_GITIGNORE_BYTES))


ROUTES = (
    Route(
        method="POST",
        pattern="/api/{kind}/{repo}/preupload/{rev}",
        action="content.write",
        proposed_action="content.propose",
        handler=preupload,
    ),
    Route(
        method="POST",
        pattern="/api/{kind}/{repo}/commit/{rev}",
        action="content.write",
        proposed_action="content.propose",
        body="stream",
        handler=commit,
    ),
)
