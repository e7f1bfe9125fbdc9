"""`/api/v1`: what this hub has beyond the Hugging Face Hub's API, described by OpenAPI.

Not covered: pages for people.
"""

import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ayni.errors import AyniError
from ayni.server import commit_log_api, leaderboards_api, members_api, operations_api
from ayni.server.errors import error_reply, reply_to
from ayni.server.served_hub import ServedHub


@contextlib.asynccontextmanager
async def _lifetime(hub: ServedHub) -> AsyncIterator[None]:
    yield
    await run_in_threadpool(_write_downloads, hub)


def _write_downloads(hub: ServedHub) -> None:
    with hub.database.transaction() as connection:
        hub.downloads.write(connection)


def make_api(hub: ServedHub) -> FastAPI:
    """The FastAPI application; `app.state.hub` is the hub."""
    api = FastAPI(
        title="Ayni hub",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lambda _: _lifetime(hub),
    )
    api.state.hub = hub

    @api.get("/api/v1/health", summary="Whether the hub answers and reaches its database")
    def health() -> dict[str, str]:
        with hub.database.reading() as connection:
            connection.exec_driver_sql("SELECT 1")
        return {"status": "ok"}

    api.include_router(members_api.router)
    api.include_router(commit_log_api.router)
    api.include_router(operations_api.router)
    api.include_router(leaderboards_api.router)

    @api.exception_handler(RequestValidationError)
    def _answer_invalid(_request: Request, error: Exception) -> Response:
        return error_reply(422, _what_is_wrong(error))

    @api.exception_handler(AyniError)
    def _answer_error(_request: Request, error: Exception) -> Response:
        return reply_to(error)

    @api.exception_handler(404)
    def _answer_unknown(_request: Request, _error: Exception) -> Response:
        return error_reply(404, "There is nothing at this address.")

    described = api.openapi

    def openapi() -> dict[str, Any]:
        return _with_all_parts(described())

    api.openapi = openapi  # type: ignore[method-assign]
    return api


def _with_all_parts(schema: dict[str, Any]) -> dict[str, Any]:
    """The description with the parts of paths that a dependency reads from the request by itself."""
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            told = operation.setdefault("parameters", [])
            names = {each["name"] for each in told if each["in"] == "path"}
            told += [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in re.findall(r"\{(\w+)\}", path)
                if name not in names
            ]
    return schema


def _what_is_wrong(error: Exception) -> str:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}."
