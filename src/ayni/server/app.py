"""The ASGI application: finds the route, then who asks, then whether they may, and calls the handler.

    request -> route of the table -> caller by its token -> repository by its name -> allowed? -> handler

All routes of the Hugging Face Hub's API are rows of `ROUTES`, those of the pages rows of `PAGE_ROUTES`; tests
walk them. What no row fits goes to the FastAPI application with `/api/v1`.

Not covered: TLS and limits on the rate of requests.
"""

import inspect
import urllib.parse
from collections.abc import Callable
from typing import Any

import anyio
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ayni.server.admission import caller_of
from ayni.server.api_v1 import make_api
from ayni.server.bodies import IDLE_SECONDS, pieces
from ayni.server.call import Call
from ayni.server.errors import RefusedRequestError, error_reply, reply_to
from ayni.server.routes.table import ROUTES
from ayni.server.routing import Match, Route, Router
from ayni.server.served_hub import ServedHub
from ayni.server.web.pages import Pages
from ayni.server.web.table import PAGE_ROUTES

LARGEST_BODY_BYTES = 8 << 20


class HubApp:
    """The hub as an ASGI application. `routes` is the table; others add to it before the app is made."""

    def __init__(self, hub: ServedHub, *, routes: tuple[Route, ...] = ROUTES) -> None:
        self.hub = hub
        self.routes = routes
        self.api: FastAPI = make_api(hub)
        self.pages = Pages(hub, PAGE_ROUTES)
        self._router = Router(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.api(scope, receive, send)
            return
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        match = self._router.match(scope["method"], raw_path)
        page = None if match is not None else self.pages.match(scope["method"], raw_path)
        if page is not None:
            await self._show(page, scope, receive, send)
        elif match is None and (methods := self._methods(raw_path)):
            reply = error_reply(
                405, "This address knows other methods.", headers={"Allow": ", ".join(methods)}
            )
            await reply(scope, receive, send)
        elif match is None:
            await self.api(scope, _bounded(receive), send)
        else:
            await self._serve(match, scope, receive, send)

    def _methods(self, raw_path: bytes) -> list[str]:
        return sorted({*self._router.methods(raw_path), *self.pages.methods(raw_path)})

    async def _show(self, match: Match, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            reply = await self.pages.answer(match, Request(scope, receive))
        except ClientDisconnect:
            return
        await reply(scope, receive, send)

    async def _serve(self, match: Match, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def noting_send(message: Any) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            reply = await self._answer(match, Request(scope, receive))
            await reply(scope, receive, noting_send)
        except ClientDisconnect:
            return
        except Exception as error:
            if has_begun:
                # The status is out; breaking the connection tells the client that the body is not whole.
                raise
            await _for_git(reply_to(error), Request(scope))(scope, receive, send)

    async def _answer(self, match: Match, request: Request) -> Response:
        if "\0" in urllib.parse.unquote(request.url.query):
            raise RefusedRequestError(400, "The query holds a NUL character.")
        call = Call(hub=self.hub, request=request, parts=match.parts)
        handler: Callable[[Call], Any] = match.route.handler
        is_async = inspect.iscoroutinefunction(handler)
        if match.route.body == "whole":
            call.payload = await _read_body(request)
        if is_async:
            await run_in_threadpool(_admit, call, match.route)
            reply: Response = await handler(call)
        else:
            reply = await run_in_threadpool(_admit_and_handle, call, match.route)
        return reply


def make_app(hub: ServedHub) -> HubApp:
    """The application of one hub."""
    return HubApp(hub)


def _admit_and_handle(call: Call, route: Route) -> Any:
    _admit(call, route)
    return route.handler(call)


def _admit(call: Call, route: Route) -> None:
    """Find who asks and for which repository, and refuse what is not allowed."""
    if route.subject == "ticket":
        return
    call.caller = caller_of(call.hub, call.request)
    if route.subject == "path":
        name = call.parts["repo"]
        with call.hub.database.reading() as connection:
            call.found = call.find(connection, call.kind, name)
    action = route.action
    if route.proposed_action is not None and call.proposes:
        action = route.proposed_action
    if route.subject != "body":
        call.require(action, call.found)


def _for_git(reply: Response, request: Request) -> Response:
    """Git and git-lfs ask for a password only where one is asked for in this way; browsers would too."""
    if reply.status_code == 401 and request.headers.get("user-agent", "").startswith("git"):
        reply.headers["WWW-Authenticate"] = 'Basic realm="Ayni hub: any name, and a token as password"'
    return reply


async def _read_body(request: Request) -> bytes:
    return b"".join([piece async for piece in pieces(request, max_bytes=LARGEST_BODY_BYTES)])


def _bounded(receive: Receive) -> Receive:
    """What FastAPI reads a body by, before it asks who sends it: it comes to an end, in time and in size."""
    num_bytes, is_whole = 0, False

    async def receive_some() -> Message:
        nonlocal num_bytes, is_whole
        # After the body this only waits for the client to go away.
        with anyio.fail_after(None if is_whole else IDLE_SECONDS):
            message = await receive()
        num_bytes += len(message.get("body", b""))
        is_whole = not message.get("more_body", False)
        if num_bytes > LARGEST_BODY_BYTES:
            raise RefusedRequestError(
                413, f"The body is larger than {LARGEST_BODY_BYTES} bytes, more than this address takes."
            )
        return message

    return receive_some
