"""The hub's API without a network: `ayni hub` on the hub's machine asks the same routes as from elsewhere.

Whoever may run commands in the hub's home may do everything there, as `OPERATOR`; what changes stands in the
audit log under this name.

Not covered: large bodies, which are held in memory here.
"""

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import anyio.from_thread
import httpx

from ayni.hub.callers import BadTokenError, Caller
from ayni.hub.connection import HubConnection
from ayni.server.app import HubApp

OPERATOR = "operator"
_TOKEN = "in process"  # no secret: nobody but this process can send it to this application
BASE_URL = "http://localhost"


class OperatorCallers:
    """One caller, who may do everything. Fulfils CallerSource."""

    def caller_of(self, token: str) -> Caller:
        """The operator."""
        if token != _TOKEN:
            raise BadTokenError
        return self.caller_again(_TOKEN)

    def caller_again(self, credential: str) -> Caller:
        """The operator."""
        if credential != _TOKEN:
            raise BadTokenError
        return Caller(user=OPERATOR, token="command line", is_admin=True, credential=_TOKEN)


class AsgiTransport(httpx.BaseTransport):
    """Carries requests to an application in this process."""

    def __init__(self, app: HubApp) -> None:
        self._carrier = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._stack = contextlib.ExitStack()
        self._portal = self._stack.enter_context(anyio.from_thread.start_blocking_portal())

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        content = request.read()

        async def ask() -> httpx.Response:
            asked = httpx.Request(request.method, request.url, headers=request.headers, content=content)
            reply = await self._carrier.handle_async_request(asked)
            await reply.aread()
            return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)

        return self._portal.call(ask)

    def close(self) -> None:
        """End the loop."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None = None,
        _error: BaseException | None = None,
        _trace: TracebackType | None = None,
    ) -> None:
        self.close()


@contextlib.contextmanager
def connected(app: HubApp) -> Iterator[HubConnection]:
    """A connection to an application in this process, as the operator."""
    with AsgiTransport(app) as transport, HubConnection(BASE_URL, _TOKEN, transport=transport) as connection:
        yield connection
