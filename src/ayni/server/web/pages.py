"""Answers requests for pages: finds the route, then who looks, then whether they may, and calls the handler.

    request -> route of PAGE_ROUTES -> cookie -> caller -> repository by its name -> allowed? -> handler

What the API answers by 401 without a token is a way to the login here, and what is hidden is a page that is
not there, for whomever. A form is taken only with the proof that it came from a page which this visitor was
shown. Tokens in headers are not looked at: nothing but the cookie says who looks.

Not covered: limits on the rate of requests.
"""

import secrets
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from ayni.hub import catalogue
from ayni.hub.callers import ANONYMOUS, BadTokenError, Caller
from ayni.hub.permissions import Decision, allowed
from ayni.hub.repository import Moved, RepositoryGoneError
from ayni.server.call import Call
from ayni.server.descriptions import page_path
from ayni.server.errors import RefusedRequestError, as_refusal
from ayni.server.routing import Match, Route, Router
from ayni.server.served_hub import ServedHub
from ayni.server.web.card_text import RenderedTexts
from ayni.server.web.sessions import LIFETIME, Sessions
from ayni.server.web.visit import Visit, with_query

LARGEST_FORM_BYTES = 1 << 20
MOST_FIELDS = 200
LOGIN = "/login"
FORM_TYPE = "application/x-www-form-urlencoded"
# No script but our own file, no style in attributes, no picture from elsewhere, no frame around us.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Pages differ by who looks, and change.
    "Cache-Control": "private, no-cache",
    "Vary": "Cookie",
}


class Pages:
    """The pages of one hub."""

    def __init__(self, hub: ServedHub, routes: Iterable[Route]) -> None:
        self.hub = hub
        self.routes = tuple(routes)
        self.sessions = Sessions(hub.tickets)
        self.texts = RenderedTexts()
        self._router = Router(self.routes)
        is_secure = hub.base_url.startswith("https:")
        # The prefix makes browsers refuse such a cookie from a neighbouring domain or over plain http.
        self._prefix = "__Host-" if is_secure else ""
        self._is_secure = is_secure

    @property
    def session_cookie(self) -> str:
        """The name of the cookie of who is logged in."""
        return f"{self._prefix}ayni_session"

    @property
    def visitor_cookie(self) -> str:
        """The name of the cookie of who is about to log in."""
        return f"{self._prefix}ayni_visitor"

    def match(self, method: str, raw_path: bytes) -> Match | None:
        """The page for a request; None without one."""
        return self._router.match("GET" if method == "HEAD" else method, raw_path)

    def methods(self, raw_path: bytes) -> list[str]:
        """The methods that some page knows for a path."""
        return self._router.methods(raw_path)

    async def answer(self, match: Match, request: Request) -> Response:
        """The reply to a request; whatever goes wrong is a page as well."""
        visit = Visit(call=Call(hub=self.hub, request=request, parts=match.parts), texts=self.texts)
        cookies: dict[str, str] = {}
        try:
            if request.method == "POST":
                visit.fields = _fields(request, await _read(request))
            reply = await run_in_threadpool(self._serve, visit, match.route, cookies)
        except ClientDisconnect:
            raise
        except Exception as error:
            reply = self.error_page(visit, as_refusal(error))
        for name, value in cookies.items():
            self._set_cookie(reply, name, value)
        for name, value in HEADERS.items():
            reply.headers.setdefault(name, value)
        return reply

    def error_page(self, visit: Visit, error: RefusedRequestError) -> Response:
        """What went wrong, in the words of the error."""
        names = {401: "Log in first", 403: "Not allowed", 404: "Not here", 429: "Too often"}
        title = names.get(error.status, "This did not work")
        reply = visit.show("error.html.j2", status=error.status, title=title, message=str(error))
        for name, value in error.headers.items():
            if name != "WWW-Authenticate":
                reply.headers[name] = value
        return reply

    def _serve(self, visit: Visit, route: Route, cookies: dict[str, str]) -> Response:
        call = visit.call
        if "\0" in urllib.parse.unquote(call.request.url.query):
            raise RefusedRequestError(400, "The query holds a NUL character.")
        visitor = self._visitor(call, cookies, is_login=route.pattern == LOGIN)
        visit.proof = self.sessions.proof(visitor)
        if call.request.method == "POST":
            self._check_form(visit, visitor)
        if route.subject == "path":
            _find(visit)
        decision = allowed(call.caller, route.action, call.found)
        if decision != "yes":
            return _refused(visit, decision)
        if call.moved_from is not None:
            return _moved(visit)
        handler: Callable[[Visit], Any] = route.handler
        reply: Response = handler(visit)
        if visit.new_token is not None:
            new = visit.new_token
            cookies[self.session_cookie] = self.sessions.seal(new, now=self.hub.now()) if new else ""
        return reply

    def _visitor(self, call: Call, cookies: dict[str, str], *, is_login: bool) -> str:
        """Set who asks, and return the cookie that proofs are made for; a new one for who is to log in."""
        session = call.request.cookies.get(self.session_cookie, "")
        if session:
            call.caller = self._caller(session)
            if not call.caller.is_anonymous:
                return session
            cookies[self.session_cookie] = ""
        visitor = call.request.cookies.get(self.visitor_cookie, "")
        if not visitor and is_login:
            visitor = cookies[self.visitor_cookie] = secrets.token_urlsafe(24)
        return visitor

    def _caller(self, session: str) -> Caller:
        token = self.sessions.open(session, now=self.hub.now())
        if token is None:
            return ANONYMOUS
        try:
            return self.hub.callers.caller_of(token)
        except BadTokenError:
            return ANONYMOUS

    def _check_form(self, visit: Visit, visitor: str) -> None:
        """Refuse a form that did not come from a page of ours.

        Raises:
            RefusedRequestError: it did not (403).
        """
        site = visit.call.request.headers.get("sec-fetch-site", "same-origin")
        is_ours = self.sessions.is_proof(visitor, visit.fields.get("proof", [""])[-1])
        if site not in ("same-origin", "none") or not is_ours:
            raise RefusedRequestError(
                403,
                "This form is too old, or did not come from a page of this hub; nothing was changed. Go "
                "back, load the page again and send it once more.",
            )

    def _set_cookie(self, reply: Response, name: str, value: str) -> None:
        lifetime = int(LIFETIME.total_seconds()) if value else 0
        reply.set_cookie(
            name, value, max_age=lifetime, path="/", secure=self._is_secure, httponly=True, samesite="lax"
        )


