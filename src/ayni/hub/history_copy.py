"""The history of a repository as another hub needs it to make the same commits: with the same ids.

The Hugging Face Hub's API leaves out what a commit's id is made of (its tree, its parent, the offset of its
time), so this hub says it by an address of its own.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ayni.hub import revisions
from ayni.hub.git_objects import Commit
from ayni.hub.revisions import PULL_REQUESTS, Recorded


def reachable_history(connection: sa.Connection, repository_id: int) -> list[Recorded]:
    """All commits that a branch or tag leads to, parents first."""
    heads = {
        revision
        for ref, revision in revisions.list_refs(connection, repository_id).items()
        if not ref.startswith(PULL_REQUESTS)
    }
    found = {
        each.revision: each
        for head in heads
        for each in revisions.history(connection, repository_id, start=head)
    }
    return parents_first(found)


def parents_first(found: Mapping[str, Recorded]) -> list[Recorded]:
    """Commits in an order in which each comes after its parent."""
    ordered: list[Recorded] = []
    done: set[str] = set()
    for recorded in found.values():
        chain = []
        at: str | None = recorded.revision
        while at is not None and at in found and at not in done:
            chain.append(found[at])
            done.add(at)
            at = found[at].commit.parent
        ordered += reversed(chain)
    return ordered


def to_json(recorded: Recorded) -> dict[str, Any]:
    """A commit with all that its id is made of."""
    made = recorded.commit
    return {
        "revision": recorded.revision,
        "tree": made.tree,
        "parent": made.parent,
        "author": made.author,
        "message": made.message,
        "committed_at": made.when.isoformat(),
    }


def from_json(said: Mapping[str, Any]) -> Recorded:
    """The inverse of `to_json`.

    Raises:
        ValueError: it is no commit, or has another id than it says.
    """
    try:
        made = Commit(
            tree=str(said["tree"]),
            parent=None if said["parent"] is None else str(said["parent"]),
            author=str(said["author"]),
            message=str(said["message"]),
            when=datetime.fromisoformat(str(said["committed_at"])),
        )
        revision = str(said["revision"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"no commit: {error}") from error
    if made.sha1 != revision:
        raise ValueError(f"the commit {revision} hashes to {made.sha1}")
    return Recorded(sequence=0, revision=revision, commit=made)
