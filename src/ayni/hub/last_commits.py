"""Which commit changed each of some paths last.

The history is walked back from a revision; a path is settled at the first commit whose parent has another id
for it. Folders that did not change are the same tree and are looked up once.

    cost: one read for each folder on the way to a path, for each commit that changed that folder

Not covered: histories longer than `MAX_COMMITS`; what did not change within them stays without an answer.
"""

from collections.abc import Mapping

import sqlalchemy as sa

from ayni.hub import revisions
from ayni.hub.revisions import Recorded

MAX_COMMITS = 1_000


def find(
    connection: sa.Connection,
    repository_id: int,
    revision: str,
    ids: Mapping[str, str],
    *,
    limit: int = MAX_COMMITS,
) -> dict[str, Recorded]:
    """The last commit of each path.

    Args:
        connection: a transaction.
        repository_id: whose history it is.
        revision: where to begin.
        ids: the git id of each path at `revision`.
        limit: how many commits are looked at.
    """
    known: dict[tuple[str, str], str | None] = {}

    def id_at(tree: str, path: str) -> str | None:
        name, slash, rest = path.partition("/")
        if (tree, name) not in known:
            for entry in revisions.read_tree(connection, tree):
                known[tree, entry.name] = entry.git_sha1
            known.setdefault((tree, name), None)
        found = known[tree, name]
        return id_at(found, rest) if slash and found is not None else found

    open_paths, settled = dict(ids), {}
    walk = list(revisions.history(connection, repository_id, start=revision, limit=limit))
    for recorded, before in zip(walk, [*walk[1:], None], strict=True):
        if not open_paths:
            break
        if before is None and recorded.commit.parent is not None:
            break  # the walk ended before the history did
        for path, sha1 in list(open_paths.items()):
            if before is None or id_at(before.commit.tree, path) != sha1:
                settled[path] = recorded
                del open_paths[path]
    return settled
