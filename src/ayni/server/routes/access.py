"""Access to gated repositories, and who is here, as the Hugging Face Hub's API has them.

Asking for access is done in a browser there and has no route for clients; here it is one more, so that a
program can ask as well.
"""

from typing import Any

import pydantic
import sqlalchemy as sa
from starlette.responses import JSONResponse, Response

from ayni.hub import access_requests, members, revisions
from ayni.hub.access_requests import AccessRequest, AccessRequestError, Status
from ayni.hub.members import Namespace
from ayni.hub.permissions import visible
from ayni.hub.repository import Repository
from ayni.hub.tables import repositories_table
from ayni.server.call import Call
from ayni.server.descriptions import time_text
from ayni.server.errors import RefusedRequestError
from ayni.server.paging import next_link, page_size, read_cursor
from ayni.server.routing import Route

PAGE, LARGEST_PAGE = 100, 1_000


class Answer(pydantic.BaseModel):
    """An answer to the request of a user, or to one by its number."""

    status: Status
    user: str | None = None
    requestId: str | None = None  # noqa: N815 - the clients' words
    rejectionReason: str | None = pydantic.Field(default=None, max_length=1_000)  # noqa: N815


class Grant(pydantic.BaseModel):
    """Who is let in."""

    user: str


class Asking(pydantic.BaseModel):
    """What was filled in."""

    fields: dict[str, Any] = {}


def _list_requests(call: Call, status: Status) -> Response:
    _check_gated(call.repository)
    limit, after = page_size(call, default=PAGE, largest=LARGEST_PAGE), read_cursor(call)
    if not isinstance(after, int | None):
        raise RefusedRequestError(400, "The cursor is none of this address. Begin at the first page.")
    with call.hub.database.reading() as connection:
        found = access_requests.of_repository(
            connection, call.repository.id, status, limit=limit + 1, after=after or 0
        )
    shown = found[:limit]
    cursor = shown[-1].id if len(found) > limit else None
    return JSONResponse([_request_json(each) for each in shown], headers=next_link(call, cursor))


def list_pending(call: Call) -> Response:
    """`GET .../user-access-request/pending`."""
    return _list_requests(call, "pending")


def list_accepted(call: Call) -> Response:
    """`GET .../user-access-request/accepted`."""
    return _list_requests(call, "accepted")


def list_rejected(call: Call) -> Response:
    """`GET .../user-access-request/rejected`."""
    return _list_requests(call, "rejected")


def answer_request(call: Call) -> Response:
    """`POST .../user-access-request/handle`."""
    asked, repository = call.body(Answer), call.repository
    _check_gated(repository)
    with call.hub.database.transaction() as connection:
        found = _find_request(connection, repository, asked)
        if found.status == asked.status:
            raise RefusedRequestError(404, f"The request of {found.user} is {found.status} already.")
        answered = access_requests.answer(
            connection,
            found,
            asked.status,
            by=call.author,
            now=call.hub.now(),
            reason=asked.rejectionReason,
        )
        call.note(connection, "access.answer", repository, user=found.user, status=answered.status)
    return JSONResponse(_request_json(answered))


def grant_access(call: Call) -> Response:
    """`POST .../user-access-request/grant`."""
    asked, repository = call.body(Grant), call.repository
    with call.hub.database.transaction() as connection:
        user = members.get(connection, asked.user, "user")
        granted = access_requests.grant(connection, repository, user.id, by=call.author, now=call.hub.now())
        call.note(connection, "access.grant", repository, user=user.name)
    return JSONResponse(_request_json(granted))


def ask_for_access(call: Call) -> Response:
    """`POST .../user-access-request`: ask, with what the owners want to know."""
    asked, repository = call.body(Asking), call.repository
    with call.hub.database.transaction() as connection:
        user = members.get(connection, call.author, "user")
        request = access_requests.ask(
            connection,
            repository,
            user.id,
            fields=asked.fields,
            revision=revisions.head(connection, repository.id),
            now=call.hub.now(),
        )
        call.note(connection, "access.ask", repository, status=request.status, revision=request.revision)
    return JSONResponse(_request_json(request))


def show_own_request(call: Call) -> Response:
    """`GET .../user-access-request`: what was answered to the caller."""
    with call.hub.database.reading() as connection:
        user = members.get(connection, call.author, "user")
        request = access_requests.find(connection, call.repository, user_id=user.id)
    return JSONResponse(_request_json(request))


def withdraw_request(call: Call) -> Response:
    """`DELETE .../user-access-request`: take the request back, and with it the access."""
    with call.hub.database.transaction() as connection:
        user = members.get(connection, call.author, "user")
        access_requests.withdraw(connection, call.repository, user.id)
        call.note(connection, "access.withdraw", call.repository)
    return JSONResponse({})


