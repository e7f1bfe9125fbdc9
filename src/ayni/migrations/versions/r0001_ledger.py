"""Tables of the ledger: transactions and their postings, which can be added and not changed."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = ("ledger_transactions", "ledger_postings")


def upgrade() -> None:
    op.create_table(
        "ledger_transactions",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("run", sa.String(), nullable=True),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("memo", sa.String(), nullable=False),
        sa.Column("previous_hash", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_ledger_transactions"),
        sa.UniqueConstraint("id", name="uq_ledger_transactions_id"),
    )
    op.create_index("ix_ledger_transactions_run", "ledger_transactions", ["run"])
    op.create_table(
        "ledger_postings",
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("amount_microcredits", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sequence"], ["ledger_transactions.sequence"], name="fk_ledger_postings_sequence"
        ),
        sa.PrimaryKeyConstraint("sequence", "position", name="pk_ledger_postings"),
    )
    op.create_index("ix_ledger_postings_account", "ledger_postings", ["account"])
    if op.get_bind().dialect.name == "sqlite":
        _refuse_changes()


def _refuse_changes() -> None:
    # A slip in later code must not be able to rewrite history; the hash chain is for intent.
    for table in _TABLES:
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
