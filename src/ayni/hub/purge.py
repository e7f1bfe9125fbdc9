"""Take content out of a repository for good: its history is written again as if it had never been there.

    each commit, oldest first -> the same without the files -> a new id -> refs go to the new commits

Commits get new ids, because an id says what is in a commit. The old commits are removed, and so is the link
from the repository to the content; the bytes go with the next garbage collection unless others have them.

Not covered: commits that no ref leads to and that nobody asked about; they are removed as well.
"""

from collections.abc import Collection
from dataclasses import replace

import sqlalchemy as sa

from ayni.hub import commits, revisions
from ayni.hub.git_objects import TreeEntry, Trees
from ayni.hub.repository import Repository
from ayni.hub.tables import commits_table, repository_objects_table
from ayni.hub.tree_changes import changed_trees
from ayni.hub.uploads import received_table


def remove_content(connection: sa.Connection, repository: Repository, digests: Collection[str]) -> None:
    """Remove every file with one of these contents from all revisions of a repository."""
    refs = revisions.list_refs(connection, repository.id)
    before = _reachable(connection, repository.id, refs.values())
    _remove_rows(connection, repository.id, digests)
    new_ids: dict[str, str] = {}
    for recorded in before:
        trees = _without(connection, recorded.commit.tree, digests)
        parent = recorded.commit.parent
        made = replace(recorded.commit, tree=trees.root, parent=None if parent is None else new_ids[parent])
        new_ids[recorded.revision] = made.sha1
        refs_here = [ref for ref, at in refs.items() if at == recorded.revision]
        # Refs are put in place below; the first one here is only where the commit is written.
        ref = refs_here[0] if refs_here else _NOWHERE
        commits.write(connection, repository, made, trees, ref=ref, how="rewrite")
    revisions.remove_ref(connection, repository.id, _NOWHERE)
    for ref, at in refs.items():
        revisions.set_ref(connection, repository.id, ref, new_ids[at])


_NOWHERE = "refs/heads/.purge"


def _reachable(
    connection: sa.Connection, repository_id: int, revisions_of_refs: Collection[str]
) -> list[revisions.Recorded]:
    """All commits that a ref leads to, parents first."""
    found: dict[str, revisions.Recorded] = {}
    for start in set(revisions_of_refs):
        for recorded in revisions.history(connection, repository_id, start=start):
            found[recorded.revision] = recorded
    ordered: list[revisions.Recorded] = []
    done: set[str] = set()
    for recorded in found.values():
        chain = []
        at: str | None = recorded.revision
        while at is not None and at not in done:
            chain.append(found[at])
            done.add(at)
            at = found[at].commit.parent
        ordered += reversed(chain)
    return ordered


def _remove_rows(connection: sa.Connection, repository_id: int, digests: Collection[str]) -> None:
    connection.execute(commits_table.delete().where(commits_table.c.repository_id == repository_id))
    for table in (repository_objects_table, received_table):
        here = sa.and_(table.c.repository_id == repository_id, table.c.sha256.in_(list(digests)))
        connection.execute(table.delete().where(here))


def _without(connection: sa.Connection, tree: str, digests: Collection[str]) -> Trees:
    gone: dict[str, TreeEntry | None] = {
        path: None
        for path, entry in revisions.walk(connection, tree)
        if entry.sha256 is not None and entry.sha256 in digests
    }
    if not gone:
        return Trees(root=tree, entries={})
    return changed_trees(tree, gone, lambda each: revisions.read_tree(connection, each))
