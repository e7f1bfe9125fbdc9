"""The history of a revision, and what one commit changed.

Not covered: the lines that changed within a file.
"""

from dataclasses import dataclass

from starlette.responses import Response

from ayni.hub import revisions
from ayni.hub.git_objects import TreeEntry
from ayni.server.routing import Route
from ayni.server.web.repository_frame import at, file_address, frame
from ayni.server.web.visit import Visit, with_query

PAGE = 50
MOST_CHANGES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A file that a commit added, changed or removed."""

    what: str
    path: str
    address: str
    before_bytes: int | None
    after_bytes: int | None


def show_history(visit: Visit) -> Response:
    """`GET /{repo}/commits/{rev}`."""
    values = frame(visit, "history")
    with visit.hub.database.reading() as connection:
        here = at(connection, visit)
        start = here.revision
        if asked := visit.query("start"):
            start = revisions.resolve(connection, visit.repository, asked)
        found = list(revisions.history(connection, visit.repository.id, start=start, limit=PAGE + 1))
    more = with_query(visit.path, start=found[PAGE].revision) if len(found) > PAGE else None
    return visit.show("history.html.j2", **values, here=here, commits=found[:PAGE], more=more)


def show_commit(visit: Visit) -> Response:
    """`GET /{repo}/commit/{rev}`."""
    values = frame(visit, "history")
    with visit.hub.database.reading() as connection:
        here = at(connection, visit)
        after = visit.hub.trees.files(connection, here.commit.tree)
        before: dict[str, TreeEntry] = {}
        if here.commit.parent is not None:
            parent = revisions.read_commit(connection, visit.repository.id, here.commit.parent)
            before = {} if parent is None else visit.hub.trees.files(connection, parent.tree)
    changes = _changes(values["page"], here.revision, before, after)
    title, _, rest = here.commit.message.partition("\n")
    return visit.show(
        "commit.html.j2",
        **values,
        here=here,
        title=title,
        rest=rest.strip(),
        changes=changes[:MOST_CHANGES],
        num_more=max(0, len(changes) - MOST_CHANGES),
    )


def _changes(
    page: str, revision: str, before: dict[str, TreeEntry], after: dict[str, TreeEntry]
) -> list[Change]:
    found = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is not None and new is not None and old.git_sha1 == new.git_sha1:
            continue
        found.append(
            Change(
                what="added" if old is None else "removed" if new is None else "changed",
                path=path,
                address="" if new is None else file_address(page, "blob", revision, path),
                before_bytes=None if old is None else old.size_bytes,
                after_bytes=None if new is None else new.size_bytes,
            )
        )
    return found


_PAGE = "/{prefix}{page}"

ROUTES = (
    Route(method="GET", pattern=_PAGE + "/commits/{rev}", action="repository.see", handler=show_history),
    Route(method="GET", pattern=_PAGE + "/commit/{rev}", action="repository.see", handler=show_commit),
)
