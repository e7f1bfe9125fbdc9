"""What a caller may do: pure decisions by one table, and the same as conditions for listings.

    yes         do it
    hidden      the caller must not learn that it is there
    forbidden   the caller sees it and may not do this
    gated       the caller sees it and must ask its owners for access to the files
    anonymous   who asks must say who they are

A decision follows from the caller's standing towards a repository (or a namespace) by `TABLE`, and from this:

    private repositories are hidden from who has no role
    on public repositories a role never takes away what everybody may do
    files of a gated repository are for who has a role, or was let in
    a token with the scope read changes nothing
    a fine-grained token makes its holder an outsider, who changes nothing, in all repositories but its own

Not covered: limits on amounts (`quotas`), and what a signed ticket allows.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import sqlalchemy as sa

from ayni.hub.callers import Caller, Role
from ayni.hub.repository import Repository
from ayni.hub.tables import repositories_table

Decision = Literal["yes", "hidden", "forbidden", "gated", "anonymous"]
Standing = Literal["anonymous", "outsider", "read", "contributor", "write", "admin"]

# What routes ask for. `subject` of the route says what it is asked about.
Action = Literal[
    "public",  # everybody, also without a token
    "identity.read",  # who am I, and who else is here
    "identity.write",  # my tokens
    "hub.administer",
    "namespace.administer",  # members and roles of an organisation
    "repository.list",
    "repository.see",  # that it is there: its metadata, tree, refs, history, discussions
    "repository.create",
    "repository.settings",
    "repository.move",
    "repository.delete",
    "content.read",  # the bytes of its files
    "content.propose",  # upload, and commit to a pull request
    "content.write",  # commit, branches, tags
    "content.rewrite",  # squash, delete large files for good
    "discussion.write",
    "discussion.moderate",
    "access.request",
    "access.answer",
]

ACTIONS: tuple[Action, ...] = get_args(Action)
STANDINGS: tuple[Standing, ...] = get_args(Standing)

_YES: Decision = "yes"
_NO: Decision = "forbidden"
_WHO: Decision = "anonymous"

# Columns as STANDINGS. An outsider is a member without a role there; an admin of the hub is admin everywhere.
TABLE: Mapping[Action, tuple[Decision, ...]] = {
    #                       anonymous outsider read contributor write admin
    "public": (_YES, _YES, _YES, _YES, _YES, _YES),
    "identity.read": (_WHO, _YES, _YES, _YES, _YES, _YES),
    "identity.write": (_WHO, _YES, _YES, _YES, _YES, _YES),
    "hub.administer": (_WHO, _NO, _NO, _NO, _NO, _NO),
    "namespace.administer": (_WHO, _NO, _NO, _NO, _NO, _YES),
    "repository.list": (_YES, _YES, _YES, _YES, _YES, _YES),
    "repository.see": (_YES, _YES, _YES, _YES, _YES, _YES),
    "repository.create": (_WHO, _NO, _NO, _NO, _YES, _YES),
    "repository.settings": (_WHO, _NO, _NO, _NO, _NO, _YES),
    "repository.move": (_WHO, _NO, _NO, _NO, _NO, _YES),
    "repository.delete": (_WHO, _NO, _NO, _NO, _NO, _YES),
    "content.read": (_YES, _YES, _YES, _YES, _YES, _YES),
    "content.propose": (_WHO, _YES, _NO, _YES, _YES, _YES),
    "content.write": (_WHO, _NO, _NO, _NO, _YES, _YES),
    "content.rewrite": (_WHO, _NO, _NO, _NO, _NO, _YES),
    "discussion.write": (_WHO, _YES, _YES, _YES, _YES, _YES),
    "discussion.moderate": (_WHO, _NO, _NO, _NO, _YES, _YES),
    "access.request": (_WHO, _YES, _YES, _YES, _YES, _YES),
    "access.answer": (_WHO, _NO, _NO, _NO, _YES, _YES),
}

# What a token with the scope read may do.
READING: frozenset[Action] = frozenset(
    ("public", "identity.read", "repository.list", "repository.see", "content.read")
)
# What a gated repository keeps from those whom it did not let in. Who proposes a change has read the files.
GATED: frozenset[Action] = frozenset(("content.read", "content.propose"))
# What an unlimited token is needed for: with a limited one they would give more than it has.
_UNLIMITED: frozenset[Action] = frozenset(("identity.write", "hub.administer", "namespace.administer"))


def allowed(
    caller: Caller, action: Action, repository: Repository | None = None, *, namespace: str | None = None
) -> Decision:
    """Whether the caller may do this.

    Args:
        caller: who asks.
        action: what for.
        repository: with which; None where the action is about none, or one that is not there yet.
        namespace: where something is to be made or administered; only without a repository.
    """
    decision = (
        _decide_without_repository(caller, action, namespace)
        if repository is None
        else _decide(caller, action, repository)
    )
    is_limited = caller.scope == "read" and action not in READING
    return _NO if decision == _YES and is_limited else decision


def standing(caller: Caller, repository: Repository) -> Standing:
    """What the caller is towards a repository; a role in it wins over the one in its namespace."""
    if not _reaches(caller, repository.id):
        return "outsider"
    if (role := caller.repository_roles.get(repository.id)) is not None and not caller.is_admin:
        return role
    return standing_in(caller, repository.namespace)


def standing_in(caller: Caller, namespace: str) -> Standing:
    """What the caller is in a namespace, with a token that is good for all of it."""
    if caller.user is None:
        return "anonymous"
    key = namespace.lower()
    if caller.is_admin or key == caller.user.lower():
        return "admin"
    role: Role | None = caller.roles.get(key)
    return "outsider" if role is None else role


def visible(caller: Caller) -> sa.ColumnElement[bool]:
    """The repositories that the caller may know of, as a condition on `hub_repositories`."""
    return sa.or_(repositories_table.c.visibility == "public", _with_role(caller))


def readable(caller: Caller) -> sa.ColumnElement[bool]:
    """The repositories whose files the caller may read, as a condition on `hub_repositories`."""
    columns = repositories_table.c
    let_in = sa.and_(columns.id.in_(sorted(caller.granted)), _reached(caller))
    return sa.or_(
        _with_role(caller),
        sa.and_(columns.visibility == "public", sa.or_(columns.gated == "no", let_in)),
    )


def _decide_without_repository(caller: Caller, action: Action, namespace: str | None) -> Decision:
    if caller.scoped_to is not None and (action in _UNLIMITED or action == "repository.create"):
        return _NO
    if action == "hub.administer" and caller.is_admin:
        return _YES
    here = "outsider" if namespace is None else standing_in(caller, namespace)
    return _entry(action, "anonymous" if caller.is_anonymous else here)


def _decide(caller: Caller, action: Action, repository: Repository) -> Decision:
    here = standing(caller, repository)
    has_role = here not in ("anonymous", "outsider")
    if repository.is_private and not has_role:
        return "hidden"
    if not _reaches(caller, repository.id) and action not in READING:
        return _NO
    decision = _entry(action, here)
    if has_role and not repository.is_private and _entry(action, "outsider") == _YES:
        decision = _YES
    if decision != _YES or action not in GATED or repository.gated == "no" or has_role:
        return decision
    is_let_in = repository.id in caller.granted and _reaches(caller, repository.id)
    return decision if is_let_in else "gated"


def _entry(action: Action, here: Standing) -> Decision:
    return TABLE[action][STANDINGS.index(here)]


def _reaches(caller: Caller, repository_id: int) -> bool:
    return caller.scoped_to is None or repository_id in caller.scoped_to


def _reached(caller: Caller) -> sa.ColumnElement[bool]:
    if caller.scoped_to is None:
        return sa.true()
    return repositories_table.c.id.in_(sorted(caller.scoped_to))


def _with_role(caller: Caller) -> sa.ColumnElement[bool]:
    """Where the caller's standing is more than that of an outsider."""
    if caller.user is None:
        return sa.false()
    if caller.is_admin:
        return _reached(caller)
    columns = repositories_table.c
    name = sa.func.lower(columns.name)
    namespaces = sorted({caller.user.lower(), *caller.roles})
    own = [name.startswith(f"{each}/", autoescape=True) for each in namespaces]
    single = columns.id.in_(sorted(caller.repository_roles))
    return sa.and_(sa.or_(single, *own), _reached(caller))
