"""Users, organisations, roles, tokens, quotas and the audit log: the part of `/api/v1` about people.

What changes something writes a line of the audit log in the same transaction. A token's text is in the reply
that makes it and nowhere else.

Not covered: signing up. An admin of the hub makes users and hands out their first tokens.
"""

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, Field

from ayni.hub import audit, catalogue, members, quotas, tokens
from ayni.hub.callers import Caller, Role, Scope
from ayni.hub.members import Namespace
from ayni.hub.permissions import allowed
from ayni.hub.repository import KINDS, Moved, RepositoryGoneError
from ayni.hub.tokens import LONGEST_NAME, Token
from ayni.server.admission import Admission, Admitted

MOST_BYTES = (1 << 63) - 1
_NAME_PATTERN = "^[A-Za-z0-9_.-]{1,96}$"
_LINE_PATTERN = r"^[^\x00-\x1f\x7f]*$"

Name = Annotated[str, Path(pattern=_NAME_PATTERN)]
Number = Annotated[int, Path(ge=1, le=MOST_BYTES)]
NameText = Annotated[str, Field(pattern=_NAME_PATTERN)]
Line = Annotated[str, Field(pattern=_LINE_PATTERN, max_length=200)]

Identified = Annotated[Admission, Depends(Admitted("identity.read"))]
OwnTokens = Annotated[Admission, Depends(Admitted("identity.write"))]
HubAdmin = Annotated[Admission, Depends(Admitted("hub.administer"))]
NamespaceAdmin = Annotated[Admission, Depends(Admitted("namespace.administer", "namespace"))]
RepositoryAdmin = Annotated[Admission, Depends(Admitted("repository.settings", "repository"))]

router = APIRouter(prefix="/api/v1", tags=["people"])


class NewUser(BaseModel):
    """A user that is made. `takes_over` gives it repositories that are under its name already."""

    name: NameText
    full_name: Line = ""
    email: Line | None = None
    is_admin: bool = False
    takes_over: bool = False


class NewOrganisation(BaseModel):
    """An organisation that is made, and the user who administers it first."""

    name: NameText
    admin: NameText
    full_name: Line = ""
    takes_over: bool = False


class NewToken(BaseModel):
    """A token that is made; with `repositories` it is good for these alone (kind:owner/name)."""

    name: Annotated[str, Field(pattern=_LINE_PATTERN, min_length=1, max_length=LONGEST_NAME)]
    scope: Scope = "read"
    repositories: Annotated[list[Line], Field(max_length=1_000)] | None = None
    expires_at: AwareDatetime | None = None


class NewRole(BaseModel):
    """A role."""

    role: Role


class NewAdmin(BaseModel):
    """Whether a user administers the hub."""

    is_admin: bool


class NewLimit(BaseModel):
    """Bytes that a namespace may hold; null = without a limit."""

    max_bytes: Annotated[int, Field(ge=0, le=MOST_BYTES)] | None


def issue(
    connection: sa.Connection, admission: Admission, user: Namespace, asked: NewToken
) -> dict[str, Any]:
    """A new token of a user, and its text, which is in this answer alone; noted in the audit log.

    Raises:
        TokenRequestError: no such repository, or see `tokens.issue`.
    """
    scoped_to = None
    if asked.repositories is not None:
        scoped_to = [_repository_number(connection, admission.caller, each) for each in asked.repositories]
    made, text = tokens.issue(
        connection,
        user.id,
        name=asked.name,
        scope=asked.scope,
        now=admission.hub.now(),
        scoped_to=scoped_to,
        expires_at=asked.expires_at,
    )
    _note(connection, admission, "token.issue", user.name, number=made.id, scope=made.scope)
    return {**token_json(made), "token": text}


@router.get("/users", summary="All users")
def list_users(admission: HubAdmin) -> list[dict[str, Any]]:
    """By name."""
    with admission.hub.database.reading() as connection:
        return [_namespace_json(each) for each in members.everybody(connection, "user")]


@router.post("/users", status_code=201, summary="Make a user")
def add_user(admission: HubAdmin, asked: NewUser) -> dict[str, Any]:
    """The name is given once and for ever."""
    with admission.hub.database.transaction() as connection:
        made = members.add(
            connection,
            asked.name,
            kind="user",
            now=admission.hub.now(),
            full_name=asked.full_name,
            email=asked.email,
            is_admin=asked.is_admin,
            takes_over=asked.takes_over,
        )
        _note(connection, admission, "user.add", made.name, is_admin=made.is_admin)
    return _namespace_json(made)


@router.delete("/users/{name}", status_code=204, summary="Remove a user")
def remove_user(admission: HubAdmin, name: Name) -> None:
    """Its tokens and roles end, its name stays taken, its repositories stay."""
    with admission.hub.database.transaction() as connection:
        user = members.get(connection, name, "user")
        members.remove(connection, user, now=admission.hub.now())
        _note(connection, admission, "user.remove", user.name)


