"""Who pays for content that is on its way, and how many parameters models have."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("hub_received", "hub_uploads", "hub_xet_xorbs"):
        op.add_column(table, sa.Column("payer", sa.String(), nullable=False, server_default=""))
    op.create_index("ix_hub_received_payer", "hub_received", ["payer"])
    op.create_index("ix_hub_uploads_payer", "hub_uploads", ["payer"])
    op.create_index("ix_hub_xet_xorbs_payer", "hub_xet_xorbs", ["payer"])
    op.create_table(
        "hub_parameters",
        sa.Column("repository_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("num_parameters", sa.BigInteger(), nullable=False),
        sa.Column("by_type", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", name="pk_hub_parameters"),
    )
    op.create_index("ix_hub_parameters_num_parameters", "hub_parameters", ["num_parameters"])


def downgrade() -> None:
    op.drop_table("hub_parameters")
    for table in ("hub_received", "hub_uploads", "hub_xet_xorbs"):
        op.drop_index(f"ix_{table}_payer", table)
        op.drop_column(table, "payer")
