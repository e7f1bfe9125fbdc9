"""Devices that wait to be let in, and what renews the tokens of those that were."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hub_device_logins",
        sa.Column("device_digest", sa.String(), nullable=False),
        sa.Column("user_code", sa.String(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("expires_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("device_digest", name="pk_hub_device_logins"),
        sa.UniqueConstraint("user_code", name="uq_hub_device_logins_user_code"),
    )
    op.create_table(
        "hub_refresh_tokens",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("token_id", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_hub_refresh_tokens"),
    )


def downgrade() -> None:
    op.drop_table("hub_refresh_tokens")
    op.drop_table("hub_device_logins")