@router.put("/users/{name}/admin", status_code=204, summary="Make a user an admin of the hub, or no longer")
def set_hub_admin(admission: HubAdmin, name: Name, asked: NewAdmin) -> None:
    """One admin is always left."""
    with admission.hub.database.transaction() as connection:
        user = members.get(connection, name, "user")
        members.set_hub_admin(connection, user, asked.is_admin)
        _note(connection, admission, "user.admin", user.name, is_admin=asked.is_admin)


@router.post("/users/{name}/tokens", status_code=201, summary="Hand a token to a user")
def issue_for_user(admission: HubAdmin, name: Name, asked: NewToken) -> dict[str, Any]:
    """For the first one, and for who lost all of theirs."""
    with admission.hub.database.transaction() as connection:
        return issue(connection, admission, members.get(connection, name, "user"), asked)


@router.delete("/users/{name}/tokens", status_code=204, summary="Revoke all tokens of a user")
def revoke_all(admission: HubAdmin, name: Name) -> None:
    """At once."""
    with admission.hub.database.transaction() as connection:
        user = members.get(connection, name, "user")
        tokens.revoke_all(connection, user.id, now=admission.hub.now())
        _note(connection, admission, "token.revoke-all", user.name)


@router.get("/tokens", summary="Your tokens")
def list_tokens(admission: Identified) -> list[dict[str, Any]]:
    """Without their text."""
    with admission.hub.database.reading() as connection:
        user = members.get(connection, admission.user, "user")
        return [token_json(each) for each in tokens.of_user(connection, user.id)]


@router.post("/tokens", status_code=201, summary="Make a token of your own")
def issue_token(admission: OwnTokens, asked: NewToken) -> dict[str, Any]:
    """Needs a token with the scope write that is not limited to repositories."""
    with admission.hub.database.transaction() as connection:
        return issue(connection, admission, members.get(connection, admission.user, "user"), asked)


@router.delete("/tokens/{number}", status_code=204, summary="Revoke one of your tokens")
def revoke_token(admission: OwnTokens, number: Number) -> None:
    """At once and for ever."""
    with admission.hub.database.transaction() as connection:
        user = members.get(connection, admission.user, "user")
        tokens.revoke(connection, user.id, number, now=admission.hub.now())
        _note(connection, admission, "token.revoke", user.name, number=number)


@router.get("/organisations", summary="All organisations")
def list_organisations(admission: Identified) -> list[dict[str, Any]]:
    """By name."""
    with admission.hub.database.reading() as connection:
        return [_namespace_json(each) for each in members.everybody(connection, "organisation")]


@router.post("/organisations", status_code=201, summary="Make an organisation")
def add_organisation(admission: HubAdmin, asked: NewOrganisation) -> dict[str, Any]:
    """The name is given once and for ever."""
    with admission.hub.database.transaction() as connection:
        admin = members.get(connection, asked.admin, "user")
        made = members.add(
            connection,
            asked.name,
            kind="organisation",
            now=admission.hub.now(),
            full_name=asked.full_name,
            takes_over=asked.takes_over,
        )
        members.set_role(connection, made, admin, "admin")
        _note(connection, admission, "organisation.add", made.name, admin=admin.name)
    return _namespace_json(made)


@router.delete("/organisations/{name}", status_code=204, summary="Remove an organisation")
def remove_organisation(admission: HubAdmin, name: Name) -> None:
    """Its name stays taken, its repositories stay."""
    with admission.hub.database.transaction() as connection:
        organisation = members.get(connection, name, "organisation")
        members.remove(connection, organisation, now=admission.hub.now())
        _note(connection, admission, "organisation.remove", organisation.name)


@router.put(
    "/organisations/{namespace}/members/{user}",
    status_code=204,
    summary="Give a user a role there",
)
def set_role(admission: NamespaceAdmin, namespace: Name, user: Name, asked: NewRole) -> None:
    """One admin is always left."""
    _set_role(admission, namespace, user, asked.role)


@router.delete("/organisations/{namespace}/members/{user}", status_code=204, summary="Take a user out")
def drop_role(admission: NamespaceAdmin, namespace: Name, user: Name) -> None:
    """One admin is always left."""
    _set_role(admission, namespace, user, None)


@router.get("/repositories/{kind}/{owner}/{name}/roles", summary="Who has a role in this one repository")
def list_repository_roles(admission: RepositoryAdmin) -> list[dict[str, Any]]:
    """Roles in its namespace are not among them."""
    with admission.hub.database.reading() as connection:
        found = members.roles_in_repository(connection, admission.repository.id)
    return [{"user": user.name, "role": role} for user, role in found]


@router.put(
    "/repositories/{kind}/{owner}/{name}/roles/{user}",
    status_code=204,
    summary="Give a user a role",
)
def set_repository_role(admission: RepositoryAdmin, user: Name, asked: NewRole) -> None:
    """It wins over the role in its namespace."""
    _set_repository_role(admission, user, asked.role)


