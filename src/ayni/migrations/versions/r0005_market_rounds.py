"""Tables of the market's rounds: what each awarded, carbon budgets of members, and closed quarters."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "market_rounds",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cleared_at", sa.String(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_market_rounds"),
    )
    op.create_table(
        "market_carbon_budgets",
        sa.Column("member", sa.String(), nullable=False),
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("grams", sa.Float(), nullable=True),
        sa.Column("set_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("member", "month", name="pk_market_carbon_budgets"),
    )
    op.create_table(
        "market_quarters",
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("closed_at", sa.String(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("period", name="pk_market_quarters"),
    )
