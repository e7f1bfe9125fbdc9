"""What a revision holds: `tree` for folders, `paths-info` for single paths."""

import bisect
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from starlette.responses import JSONResponse, Response

from ayni.hub import last_commits, revisions
from ayni.hub.git_objects import TreeEntry
from ayni.hub.revisions import EntryNotFoundError
from ayni.server.call import Call
from ayni.server.descriptions import entry_json, last_commit_json
from ayni.server.errors import RefusedRequestError
from ayni.server.paging import next_link, page_size, read_cursor
from ayni.server.routing import Route

PAGE, EXPANDED_PAGE, LARGEST_PAGE = 1_000, 50, 10_000
MAX_PATHS = 2_000

Listed = Sequence[tuple[str, TreeEntry]]


def list_tree(call: Call) -> Response:
    """`GET .../tree/{rev}/{path}`: a folder, or with `recursive` all below it."""
    folder = call.parts.get("path", "").strip("/")
    is_expanded = call.flag("expand")
    limit = page_size(call, default=EXPANDED_PAGE if is_expanded else PAGE, largest=LARGEST_PAGE)
    after = read_cursor(call)
    if not isinstance(after, str | None):
        raise RefusedRequestError(400, "The cursor is none of this address. Begin at the first page.")
    with call.hub.database.reading() as connection:
        revision, tree = _tree_at(connection, call)
        below = _subtree(connection, call, revision, tree, folder)
        prefix = f"{folder}/" if folder else ""
        # One more than is shown tells whether there is a page after this one.
        found = _page(connection, call, below, after, limit + 1)
        shown = [(prefix + path, entry) for path, entry in found[:limit]]
        said = _described(connection, call, revision, shown, is_expanded=is_expanded)
    cursor = found[limit - 1][0] if len(found) > limit else None
    return JSONResponse(said, headers=next_link(call, cursor))


def show_paths(call: Call) -> Response:
    """`POST .../paths-info/{rev}`: paths that are not there are left out."""
    form = call.form()
    # No path of ours holds a NUL, and PostgreSQL takes none.
    paths = [each.strip("/") for each in form.get("paths", []) if "\0" not in each]
    if len(paths) > MAX_PATHS:
        raise RefusedRequestError(413, f"{len(paths)} paths are more than {MAX_PATHS}. Ask in parts.")
    is_expanded = form.get("expand", ["false"])[-1].lower() in ("true", "1")
    with call.hub.database.reading() as connection:
        revision, tree = _tree_at(connection, call)
        found = [(path, revisions.find_entry(connection, tree, path)) for path in dict.fromkeys(paths)]
        shown = [(path, entry) for path, entry in found if entry is not None]
        said = _described(connection, call, revision, shown, is_expanded=is_expanded)
    return JSONResponse(said)


def _page(connection: sa.Connection, call: Call, tree: str, after: str | None, limit: int) -> Listed:
    """So many entries behind a path, of a folder or of all below it."""
    if not call.flag("recursive"):
        # A folder of many thousand entries is read by the page, not whole for each of them.
        entries = revisions.read_tree(connection, tree, after=after, limit=limit)
        return [(each.name, each) for each in entries]
    found = call.hub.trees.walk(connection, tree)
    start = 0 if after is None else bisect.bisect_right(found, after, key=lambda pair: pair[0])
    return found[start : start + limit]


def _tree_at(connection: sa.Connection, call: Call) -> tuple[str, str]:
    revision = revisions.resolve(connection, call.repository, call.parts.get("rev"))
    commit = revisions.read_commit(connection, call.repository.id, revision)
    assert commit is not None
    return revision, commit.tree


def _subtree(connection: sa.Connection, call: Call, revision: str, tree: str, folder: str) -> str:
    if not folder:
        return tree
    entry = revisions.find_entry(connection, tree, folder)
    if entry is None or not entry.is_folder:
        raise EntryNotFoundError(call.repository.name, revision, folder)
    return entry.git_sha1


def _described(
    connection: sa.Connection, call: Call, revision: str, shown: Listed, *, is_expanded: bool
) -> list[dict[str, Any]]:
    said = [entry_json(path, entry) for path, entry in shown]
    _add_xet_hashes(connection, call, said)
    if is_expanded:
        ids = {path: entry.git_sha1 for path, entry in shown}
        found = last_commits.find(connection, call.repository.id, revision, ids)
        for each in said:
            if each["path"] in found:
                each["lastCommit"] = last_commit_json(found[each["path"]])
    return said


def _add_xet_hashes(connection: sa.Connection, call: Call, said: list[dict[str, Any]]) -> None:
    """For clients that download by chunks, or copy a file to another repository without its bytes."""
    digests = [each["lfs"]["oid"] for each in said if "lfs" in each]
    hashes = {} if call.hub.xet is None else call.hub.xet.file_hashes(connection, digests)
    for each in said:
        if "lfs" in each and each["lfs"]["oid"] in hashes:
            each["xetHash"] = hashes[each["lfs"]["oid"]]


ROUTES = (
    Route(method="GET", pattern="/api/{kind}/{repo}/tree/{rev}", action="repository.see", handler=list_tree),
    Route(
        method="GET",
        pattern="/api/{kind}/{repo}/tree/{rev}/{path...}",
        action="repository.see",
        handler=list_tree,
    ),
    Route(
        method="POST",
        pattern="/api/{kind}/{repo}/paths-info/{rev}",
        action="repository.see",
        handler=show_paths,
    ),
)