@router.delete(
    "/repositories/{kind}/{owner}/{name}/roles/{user}",
    status_code=204,
    summary="Take a role away",
)
def drop_repository_role(admission: RepositoryAdmin, user: Name) -> None:
    """The role in its namespace counts again."""
    _set_repository_role(admission, user, None)


@router.get("/quotas/{namespace}", summary="What a namespace holds and may hold")
def show_quota(admission: NamespaceAdmin, namespace: Name) -> dict[str, Any]:
    """In bytes; `max_bytes` is null without a limit."""
    with admission.hub.database.reading() as connection:
        return {
            "namespace": namespace,
            "used_bytes": quotas.used_bytes(connection, namespace),
            "max_bytes": quotas.limit_of(connection, namespace),
        }


@router.put("/quotas/{namespace}", status_code=204, summary="Limit what a namespace may hold")
def set_quota(admission: HubAdmin, namespace: Name, asked: NewLimit) -> None:
    """Counts from the next upload on."""
    with admission.hub.database.transaction() as connection:
        found = members.get(connection, namespace)
        quotas.set_limit(connection, found.name, asked.max_bytes)
        _note(connection, admission, "quota.set", found.name, max_bytes=asked.max_bytes)


@router.delete("/quotas/{namespace}", status_code=204, summary="Let the default count for a namespace")
def drop_quota(admission: HubAdmin, namespace: Name) -> None:
    """As if it never had one of its own."""
    with admission.hub.database.transaction() as connection:
        quotas.drop_limit(connection, namespace)
        _note(connection, admission, "quota.drop", namespace)


@router.put("/default-quota", status_code=204, summary="Limit every namespace without a limit of its own")
def set_default_quota(admission: HubAdmin, asked: NewLimit) -> None:
    """Counts from the next upload on."""
    with admission.hub.database.transaction() as connection:
        quotas.set_limit(connection, quotas.DEFAULT, asked.max_bytes)
        _note(connection, admission, "quota.default", "", max_bytes=asked.max_bytes)


@router.get("/audit-log", summary="Who changed what may be done by whom")
def read_audit_log(
    admission: HubAdmin,
    before: Annotated[int | None, Query(ge=1, le=MOST_BYTES)] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> list[dict[str, Any]]:
    """The newest lines first; `before` is the number of the last line of the page before."""
    with admission.hub.database.reading() as connection:
        return [line.to_json() for line in audit.lines(connection, before=before, limit=limit)]


def _repository_number(connection: sa.Connection, caller: Caller, text: str) -> int:
    said, _, name = text.partition(":")
    kind = next((each for each in KINDS if each == said), None)
    if kind is None:
        raise tokens.TokenRequestError(f"{text!r} is no repository; write model:owner/name")
    try:
        found = catalogue.find(connection, kind, name)
    except RepositoryGoneError:
        found = None
    repository = found.repository if isinstance(found, Moved) else found
    # One that the user may not see looks like none; a token for it would be good for nothing.
    if repository is None or allowed(caller, "repository.see", repository) != "yes":
        raise tokens.TokenRequestError(f"there is no {kind} {name!r}")
    return repository.id


def _set_role(admission: Admission, namespace: str, user: str, role: Role | None) -> None:
    with admission.hub.database.transaction() as connection:
        organisation = members.get(connection, namespace, "organisation")
        member = members.get(connection, user, "user")
        members.set_role(connection, organisation, member, role)
        _note(connection, admission, "role.set", organisation.name, user=member.name, role=role)


def _set_repository_role(admission: Admission, user: str, role: Role | None) -> None:
    repository = admission.repository
    with admission.hub.database.transaction() as connection:
        member = members.get(connection, user, "user")
        members.set_repository_role(connection, repository.id, member, role)
        subject = f"{repository.kind}:{repository.name}"
        _note(connection, admission, "repository-role.set", subject, user=member.name, role=role)


def _note(connection: sa.Connection, admission: Admission, action: str, subject: str, **detail: Any) -> None:
    audit.note(connection, admission.caller, action, subject, now=admission.hub.now(), **detail)


def _namespace_json(namespace: Namespace) -> dict[str, Any]:
    said: dict[str, Any] = {
        "name": namespace.name,
        "full_name": namespace.full_name,
        "created_at": namespace.created_at.isoformat(),
    }
    if namespace.kind == "user":
        said |= {"email": namespace.email, "is_admin": namespace.is_admin}
    return said


def token_json(token: Token) -> dict[str, Any]:
    """A token without its text."""
    return {
        "number": token.id,
        "name": token.name,
        "beginning": token.beginning,
        "scope": token.scope,
        "repository_ids": None if token.scoped_to is None else sorted(token.scoped_to),
        "created_at": token.created_at.isoformat(),
        "expires_at": None if token.expires_at is None else token.expires_at.isoformat(),
        "last_used_at": None if token.last_used_at is None else token.last_used_at.isoformat(),
    }
