"""Logging in with a token, and out.

Not covered: passwords; an admin of the hub hands out the first token.
"""

import re

from starlette.responses import Response

from ayni.hub.callers import BadTokenError
from ayni.server.routing import Route
from ayni.server.web.visit import Visit

# A path of this hub: `//elsewhere` and `/\elsewhere` are addresses of others to a browser.
_OWN_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")


def show_login(visit: Visit) -> Response:
    """`GET /login`."""
    return visit.show("login.html.j2", goes_to=own_path(visit.query("next")), problem="")


def log_in(visit: Visit) -> Response:
    """`POST /login`."""
    goes_to, token = own_path(visit.field_text("next")), visit.field_text("token")
    try:
        caller = visit.hub.callers.caller_of(token)
    except BadTokenError:
        problem = "This token is not known here, was revoked or has expired."
        return visit.show("login.html.j2", status=422, goes_to=goes_to, problem=problem)
    if caller.is_anonymous:
        return visit.show("login.html.j2", status=422, goes_to=goes_to, problem="This token is nobody's.")
    visit.new_token = token
    return visit.go(goes_to)


def log_out(visit: Visit) -> Response:
    """`POST /logout`."""
    visit.new_token = ""
    return visit.go("/")


def own_path(text: str) -> str:
    """A path of this hub as it stands; the front page for anything else."""
    return text if _OWN_PATH.fullmatch(text) else "/"


ROUTES = (
    Route(method="GET", pattern="/login", action="public", subject="none", handler=show_login),
    Route(method="POST", pattern="/login", action="public", subject="none", handler=log_in),
    Route(method="POST", pattern="/logout", action="public", subject="none", handler=log_out),
)
