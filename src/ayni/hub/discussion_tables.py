"""Tables of discussions and pull requests, of what happened in them, and of likes.

Discussions and pull requests of a repository share one row of numbers, so that `refs/pr/N` and discussion N
are the same thing.

Not covered: what the rows mean (`discussions`, `pull_requests`, `likes`).
"""

import sqlalchemy as sa

from ayni.database import metadata

discussions_table = sa.Table(
    "hub_discussions",
    metadata,
    sa.Column("repository_id", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    # "discussion", "question" or "pull_request".
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("author", sa.String, nullable=False),
    sa.Column("created_at", sa.String, nullable=False),
    # Of a pull request: where it began, what it became on main, and what asked for it when a commit did.
    sa.Column("base_revision", sa.String, nullable=True),
    sa.Column("merge_revision", sa.String, nullable=True),
    sa.Column("request_key", sa.String, nullable=True),
    # Of a question: the comment that answers it.
    sa.Column("answer", sa.Integer, nullable=True),
    sa.Index("ix_hub_discussions_request", "repository_id", "request_key"),
)

discussion_events_table = sa.Table(
    "hub_discussion_events",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("repository_id", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("author", sa.String, nullable=False),
    sa.Column("created_at", sa.String, nullable=False),
    # JSON, by kind.
    sa.Column("data", sa.String, nullable=False),
    sa.Index("ix_hub_discussion_events_number", "repository_id", "number"),
)

likes_table = sa.Table(
    "hub_likes",
    metadata,
    sa.Column("repository_id", sa.Integer, primary_key=True),
    # Lower case, as names are compared.
    sa.Column("user_key", sa.String, primary_key=True),
    sa.Column("user", sa.String, nullable=False),
    sa.Column("liked_at", sa.String, nullable=False),
    sa.Index("ix_hub_likes_user", "user_key"),
)
