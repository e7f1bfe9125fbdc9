"""Kept balances, events of leases, and on PostgreSQL the triggers that keep entries as they are."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_APPEND_ONLY = ("ledger_transactions", "ledger_postings")


def upgrade() -> None:
    op.create_table(
        "ledger_balances",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("balance_microcredits", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "balance_microcredits >= 0 OR account = 'coop:grants'", name="ck_ledger_balances_not_overdrawn"
        ),
        sa.PrimaryKeyConstraint("account", name="pk_ledger_balances"),
    )
    op.execute(
        "INSERT INTO ledger_balances SELECT account, SUM(amount_microcredits) FROM ledger_postings "
        "GROUP BY account"
    )
    op.create_table(
        "lease_events",
        sa.Column("lease_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("content", sa.String(), nullable=False),
        sa.Column("is_carried_out", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("lease_id", "number", name="pk_lease_events"),
    )
    op.create_index("ix_lease_events_kind", "lease_events", ["kind"])
    if op.get_bind().dialect.name == "postgresql":
        _refuse_changes()


def _refuse_changes() -> None:
    # What 0001 does for SQLite. Also against TRUNCATE, which fires no trigger for rows.
    op.execute(
        "CREATE FUNCTION ayni_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION ayni_refuse_change()"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in _APPEND_ONLY:
            op.execute(f"DROP TRIGGER {table}_append_only ON {table}")
        op.execute("DROP FUNCTION ayni_refuse_change()")
    op.drop_table("lease_events")
    op.drop_table("ledger_balances")
