"""What private trainings told about each data set."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "privacy_spends",
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("dataset_name", sa.String(), nullable=True),
        sa.Column("dataset_sha256", sa.String(), nullable=False),
        sa.Column("epsilon", sa.Float(), nullable=False),
        sa.Column("delta", sa.Float(), nullable=False),
        sa.Column("cap_epsilon", sa.Float(), nullable=True),
        sa.Column("is_settled", sa.Boolean(), nullable=False),
        sa.Column("booked_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("run", name="pk_privacy_spends"),
    )
    op.create_index("ix_privacy_spends_dataset_name", "privacy_spends", ["dataset_name"])
    op.create_index("ix_privacy_spends_dataset_sha256", "privacy_spends", ["dataset_sha256"])


def downgrade() -> None:
    op.drop_table("privacy_spends")
