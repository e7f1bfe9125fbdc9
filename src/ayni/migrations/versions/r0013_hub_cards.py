"""Lineage of repositories, and what was found in files."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hub_edges",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("parent_kind", sa.String(), nullable=False),
        sa.Column("parent_key", sa.String(), nullable=False),
        sa.Column("parent_name", sa.String(), nullable=False),
        sa.Column("relation", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "parent_kind", "parent_key", name="pk_hub_edges"),
    )
    op.create_index("ix_hub_edges_parent", "hub_edges", ["parent_kind", "parent_key"])
    op.create_table(
        "hub_scans",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("scanner_version", sa.Integer(), nullable=False),
        sa.Column("suffix", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("scan", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", "scanner_version", "suffix", name="pk_hub_scans"),
    )


def downgrade() -> None:
    op.drop_table("hub_scans")
    op.drop_table("hub_edges")
