"""Xorbs, what is in them, who holds them, and the files that are made of them."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hub_xet_xorbs",
        sa.Column("xorb", sa.String(), nullable=False),
        sa.Column("object_name", sa.String(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("unpacked_bytes", sa.BigInteger(), nullable=False),
        sa.Column("chunks", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("xorb", name="pk_hub_xet_xorbs"),
    )
    op.create_index("ix_hub_xet_xorbs_object_name", "hub_xet_xorbs", ["object_name"])
    op.create_table(
        "hub_xet_holders",
        sa.Column("xorb", sa.String(), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("xorb", "repository_id", "user", name="pk_hub_xet_holders"),
    )
    op.create_table(
        "hub_xet_eligible_chunks",
        sa.Column("chunk", sa.String(), nullable=False),
        sa.Column("xorb", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("chunk", "xorb", name="pk_hub_xet_eligible_chunks"),
    )
    op.create_index("ix_hub_xet_eligible_chunks_xorb", "hub_xet_eligible_chunks", ["xorb"])
    op.create_table(
        "hub_xet_files",
        sa.Column("file", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("terms", sa.LargeBinary(), nullable=False),
        sa.Column("registered_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("file", name="pk_hub_xet_files"),
    )
    op.create_index("ix_hub_xet_files_sha256", "hub_xet_files", ["sha256"])
    op.create_table(
        "hub_xet_file_xorbs",
        sa.Column("file", sa.String(), nullable=False),
        sa.Column("xorb", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("file", "xorb", name="pk_hub_xet_file_xorbs"),
    )
    op.create_index("ix_hub_xet_file_xorbs_xorb", "hub_xet_file_xorbs", ["xorb"])


def downgrade() -> None:
    for table in ("file_xorbs", "files", "eligible_chunks", "holders", "xorbs"):
        op.drop_table(f"hub_xet_{table}")