def _find(visit: Visit) -> None:
    """The repository of the path.

    Raises:
        RefusedRequestError: there is none, or it was deleted (404).
    """
    call, name = visit.call, visit.part("repo")
    with visit.hub.database.reading() as connection:
        try:
            found = catalogue.find(connection, call.kind, name)
        except RepositoryGoneError:
            found = None
    if found is None:
        raise _not_here()
    call.found = found.repository if isinstance(found, Moved) else found
    call.moved_from = name if isinstance(found, Moved) else None


def _refused(visit: Visit, decision: Decision) -> Response:
    """What a visitor sees who may not do this; a hidden repository looks like none.

    Raises:
        RefusedRequestError: for who is logged in, and for what is hidden.
    """
    call = visit.call
    if decision == "hidden":
        raise _not_here()
    if decision == "gated" and call.found is not None:
        # The page of the repository holds the form that asks for access.
        return visit.go(f"{page_path(call.found.kind, call.found.name)}#access")
    if decision == "anonymous":
        there = visit.path if call.request.method in ("GET", "HEAD") else _page_of(visit)
        return visit.go(with_query(LOGIN, next=there))
    raise RefusedRequestError(403, "Your role, or the token that you logged in with, does not include this.")


def _page_of(visit: Visit) -> str:
    found = visit.call.found
    return "/" if found is None else page_path(found.kind, found.name)


def _moved(visit: Visit) -> Response:
    """To the same page under the new name; only who may see the repository gets here."""
    old = page_path(visit.repository.kind, visit.call.moved_from or "")
    rest = visit.path[len(old) :]
    query = visit.call.request.url.query
    place = f"{page_path(visit.repository.kind, visit.repository.name)}{rest}{'?' + query if query else ''}"
    return RedirectResponse(place, 308 if visit.call.request.method != "POST" else 307)


def _not_here() -> RefusedRequestError:
    return RefusedRequestError(
        404, "There is no such page, or you may not see it. If it is private, log in as somebody who may."
    )


async def _read(request: Request) -> bytes:
    pieces, num_bytes = [], 0
    async for piece in request.stream():
        num_bytes += len(piece)
        if num_bytes > LARGEST_FORM_BYTES:
            raise RefusedRequestError(413, f"The form is larger than {LARGEST_FORM_BYTES} bytes.")
        pieces.append(piece)
    return b"".join(pieces)


def _fields(request: Request, content: bytes) -> dict[str, list[str]]:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != FORM_TYPE:
        raise RefusedRequestError(400, f"Forms come as {FORM_TYPE}, not as {given or 'nothing'}.")
    try:
        return urllib.parse.parse_qs(
            content.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS
        )
    except (UnicodeDecodeError, ValueError) as error:
        raise RefusedRequestError(400, f"The body is no form: {error}.") from error
