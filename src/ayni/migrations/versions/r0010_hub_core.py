"""Repositories become numbers that names point to, and say which content they have."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0005"
branch_labels = None
depends_on = None

_LEVELS_AT_MOST = 1_000


def upgrade() -> None:
    for table in ("hub_repositories", "hub_refs", "hub_commits"):
        op.rename_table(table, f"{table}_0002")
    _create_tables()
    _copy_rows(op.get_bind())
    for table in ("hub_repositories", "hub_refs", "hub_commits"):
        op.drop_table(f"{table}_0002")


def downgrade() -> None:
    raise NotImplementedError("names and numbers of repositories cannot go back into the tables of 0002")


def _create_tables() -> None:
    op.create_table(
        "hub_repositories",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("visibility", sa.String(), nullable=False),
        sa.Column("gated", sa.String(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.Column("updated_at", sa.String(), nullable=False),
        sa.Column("deleted_at", sa.String(), nullable=True),
        sa.Column("num_downloads", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("num_likes", sa.Integer(), nullable=False, server_default="0"),
        # The old table keeps its name of the key until its rows are copied.
        sa.PrimaryKeyConstraint("id", name="pk_hub_repositories_id"),
    )
    op.create_index("ix_hub_repositories_kind", "hub_repositories", ["kind", "updated_at"])
    op.create_table(
        "hub_names",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name="pk_hub_names"),
    )
    op.create_table(
        "hub_refs",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("revision", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "ref", name="pk_hub_refs_id"),
    )
    op.create_table(
        "hub_commits",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.String(), nullable=False),
        sa.Column("parent", sa.String(), nullable=True),
        sa.Column("tree", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("committed_at", sa.String(), nullable=False),
        sa.Column("request_key", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("sequence", name="pk_hub_commits_sequence"),
        sa.UniqueConstraint("repository_id", "revision", name="uq_hub_commits_repository_revision"),
    )
    op.create_index("ix_hub_commits_request", "hub_commits", ["repository_id", "request_key"])
    op.create_table(
        "hub_repository_objects",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "sha256", name="pk_hub_repository_objects"),
    )
    op.create_index("ix_hub_repository_objects_sha256", "hub_repository_objects", ["sha256"])
    _create_tables_of_uploads()
    op.create_table(
        "hub_tags",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "tag", name="pk_hub_tags"),
    )
    op.create_index("ix_hub_tags_tag", "hub_tags", ["tag"])


def _create_tables_of_uploads() -> None:
    op.create_table(
        "hub_received",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "sha256", name="pk_hub_received"),
    )
    op.create_table(
        "hub_uploads",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("part_bytes", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hub_uploads"),
        sa.UniqueConstraint("repository_id", "sha256", name="uq_hub_uploads_repository_id"),
    )
    op.create_table(
        "hub_upload_parts",
        sa.Column("upload_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("upload_id", "number", name="pk_hub_upload_parts"),
    )


def _copy_rows(connection: sa.Connection) -> None:
    run = connection.exec_driver_sql
    run(
        "INSERT INTO hub_repositories (kind, name, visibility, gated, created_at, updated_at) "
        "SELECT 'model', name, 'public', 'no', created_at, COALESCE((SELECT MAX(committed_at) FROM "
        "hub_commits_0002 AS c WHERE c.repository = r.name), created_at) FROM hub_repositories_0002 AS r "
        "ORDER BY created_at, name"
    )
    run(
        "INSERT INTO hub_names (kind, key, repository_id) SELECT 'model', old.key, new.id FROM "
        "hub_repositories_0002 AS old JOIN hub_repositories AS new ON new.name = old.name"
    )
    run(
        "INSERT INTO hub_refs (repository_id, ref, revision) SELECT new.id, old.ref, old.revision FROM "
        "hub_refs_0002 AS old JOIN hub_repositories AS new ON new.name = old.repository"
    )
    run(
        "INSERT INTO hub_commits (repository_id, revision, parent, tree, author, message, committed_at, "
        "request_key) SELECT new.id, old.revision, old.parent, old.tree, old.author, old.message, "
        "old.committed_at, old.publish_key FROM hub_commits_0002 AS old JOIN hub_repositories AS new "
        "ON new.name = old.repository ORDER BY old.sequence"
    )
    _link_objects(connection)


def _link_objects(connection: sa.Connection) -> None:
    """Which content each repository has: every file below the trees of its commits, level by level."""
    entries = sa.table(
        "hub_entries",
        sa.column("tree"),
        sa.column("mode"),
        sa.column("git_sha1"),
        sa.column("sha256"),
        sa.column("size_bytes"),
    )
    commits = sa.table("hub_commits", sa.column("repository_id"), sa.column("tree"))
    links = sa.table(
        "hub_repository_objects", sa.column("repository_id"), sa.column("sha256"), sa.column("size_bytes")
    )
    level = {(row.repository_id, row.tree) for row in connection.execute(sa.select(commits))}
    seen: set[tuple[int, str]] = set()
    found: dict[tuple[int, str], int] = {}
    for _ in range(_LEVELS_AT_MOST):
        if not level:
            break
        seen |= level
        below: set[tuple[int, str]] = set()
        for repository_id, tree in level:
            for row in connection.execute(sa.select(entries).where(entries.c.tree == tree)):
                if row.sha256 is not None:
                    found[repository_id, row.sha256] = row.size_bytes
                else:
                    below.add((repository_id, row.git_sha1))
        level = below - seen
    rows = [
        {"repository_id": repository_id, "sha256": sha256, "size_bytes": size}
        for (repository_id, sha256), size in sorted(found.items())
    ]
    if rows:
        connection.execute(links.insert(), rows)
