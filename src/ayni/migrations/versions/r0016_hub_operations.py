"""What an organisation takes, how objects are kept, and what waits to be freed."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hub_policies",
        sa.Column("namespace_key", sa.String(), nullable=False),
        sa.Column("policy", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("namespace_key", name="pk_hub_policies"),
    )
    op.create_table(
        "hub_storage",
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("sealed_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("store", name="pk_hub_storage"),
    )
    op.create_table(
        "hub_garbage",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("found_at", sa.String(), nullable=False),
        sa.Column("freed_at", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_hub_garbage"),
    )


def downgrade() -> None:
    for table in ("garbage", "storage", "policies"):
        op.drop_table(f"hub_{table}")
