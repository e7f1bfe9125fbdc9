"""The tokens of who is logged in: what there is, a new one, and taking one back.

The text of a new token is on the page that answers the form, and nowhere after.

Not covered: changing a token; a new one takes its place.
"""

from datetime import datetime, timedelta

import pydantic
from starlette.responses import Response

from ayni.errors import UserError
from ayni.hub import audit, members, tokens
from ayni.server.admission import Admission
from ayni.server.errors import RefusedRequestError
from ayni.server.members_api import NewToken, issue
from ayni.server.routing import Route
from ayni.server.web.visit import Visit

LIFETIMES = {"30": "30 days", "90": "90 days", "365": "a year", "": "until it is revoked"}
SCOPES = {"read": "read only", "write": "read and write"}


def show_tokens(visit: Visit) -> Response:
    """`GET /settings/tokens`."""
    return _page(visit)


def make_token(visit: Visit) -> Response:
    """`POST /settings/tokens`."""
    try:
        asked = NewToken.model_validate(
            {
                "name": visit.field_text("name"),
                "scope": visit.field_text("scope"),
                "repositories": visit.field_text("repositories", longest=20_000).split() or None,
                "expires_at": _end(visit),
            }
        )
        with visit.hub.database.transaction() as connection:
            user = members.get(connection, visit.call.author, "user")
            admission = Admission(hub=visit.hub, caller=visit.caller)
            made = issue(connection, admission, user, asked)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        return _page(visit, status=422, problem=f"{first['loc'][0]}: {first['msg']}.")
    except UserError as error:
        return _page(visit, status=422, problem=str(error))
    reply = _page(visit, made=made["token"])
    reply.headers["Cache-Control"] = "no-store"
    return reply


def revoke_token(visit: Visit) -> Response:
    """`POST /settings/tokens/revoke`."""
    number = visit.field_text("number")
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise RefusedRequestError(400, "The form does not say which token.")
    with visit.hub.database.transaction() as connection:
        user = members.get(connection, visit.call.author, "user")
        tokens.revoke(connection, user.id, int(number), now=visit.hub.now())
        audit.note(
            connection, visit.caller, "token.revoke", user.name, now=visit.hub.now(), number=int(number)
        )
    return visit.go("/settings/tokens")


def _page(visit: Visit, *, status: int = 200, problem: str = "", made: str = "") -> Response:
    with visit.hub.database.reading() as connection:
        user = members.get(connection, visit.call.author, "user")
        found = tokens.of_user(connection, user.id)
    return visit.show(
        "tokens.html.j2",
        status=status,
        tokens=found,
        may_change=visit.may("identity.write"),
        lifetimes=LIFETIMES,
        scopes=SCOPES,
        now=visit.hub.now(),
        fields={name: values[-1] for name, values in visit.fields.items()} if problem else {},
        problem=problem,
        made=made,
    )


def _end(visit: Visit) -> datetime | None:
    days = visit.field_text("days")
    if days not in LIFETIMES:
        raise RefusedRequestError(400, "A token lasts for one of the times in the form.")
    return visit.hub.now() + timedelta(days=int(days)) if days else None


_PAGE = "/settings/tokens"

ROUTES = (
    Route(method="GET", pattern=_PAGE, action="identity.read", subject="none", handler=show_tokens),
    Route(method="POST", pattern=_PAGE, action="identity.write", subject="none", handler=make_token),
    Route(
        method="POST",
        pattern=f"{_PAGE}/revoke",
        action="identity.write",
        subject="none",
        handler=revoke_token,
    ),
)
