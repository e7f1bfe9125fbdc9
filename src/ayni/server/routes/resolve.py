"""Files of a revision: `resolve/{rev}/{path}`, by HEAD and GET, with ranges.

Every reply names the revision in X-Repo-Commit, also the one that there is no such file: clients keep that in
their cache. A repository's old name leads to its new one by a relative redirect.
"""

import logging
import urllib.parse

import sqlalchemy as sa
from starlette.background import BackgroundTask
from starlette.responses import Response

from ayni.errors import AyniError
from ayni.hub import revisions
from ayni.hub.git_objects import TreeEntry
from ayni.server.call import Call
from ayni.server.content_reply import content_reply
from ayni.server.descriptions import page_path, quoted
from ayni.server.errors import error_reply
from ayni.server.routes.xet import xet_headers
from ayni.server.routing import Route

REVISION_HEADER = "X-Repo-Commit"

_LOG = logging.getLogger(__name__)


def resolve(call: Call) -> Response:
    """`GET` or `HEAD /{repo}/resolve/{rev}/{path}`."""
    if call.moved_from is not None:
        return _redirect(call)
    path = call.parts["path"]
    with call.hub.database.reading() as connection:
        revision, entry = _find(connection, call, path)
        chunked = {} if entry is None else xet_headers(connection, call, entry.sha256 or "", revision)
    if entry is None or entry.is_folder:
        return error_reply(
            404,
            f"{call.repository.name} has no file {path!r} at {revision[:12]}.",
            code="EntryNotFound",
            headers={REVISION_HEADER: revision},
        )
    assert entry.sha256 is not None and entry.size_bytes is not None
    headers = {REVISION_HEADER: revision, **chunked}
    if entry.is_lfs:
        headers |= {
            "X-Linked-Etag": f'"{entry.sha256}"',
            "X-Linked-Size": str(entry.size_bytes),
        }
    reply = content_reply(
        call,
        entry.sha256,
        entry.size_bytes,
        etag=entry.sha256 if entry.is_lfs else entry.git_sha1,
        filename=path,
        headers=headers,
    )
    if _counts(call):
        # After the reply: readers wait for no writer, and a full disk keeps nobody from reading.
        reply.background = BackgroundTask(_write_counts, call)
    return reply


def _find(connection: sa.Connection, call: Call, path: str) -> tuple[str, TreeEntry | None]:
    revision = revisions.resolve(connection, call.repository, call.parts["rev"])
    commit = revisions.read_commit(connection, call.repository.id, revision)
    assert commit is not None
    return revision, revisions.find_entry(connection, commit.tree, path)


def _counts(call: Call) -> bool:
    """Note a download; whether it is time to write what was noted."""
    if call.request.method != "GET":
        return False
    address = "" if call.request.client is None else call.request.client.host
    client = call.caller.user or address
    return call.hub.downloads.note(call.repository.id, client, now=call.hub.now())


def _write_counts(call: Call) -> None:
    try:
        with call.hub.database.transaction() as connection:
            call.hub.downloads.write(connection)
    except AyniError as error:
        _LOG.warning("downloads were not counted: %s", error)


def _redirect(call: Call) -> Response:
    # Relative, so that clients keep their token: it goes to the same host.
    page = page_path(call.repository.kind, call.repository.name)
    path = urllib.parse.quote(call.parts["path"])
    query = call.request.url.query
    place = f"{page}/resolve/{quoted(call.parts['rev'])}/{path}{'?' + query if query else ''}"
    return Response(status_code=307, headers={"Location": place})


_PATTERN = "/{prefix}{repo}/resolve/{rev}/{path...}"

ROUTES = tuple(
    Route(method=method, pattern=_PATTERN, action="content.read", handler=resolve)
    for method in ("GET", "HEAD")
)