def show_user(call: Call) -> Response:
    """`GET /api/users/{name}/overview`."""
    with call.hub.database.reading() as connection:
        user = members.get(connection, call.parts["name"], "user")
        organisations = members.organisations_of(connection, user)
        counts = _counts(connection, call, user)
    orgs = [{"name": each.name, "fullname": each.full_name} for each, _ in organisations]
    return JSONResponse({**_user_json(user), **counts, "orgs": orgs})


def show_organisation(call: Call) -> Response:
    """`GET /api/organizations/{name}/overview`."""
    with call.hub.database.reading() as connection:
        organisation = members.get(connection, call.parts["name"], "organisation")
        num_users = len(members.members_of(connection, organisation))
        counts = _counts(connection, call, organisation)
    said = {"name": organisation.name, "fullname": organisation.full_name, "numUsers": num_users}
    return JSONResponse({**said, **counts, "avatarUrl": "", "isVerified": False})


def list_members(call: Call) -> Response:
    """`GET /api/organizations/{name}/members`."""
    with call.hub.database.reading() as connection:
        organisation = members.get(connection, call.parts["name"], "organisation")
        found = members.members_of(connection, organisation)
    return JSONResponse([{**_user_json(user), "role": role} for user, role in found])


def _check_gated(repository: Repository) -> None:
    if repository.gated == "no":
        raise AccessRequestError(f"{repository.name} is not gated: its files can be read without asking.")


def _find_request(connection: sa.Connection, repository: Repository, asked: Answer) -> AccessRequest:
    if asked.user is not None:
        user = members.get(connection, asked.user, "user")
        return access_requests.find(connection, repository, user_id=user.id)
    text = asked.requestId or ""
    if not text.isdecimal() or not text.isascii() or len(text) > 15:
        raise RefusedRequestError(400, "Say whose request it is: user, or requestId as a listing has it.")
    return access_requests.find(connection, repository, number=int(text))


def _counts(connection: sa.Connection, call: Call, namespace: Namespace) -> dict[str, int]:
    """How many repositories of each kind the caller may see there."""
    columns = repositories_table.c
    query = sa.select(columns.kind, sa.func.count()).where(
        columns.deleted_at.is_(None),
        sa.func.lower(columns.name).startswith(f"{namespace.key}/", autoescape=True),
        visible(call.caller),
    )
    rows = connection.execute(query.group_by(columns.kind)).all()
    found = {row[0]: int(row[1]) for row in rows}
    names = {"model": "numModels", "dataset": "numDatasets", "space": "numSpaces"}
    return {name: found.get(kind, 0) for kind, name in names.items()}


def _user_json(user: Namespace) -> dict[str, Any]:
    # Without the address for mail: that is for who answers the requests.
    return {"user": user.name, "fullname": user.full_name, "type": "user", "isPro": False, "avatarUrl": ""}


def _request_json(request: AccessRequest) -> dict[str, Any]:
    return {
        "requestId": str(request.id),
        "user": {"user": request.user, "fullname": request.full_name, "email": request.email},
        "status": request.status,
        "timestamp": time_text(request.asked_at),
        "fields": dict(request.fields),
        "revision": request.revision,
        "rejectionReason": request.reason,
    }


_API = "/api/{kind}/{repo}/user-access-request"

ROUTES = (
    Route(method="GET", pattern=f"{_API}/pending", action="access.answer", handler=list_pending),
    Route(method="GET", pattern=f"{_API}/accepted", action="access.answer", handler=list_accepted),
    Route(method="GET", pattern=f"{_API}/rejected", action="access.answer", handler=list_rejected),
    Route(method="POST", pattern=f"{_API}/handle", action="access.answer", handler=answer_request),
    Route(method="POST", pattern=f"{_API}/grant", action="access.answer", handler=grant_access),
    Route(method="POST", pattern=_API, action="access.request", handler=ask_for_access),
    Route(method="GET", pattern=_API, action="identity.read", handler=show_own_request),
    Route(method="DELETE", pattern=_API, action="access.request", handler=withdraw_request),
    Route(
        method="GET",
        pattern="/api/users/{name}/overview",
        action="identity.read",
        subject="none",
        handler=show_user,
    ),
    Route(
        method="GET",
        pattern="/api/organizations/{name}/overview",
        action="identity.read",
        subject="none",
        handler=show_organisation,
    ),
    Route(
        method="GET",
        pattern="/api/organizations/{name}/members",
        action="identity.read",
        subject="none",
        handler=list_members,
    ),
)
