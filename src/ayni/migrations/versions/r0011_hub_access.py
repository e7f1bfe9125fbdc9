"""Users, organisations, roles, tokens, access requests, quotas and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TABLES = (
    "hub_namespaces",
    "hub_memberships",
    "hub_repository_roles",
    "hub_tokens",
    "hub_token_repositories",
    "hub_access_requests",
    "hub_quotas",
    "hub_audit_log",
)


def upgrade() -> None:
    _create_namespaces()
    _create_roles()
    _create_tokens()
    _create_requests()
    _create_quotas_and_log()


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)


def _create_namespaces() -> None:
    op.create_table(
        "hub_namespaces",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("full_name", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=True),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.Column("deleted_at", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_hub_namespaces"),
        sa.UniqueConstraint("key", name="uq_hub_namespaces_key"),
    )


def _create_roles() -> None:
    for table, subject in (
        ("hub_memberships", "organisation_id"),
        ("hub_repository_roles", "repository_id"),
    ):
        op.create_table(
            table,
            sa.Column("user_id", sa.Integer(), nullable=False),
            sa.Column(subject, sa.Integer(), nullable=False),
            sa.Column("role", sa.String(), nullable=False),
            sa.PrimaryKeyConstraint("user_id", subject, name=f"pk_{table}"),
        )


def _create_tokens() -> None:
    op.create_table(
        "hub_tokens",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("beginning", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("is_fine_grained", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.Column("expires_at", sa.String(), nullable=True),
        sa.Column("last_used_at", sa.String(), nullable=True),
        sa.Column("revoked_at", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_hub_tokens"),
        sa.UniqueConstraint("digest", name="uq_hub_tokens_digest"),
    )
    op.create_index("ix_hub_tokens_user", "hub_tokens", ["user_id"])
    op.create_table(
        "hub_token_repositories",
        sa.Column("token_id", sa.Integer(), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("token_id", "repository_id", name="pk_hub_token_repositories"),
    )


def _create_requests() -> None:
    op.create_table(
        "hub_access_requests",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("fields", sa.String(), nullable=False),
        sa.Column("revision", sa.String(), nullable=True),
        sa.Column("asked_at", sa.String(), nullable=False),
        sa.Column("answered_at", sa.String(), nullable=True),
        sa.Column("answered_by", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_hub_access_requests"),
        sa.UniqueConstraint("repository_id", "user_id", name="uq_hub_access_requests_repository_user"),
    )
    op.create_index("ix_hub_access_requests_user", "hub_access_requests", ["user_id"])


def _create_quotas_and_log() -> None:
    op.create_table(
        "hub_quotas",
        sa.Column("namespace_key", sa.String(), nullable=False),
        sa.Column("max_bytes", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("namespace_key", name="pk_hub_quotas"),
    )
    op.create_table(
        "hub_audit_log",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=True),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("previous_hash", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_hub_audit_log"),
    )
