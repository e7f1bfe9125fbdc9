"""Tables of repositories, their names, refs, commits and trees, and of who may see which content.

A repository is a number that never changes. Names point to it: the name that it has, and those that it had,
for ever, so that an old address leads to the new one and no name is given to somebody else.

Trees are stored as git has them, one row for each entry, keyed by the tree's id. A folder that did not change
between two commits is the same rows, so a commit costs only what it changed.

`hub_repository_objects` says which content a repository has. What is not linked to a repository that a caller
may read is not there for that caller, even though its bytes are stored once for all.

Not covered: rows of people, discussions, cards and chunks; each has a module of its own.
"""

import sqlalchemy as sa

from ayni.database import metadata

repositories_table = sa.Table(
    "hub_repositories",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("visibility", sa.String, nullable=False),
    # "no", "auto" (asking is enough) or "manual" (somebody of the owners answers).
    sa.Column("gated", sa.String, nullable=False),
    sa.Column("created_at", sa.String, nullable=False),
    sa.Column("updated_at", sa.String, nullable=False),
    sa.Column("deleted_at", sa.String, nullable=True),
    sa.Column("num_downloads", sa.Integer, nullable=False, server_default="0"),
    sa.Column("num_likes", sa.Integer, nullable=False, server_default="0"),
    sa.Index("ix_hub_repositories_kind", "kind", "updated_at"),
)

names_table = sa.Table(
    "hub_names",
    metadata,
    sa.Column("kind", sa.String, primary_key=True),
    # Lower case, because folders on macOS and names on the Hugging Face Hub do not tell case apart.
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("repository_id", sa.Integer, nullable=False),
)

refs_table = sa.Table(
    "hub_refs",
    metadata,
    sa.Column("repository_id", sa.Integer, primary_key=True),
    sa.Column("ref", sa.String, primary_key=True),
    sa.Column("revision", sa.String, nullable=False),
)

commits_table = sa.Table(
    "hub_commits",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("repository_id", sa.Integer, nullable=False),
    sa.Column("revision", sa.String, nullable=False),
    sa.Column("parent", sa.String, nullable=True),
    sa.Column("tree", sa.String, nullable=False),
    sa.Column("author", sa.String, nullable=False),
    sa.Column("message", sa.String, nullable=False),
    # ISO 8601 with the offset that is part of the commit's id.
    sa.Column("committed_at", sa.String, nullable=False),
    # What was asked for, so that a request that is repeated is answered and not carried out again.
    sa.Column("request_key", sa.String, nullable=True),
    sa.UniqueConstraint("repository_id", "revision", name="uq_hub_commits_repository_revision"),
    sa.Index("ix_hub_commits_request", "repository_id", "request_key"),
)

entries_table = sa.Table(
    "hub_entries",
    metadata,
    sa.Column("tree", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("mode", sa.String, nullable=False),
    sa.Column("git_sha1", sa.String, nullable=False),
    sa.Column("sha256", sa.String, nullable=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=True),
)

repository_objects_table = sa.Table(
    "hub_repository_objects",
    metadata,
    sa.Column("repository_id", sa.Integer, primary_key=True),
    sa.Column("sha256", sa.String, primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Index("ix_hub_repository_objects_sha256", "sha256"),
)
