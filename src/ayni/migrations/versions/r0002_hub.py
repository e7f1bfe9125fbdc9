"""Tables of the hub: repositories, refs, commits and tree entries."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hub_repositories",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_hub_repositories"),
    )
    op.create_table(
        "hub_refs",
        sa.Column("repository", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("revision", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("repository", "ref", name="pk_hub_refs"),
    )
    op.create_table(
        "hub_commits",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("repository", sa.String(), nullable=False),
        sa.Column("revision", sa.String(), nullable=False),
        sa.Column("parent", sa.String(), nullable=True),
        sa.Column("tree", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("committed_at", sa.String(), nullable=False),
        sa.Column("publish_key", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("sequence", name="pk_hub_commits"),
        sa.UniqueConstraint("repository", "revision", name="uq_hub_commits_revision"),
        sa.UniqueConstraint("repository", "publish_key", name="uq_hub_commits_publish_key"),
    )
    op.create_table(
        "hub_entries",
        sa.Column("tree", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("git_sha1", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tree", "name", name="pk_hub_entries"),
    )


def downgrade() -> None:
    for table in ("hub_entries", "hub_commits", "hub_refs", "hub_repositories"):
        op.drop_table(table)
