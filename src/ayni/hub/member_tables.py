"""Tables of people: users and organisations, roles, tokens, access requests, quotas and the audit log.

Users and organisations share one table, because they share one space of names. A row is never removed, so
that a name is never given to somebody else.

Not covered: passwords; who signs in does so with a token.
"""

import sqlalchemy as sa

from ayni.database import metadata

namespaces_table = sa.Table(
    "hub_namespaces",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    # Lower case, as with the names of repositories.
    sa.Column("key", sa.String, nullable=False, unique=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("full_name", sa.String, nullable=False),
    sa.Column("email", sa.String, nullable=True),
    sa.Column("is_admin", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.String, nullable=False),
    sa.Column("deleted_at", sa.String, nullable=True),
)

memberships_table = sa.Table(
    "hub_memberships",
    metadata,
    sa.Column("user_id", sa.Integer, primary_key=True),
    sa.Column("organisation_id", sa.Integer, primary_key=True),
    sa.Column("role", sa.String, nullable=False),
)

repository_roles_table = sa.Table(
    "hub_repository_roles",
    metadata,
    sa.Column("user_id", sa.Integer, primary_key=True),
    sa.Column("repository_id", sa.Integer, primary_key=True),
    sa.Column("role", sa.String, nullable=False),
)

tokens_table = sa.Table(
    "hub_tokens",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("user_id", sa.Integer, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    # SHA-256. A token has 238 random bits, so that a slow hash would protect nothing more.
    sa.Column("digest", sa.String, nullable=False, unique=True),
    # The first characters, by which its owner knows it again.
    sa.Column("beginning", sa.String, nullable=False),
    sa.Column("scope", sa.String, nullable=False),
    sa.Column("is_fine_grained", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.String, nullable=False),
    sa.Column("expires_at", sa.String, nullable=True),
    sa.Column("last_used_at", sa.String, nullable=True),
    sa.Column("revoked_at", sa.String, nullable=True),
    sa.Index("ix_hub_tokens_user", "user_id"),
)

token_repositories_table = sa.Table(
    "hub_token_repositories",
    metadata,
    sa.Column("token_id", sa.Integer, primary_key=True),
    sa.Column("repository_id", sa.Integer, primary_key=True),
)

access_requests_table = sa.Table(
    "hub_access_requests",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("repository_id", sa.Integer, nullable=False),
    sa.Column("user_id", sa.Integer, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    # JSON of what was filled in, and the revision whose terms were there to read.
    sa.Column("fields", sa.String, nullable=False),
    sa.Column("revision", sa.String, nullable=True),
    sa.Column("asked_at", sa.String, nullable=False),
    sa.Column("answered_at", sa.String, nullable=True),
    sa.Column("answered_by", sa.String, nullable=True),
    sa.Column("reason", sa.String, nullable=True),
    sa.UniqueConstraint("repository_id", "user_id", name="uq_hub_access_requests_repository_user"),
    sa.Index("ix_hub_access_requests_user", "user_id"),
)

quotas_table = sa.Table(
    "hub_quotas",
    metadata,
    sa.Column("namespace_key", sa.String, primary_key=True),
    # NULL = without a limit.
    sa.Column("max_bytes", sa.BigInteger, nullable=True),
)

audit_log_table = sa.Table(
    "hub_audit_log",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.String, nullable=False),
    sa.Column("actor", sa.String, nullable=True),
    sa.Column("token", sa.String, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("subject", sa.String, nullable=False),
    # JSON.
    sa.Column("detail", sa.String, nullable=False),
    sa.Column("previous_hash", sa.String, nullable=False),
    sa.Column("hash", sa.String, nullable=False),
)
