"""Discussions, likes, leaderboards, and the log of commits; it begins with the commits that are there."""

import json
import secrets
from hashlib import sha256

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hub_discussions",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.Column("base_revision", sa.String(), nullable=True),
        sa.Column("merge_revision", sa.String(), nullable=True),
        sa.Column("request_key", sa.String(), nullable=True),
        sa.Column("answer", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("repository_id", "number", name="pk_hub_discussions"),
    )
    op.create_index("ix_hub_discussions_request", "hub_discussions", ["repository_id", "request_key"])
    op.create_table(
        "hub_discussion_events",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.Column("data", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_hub_discussion_events"),
    )
    op.create_index("ix_hub_discussion_events_number", "hub_discussion_events", ["repository_id", "number"])
    op.create_table(
        "hub_likes",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("user_key", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("liked_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "user_key", name="pk_hub_likes"),
    )
    op.create_index("ix_hub_likes_user", "hub_likes", ["user_key"])
    _make_leaderboards()
    _begin_log()


def _make_leaderboards() -> None:
    op.create_table(
        "hub_evaluations",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("filename", sa.String(), nullable=False),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("dataset_key", sa.String(), nullable=False),
        sa.Column("measure", sa.String(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("claim", sa.String(), nullable=False),
        sa.Column("public_key", sa.String(), nullable=True),
        sa.Column("measured", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "number", name="pk_hub_evaluations"),
    )
    op.create_index("ix_hub_evaluations_dataset", "hub_evaluations", ["dataset_key", "measure"])
    op.create_table(
        "hub_run_keys",
        sa.Column("public_key", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("added_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("public_key", name="pk_hub_run_keys"),
    )
    op.create_table(
        "hub_leaderboards",
        sa.Column("namespace_key", sa.String(), nullable=False),
        sa.Column("name_key", sa.String(), nullable=False),
        sa.Column("dataset_key", sa.String(), nullable=False),
        sa.Column("definition", sa.String(), nullable=False),
        sa.Column("declared_by", sa.String(), nullable=False),
        sa.Column("declared_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("namespace_key", "name_key", name="pk_hub_leaderboards"),
    )
    op.create_index("ix_hub_leaderboards_dataset", "hub_leaderboards", ["dataset_key"])


def _begin_log() -> None:
    log = op.create_table(
        "hub_commit_log",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("opening", sa.String(), nullable=False),
        sa.Column("commitment", sa.String(), nullable=False),
        sa.Column("previous_hash", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("signed_head", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("sequence", name="pk_hub_commit_log"),
    )
    op.create_index("ix_hub_commit_log_repository", "hub_commit_log", ["repository_id"])
    columns = ("repository_id", "revision", "parent", "tree", "committed_at", "sequence")
    commits = sa.table("hub_commits", *(sa.column(name) for name in columns))
    connection = op.get_bind()
    previous, rows = "0" * 64, []
    for number, row in enumerate(connection.execute(sa.select(commits).order_by(commits.c.sequence)), 1):
        opening = _canonical(
            {
                "salt": secrets.token_hex(16),
                "repository": row.repository_id,
                "ref": None,
                "revision": row.revision,
                "parent": row.parent,
                "tree": row.tree,
                "committed_at": row.committed_at,
                "how": "commit",
            }
        )
        entry = {
            "schema": "ayni/commit-log/1",
            "sequence": number,
            "commitment": sha256(opening.encode()).hexdigest(),
            "previous_hash": previous,
        }
        previous = sha256(_canonical(entry).encode()).hexdigest()
        del entry["schema"]
        rows.append(entry | {"repository_id": row.repository_id, "opening": opening, "hash": previous})
    if rows:
        op.bulk_insert(log, rows)


def downgrade() -> None:
    for table in ("commit_log", "leaderboards", "run_keys", "evaluations"):
        op.drop_table(f"hub_{table}")
    for table in ("likes", "discussion_events", "discussions"):
        op.drop_table(f"hub_{table}")


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
