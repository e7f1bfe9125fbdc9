"""Which files a user or organisation takes: `weights_policy` by namespace, in the database.

A namespace without a policy of its own has the hub's default.

Not covered: what is in the files, and what came before a policy was made stricter.
"""

from typing import get_args

import sqlalchemy as sa

from ayni.database import metadata
from ayni.errors import UserError
from ayni.hub.repository import Repository
from ayni.hub.weights_policy import DEFAULT_POLICY, POLICIES, Policy

policies_table = sa.Table(
    "hub_policies",
    metadata,
    sa.Column("namespace_key", sa.String, primary_key=True),
    sa.Column("policy", sa.String, nullable=False),
)


class UnknownRepositoryPolicyError(UserError):
    """There is no policy of this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"There is no policy {name!r}. Choose one of: {', '.join(POLICIES)}.")


def set_policy(connection: sa.Connection, namespace: str, policy: str) -> Policy:
    """Let a namespace take what a policy says, from the next commit on.

    Raises:
        UnknownRepositoryPolicyError: there is none of this name.
    """
    chosen: Policy | None = next((each for each in get_args(Policy) if each == policy), None)
    if chosen is None:
        raise UnknownRepositoryPolicyError(policy)
    key = namespace.lower()
    connection.execute(policies_table.delete().where(policies_table.c.namespace_key == key))
    connection.execute(policies_table.insert().values(namespace_key=key, policy=chosen))
    return chosen


def policy_in(connection: sa.Connection, namespace: str) -> Policy:
    """The policy of a namespace."""
    columns = policies_table.c
    query = sa.select(columns.policy).where(columns.namespace_key == namespace.lower())
    found: Policy | None = connection.scalar(query)
    return found or DEFAULT_POLICY


def policy_of(connection: sa.Connection, repository: Repository) -> Policy:
    """The policy that a repository's commits are held against. Fulfils `PolicyOf`."""
    return policy_in(connection, repository.namespace)
