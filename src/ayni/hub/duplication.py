"""A repository as another one: the same commits, branches and tags, and no byte copied.

Not covered: pull requests and discussions, which stay where they are.
"""

from datetime import datetime

import sqlalchemy as sa

from ayni.hub import catalogue, commit_log, revisions
from ayni.hub.card_index import tags_table
from ayni.hub.parameter_counts import parameters_table
from ayni.hub.repository import Repository, Visibility
from ayni.hub.revisions import PULL_REQUESTS
from ayni.hub.tables import commits_table, refs_table, repository_objects_table


def duplicate(
    connection: sa.Connection,
    source: Repository,
    name: str,
    *,
    visibility: Visibility,
    when: datetime,
) -> Repository:
    """A new repository with all that another has.

    Raises:
        RepositoryNameError, NameTakenError, RepositoryGoneError: as with `catalogue.create`.
    """
    # What asks for access goes on asking: who was let in there may not let in others here by a copy.
    made = catalogue.create(
        connection, source.kind, name, visibility=visibility, when=when, gated=source.gated
    )
    for table in (commits_table, refs_table, repository_objects_table, tags_table, parameters_table):
        # The sequence numbers all commits of the hub, so each copy gets its own.
        columns = [each for each in table.c if each.name not in ("repository_id", "sequence")]
        rows = sa.select(sa.literal(made.id), *columns).where(table.c.repository_id == source.id)
        if table is refs_table:
            rows = rows.where(sa.not_(refs_table.c.ref.startswith(PULL_REQUESTS)))
        if table is commits_table:
            rows = rows.order_by(commits_table.c.sequence)
        names = ["repository_id", *(each.name for each in columns)]
        connection.execute(table.insert().from_select(names, rows))
    for recorded in reversed(list(revisions.history(connection, made.id))):
        commit_log.append(
            connection, made.id, recorded.commit, revision=recorded.revision, ref=None, how="duplicate"
        )
    return made
