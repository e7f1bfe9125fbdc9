"""Commits and trees that no ref leads to: what a squash, a deleted branch or a deleted repository leaves.

    repository deleted long enough ago    its commits, refs and links go; its names stay taken for ever
    commit that no ref leads to           noted, and removed when it is seen so again a grace period later
    tree that no commit has               removed with what is below it

A repository's links to content follow its commits, so that content is freed next.

Not covered: the bytes (`collection.py`).
"""

from collections.abc import Collection, Iterable
from datetime import datetime

import sqlalchemy as sa

from ayni.database import Database
from ayni.hub import garbage, revisions
from ayni.hub.git_objects import TREE_MODE
from ayni.hub.revisions import MAX_VARIABLES
from ayni.hub.tables import (
    commits_table,
    entries_table,
    refs_table,
    repositories_table,
    repository_objects_table,
)
from ayni.hub.uploads import received_table
from ayni.hub.xet.tables import holders_table

_ATTEMPTS = 3


def free_deleted_repositories(connection: sa.Connection, *, before: datetime) -> int:
    """Let go of what repositories had that were deleted before a moment; how many."""
    places = repositories_table.c
    gone = sa.select(places.id).where(places.deleted_at < before.isoformat())
    has_rows = sa.or_(
        *(
            sa.exists().where(table.c.repository_id == places.id)
            for table in (commits_table, repository_objects_table, received_table, holders_table)
        )
    )
    numbers = list(connection.scalars(gone.where(has_rows)))
    for number in numbers:
        for table in (
            commits_table,
            refs_table,
            repository_objects_table,
            received_table,
            holders_table,
        ):
            connection.execute(table.delete().where(table.c.repository_id == number))
    return len(numbers)


def unreachable_commits(connection: sa.Connection) -> dict[int, list[str]]:
    """Revisions that no ref leads to, by number of repository."""
    columns = commits_table.c
    parents: dict[int, dict[str, str | None]] = {}
    for row in connection.execute(sa.select(columns.repository_id, columns.revision, columns.parent)):
        parents.setdefault(row.repository_id, {})[row.revision] = row.parent
    heads: dict[int, list[str]] = {}
    for ref in connection.execute(sa.select(refs_table)):
        heads.setdefault(ref.repository_id, []).append(ref.revision)
    found = {}
    for number, known in parents.items():
        left = set(known) - _ancestry(known, heads.get(number, ()))
        if left:
            found[number] = sorted(left)
    return found


def free_commits(database: Database, *, now: datetime, before: datetime) -> int:
    """Note commits that no ref leads to, and remove those noted before a moment; how many were removed."""
    with database.transaction() as connection:
        unreachable = unreachable_commits(connection)
        names = {_name(number, each) for number, several in unreachable.items() for each in several}
        noted = garbage.noted_since(connection, "commit", names)
        garbage.forget(connection, "commit", set(garbage.all_noted(connection, "commit")) - names)
        garbage.note(connection, "commit", names - set(noted), now=now)
        due = {name for name, since in noted.items() if since is not None and since <= before}
        if before >= now:
            due = names
        num_removed = 0
        for number, several in unreachable.items():
            gone = [each for each in several if _name(number, each) in due]
            if gone:
                num_removed += _remove_commits(connection, number, gone)
        garbage.forget(connection, "commit", due)
    return num_removed


def unreachable_trees(connection: sa.Connection) -> set[str]:
    """Trees that hang below no commit. Cost: one pass over all commits and all entries for folders."""
    columns = entries_table.c
    below: dict[str, list[str]] = {}
    for row in connection.execute(sa.select(columns.tree, columns.git_sha1).where(columns.mode == TREE_MODE)):
        below.setdefault(row.tree, []).append(row.git_sha1)
    left = set(connection.scalars(sa.select(columns.tree).distinct()))
    waiting = list(connection.scalars(sa.select(commits_table.c.tree).distinct()))
    seen: set[str] = set()
    while waiting:
        tree = waiting.pop()
        if tree not in seen:
            seen.add(tree)
            waiting += below.get(tree, ())
    return left - seen


def free_trees(database: Database) -> int:
    """Remove trees that hang below no commit; how many. None when commits do not stop coming.

    What is unreachable is found out while others write. It is removed only if no commit came since: a commit
    may name a tree that was there already.
    """
    for _ in range(_ATTEMPTS):
        with database.reading() as connection:
            state, trees = _state(connection), sorted(unreachable_trees(connection))
        if not trees:
            return 0
        with database.transaction() as connection:
            if _state(connection) != state:
                continue
            for start in range(0, len(trees), MAX_VARIABLES):
                part = trees[start : start + MAX_VARIABLES]
                connection.execute(entries_table.delete().where(entries_table.c.tree.in_(part)))
        return len(trees)
    return 0


def _state(connection: sa.Connection) -> tuple[int, int]:
    counts = sa.select(sa.func.count(), sa.func.max(commits_table.c.sequence)).select_from(commits_table)
    row = connection.execute(counts).one()
    return row[0], row[1] or 0


def _ancestry(parents: dict[str, str | None], heads: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    for head in heads:
        at: str | None = head
        while at is not None and at in parents and at not in seen:
            seen.add(at)
            at = parents[at]
    return seen


def _name(number: int, revision: str) -> str:
    return f"{number}:{revision}"


def _remove_commits(connection: sa.Connection, number: int, gone: Collection[str]) -> int:
    columns = commits_table.c
    for start in range(0, len(gone), MAX_VARIABLES):
        part = list(gone)[start : start + MAX_VARIABLES]
        here = sa.and_(columns.repository_id == number, columns.revision.in_(part))
        connection.execute(commits_table.delete().where(here))
    _trim_links(connection, number)
    return len(gone)


def _trim_links(connection: sa.Connection, number: int) -> None:
    """Take away links to content that no commit of a repository has any more."""
    trees = connection.scalars(
        sa.select(commits_table.c.tree).distinct().where(commits_table.c.repository_id == number)
    )
    kept = {
        entry.sha256
        for tree in list(trees)
        for _, entry in revisions.walk(connection, tree)
        if entry.sha256 is not None
    }
    links = repository_objects_table.c
    linked = set(connection.scalars(sa.select(links.sha256).where(links.repository_id == number)))
    gone = sorted(linked - kept)
    for start in range(0, len(gone), MAX_VARIABLES):
        here = sa.and_(links.repository_id == number, links.sha256.in_(gone[start : start + MAX_VARIABLES]))
        connection.execute(repository_objects_table.delete().where(here))
