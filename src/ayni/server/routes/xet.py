"""Chunks over HTTP: tokens for the chunk store, and the store itself below `/cas`.

    GET  /api/.../xet-write-token/{rev}     where the store is, and a token for it
    GET  /cas/v1/chunks/{prefix}/{hash}     who has this chunk? A shard, or 404
    POST /cas/v1/xorbs/{prefix}/{hash}      chunks come
    POST /cas/v2/shards                     what files they are; progress line by line. /v1 without progress
    GET  /cas/v2/reconstructions/{hash}     where the chunks of a file are; /v1 in an older form
    GET  /cas/links/{ticket}                bytes of a xorb, to who has the link

Clients show no body of an error of theirs but the last line of /v2/shards, so what a person must read is said
there. A question about a chunk is never answered with an error of ours: clients would ask again for minutes,
and go on at once after 404.

Not covered: xorbs that go past the server to its storage (`xorb-grants`); 404 makes clients use the above.

Source: Xet protocol specification 1.1.0, page "CAS API".
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import sqlalchemy as sa
from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from ayni.errors import AyniError
from ayni.hub import catalogue, quotas
from ayni.hub.permissions import Action
from ayni.hub.repository import API_NAMES
from ayni.hub.tickets import BadTicketError
from ayni.hub.xet import tokens
from ayni.hub.xet.ahead import Session
from ayni.hub.xet.hashes import from_text
from ayni.hub.xet.receive import XorbUpload
from ayni.hub.xet.reconstruction import RangeNotSatisfiableError
from ayni.hub.xet.register import Progress
from ayni.hub.xet.shards import SHARD_BYTES_AT_MOST
from ayni.hub.xet.store import UnknownChunkError, XetStore
from ayni.hub.xet.tokens import XetGrant, XorbLink
from ayni.hub.xet.xorbs import BODY_BYTES_AT_MOST
from ayni.server.bodies import pieces
from ayni.server.call import Call
from ayni.server.errors import RefusedRequestError, error_reply, reply_to
from ayni.server.routing import Route

CAS = "/cas"
PREFIXES = ("default", "default-merkledb")
LONGEST_SESSION_ID = 100
SHARDS_AT_ONCE = 2
"""Shards are checked by reading all content; more at once would only take turns on the disk."""

_LOG = logging.getLogger(__name__)
_LINE_EVERY_SECONDS = 1.0
_REPEAT_AFTER_LINES = 15
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")


def read_token(call: Call) -> Response:
    """`GET .../xet-read-token/{rev}`."""
    return _token(call, may_write=False)


def write_token(call: Call) -> Response:
    """`GET .../xet-write-token/{rev}`."""
    return _token(call, may_write=True)


def find_chunk(call: Call) -> Response:
    """`GET /cas/v1/chunks/{prefix}/{hash}`."""
    store, grant, chunk = _store(call), _grant(call), _hash(call)
    session = _session(call, grant)
    try:
        answer = store.answer(grant, chunk, now=call.hub.now())
        if session is not None:
            store.ahead.asked(session, chunk, is_known=True)
    except UnknownChunkError as error:
        if session is not None:
            store.ahead.asked(session, chunk, is_known=False)
        return error_reply(404, str(error))
    except AyniError as error:
        _LOG.error("a chunk could not be looked up", exc_info=error)
        return error_reply(404, "This chunk cannot be looked up now. Upload it.")
    return Response(answer, media_type="application/octet-stream")


async def receive_xorb(call: Call) -> Response:
    """`POST /cas/v1/xorbs/{prefix}/{hash}`."""
    store, name = _store(call), _hash(call)
    grant = await run_in_threadpool(_grant, call, must_write=True)
    announced = _announced(call, BODY_BYTES_AT_MOST)
    upload = await run_in_threadpool(_begin_xorb, call, store, grant, name, announced)
    session = _session(call, grant)
    with upload:
        if session is not None:
            store.ahead.expect(session, name)
        async for piece in pieces(call.request, max_bytes=BODY_BYTES_AT_MOST):
            await run_in_threadpool(upload.write, piece)
        is_new = await run_in_threadpool(partial(upload.finish, when=call.hub.now()))
        if session is not None:
            store.ahead.came(session, name)
    return JSONResponse({"was_inserted": is_new})


async def receive_shard(call: Call) -> Response:
    """`POST /cas/v1/shards`."""
    store, grant = _store(call), await run_in_threadpool(_grant, call, must_write=True)
    shard = await _shard(call)
    is_new = await _register(call, store, grant, shard, lambda *_: None)
    return JSONResponse({"result": int(is_new)})


async def receive_shard_with_progress(call: Call) -> Response:
    """`POST /cas/v2/shards`."""
    store, grant = _store(call), await run_in_threadpool(_grant, call, must_write=True)
    shard = await _shard(call)
    return StreamingResponse(_told(call, store, grant, shard), media_type="application/x-ndjson")


def reconstruct(call: Call) -> Response:
    """`GET /cas/v2/reconstructions/{hash}`."""
    return _reconstruct(call, version=2)


def reconstruct_1(call: Call) -> Response:
    """`GET /cas/v1/reconstructions/{hash}`."""
    return _reconstruct(call, version=1)


def send_xorb(call: Call) -> Response:
    """`GET /cas/links/{ticket}`: the bytes that the link is for, or a range of them."""
    store = _store(call)
    link = tokens.read_link(call.hub.tickets, call.parts["ticket"], now=call.hub.now())
    call.admit_link("content.read", link.repository_id, link.credential)
    size_bytes = store.chunks.index_of(link.xorb).stored_bytes
    window = _window(call.request.headers.get("range"))
    start, stop = (link.start, link.stop) if window is None else (window[0], min(window[1], size_bytes))
    if not link.start <= start < stop <= link.stop:
        return error_reply(
            416, "This link is for other bytes.", headers={"Content-Range": f"bytes */{size_bytes}"}
        )
    headers = {"Content-Length": str(stop - start), "Content-Range": f"bytes {start}-{stop - 1}/{size_bytes}"}
    source = store.chunks.read_records(link.xorb, start, stop)
    return StreamingResponse(source, 206, headers, media_type="application/octet-stream")


def xet_headers(connection: sa.Connection, call: Call, sha256: str, revision: str) -> dict[str, str]:
    """What tells a client to download a file by its chunks; nothing where that is off, or it has none."""
    if call.hub.xet is None:
        return {}
    found = call.hub.xet.file_hashes(connection, [sha256])
    if sha256 not in found:
        return {}
    kind = next(name for name, kind in API_NAMES.items() if kind == call.repository.kind)
    route = call.url(f"/api/{kind}/{call.repository.name}/xet-read-token/{revision}")
    return {"X-Xet-Hash": found[sha256], "X-Xet-Refresh-Route": route}


def _token(call: Call, *, may_write: bool) -> Response:
    _store(call)
    grant = XetGrant(caller=call.caller, repository_id=call.repository.id, may_write=may_write)
    token, ends_at = tokens.issue_token(call.hub.tickets, grant, now=call.hub.now())
    place, expires = call.url(CAS), int(ends_at.timestamp())
    # Clients in Python read the headers, those in Rust the body.
    headers = {
        "X-Xet-Cas-Url": place,
        "X-Xet-Access-Token": token,
        "X-Xet-Token-Expiration": str(expires),
        "Cache-Control": "no-store",
    }
    return JSONResponse({"casUrl": place, "accessToken": token, "exp": expires}, headers=headers)


def _store(call: Call) -> XetStore:
    if call.hub.xet is None:
        raise RefusedRequestError(501, "This hub does not take files by chunks.", code="NotImplemented")
    return call.hub.xet


def _grant(call: Call, *, must_write: bool = False) -> XetGrant:
    scheme, _, token = call.request.headers.get("authorization", "").partition(" ")
    try:
        if scheme.lower() != "bearer":
            raise BadTicketError("needs a token")
        grant = tokens.read_token(call.hub.tickets, token.strip(), now=call.hub.now())
    except BadTicketError as error:
        raise RefusedRequestError(
            401, "The token of the chunk store is missing, was changed or has expired. Ask the hub for one."
        ) from error
    if must_write and not grant.may_write:
        raise RefusedRequestError(403, "This token is for reading.")
    # What the member may do now counts, not what it was when the token was given out.
    action: Action = "content.propose" if grant.may_write else "content.read"
    return replace(grant, caller=call.admit_link(action, grant.repository_id, grant.caller.credential))


def _session(call: Call, grant: XetGrant) -> Session | None:
    """The upload of a client that a request belongs to; it makes up an id for each."""
    said = call.request.headers.get("x-xet-session-id", "")
    return (grant.repository_id, grant.user, said) if 0 < len(said) <= LONGEST_SESSION_ID else None


def _hash(call: Call) -> bytes:
    if call.parts.get("prefix_of_hash", PREFIXES[0]) not in PREFIXES:
        raise RefusedRequestError(404, f"Hashes have the prefix {' or '.join(PREFIXES)} here.")
    # One address for one thing: a hash is not percent-encoded.
    if b"%" in (call.request.scope.get("raw_path") or b""):
        raise RefusedRequestError(400, "Write the hash as it is, without percent signs.")
    return from_text(call.parts["hash"])


def _announced(call: Call, max_bytes: int) -> int:
    announced = call.request.headers.get("content-length", "0")
    is_number = announced.isascii() and announced.isdecimal() and len(announced) < 20
    if not is_number or int(announced) > max_bytes:
        raise RefusedRequestError(413, f"{announced[:20]} bytes were announced; {max_bytes} are taken here.")
    return int(announced)


def _begin_xorb(call: Call, store: XetStore, grant: XetGrant, name: bytes, announced: int) -> XorbUpload:
    with call.hub.database.reading() as connection:
        repository = catalogue.by_id(connection, grant.repository_id)
        call.hub.check_upload(connection, grant.caller, repository, announced)
    payer = quotas.payer_of(grant.caller, repository)

    def check_size(connection: sa.Connection) -> None:
        call.hub.check_upload(connection, grant.caller, repository, 0)

    return store.upload(grant, name, payer=payer, announced_bytes=announced or None, check_size=check_size)


async def _shard(call: Call) -> bytes:
    _announced(call, SHARD_BYTES_AT_MOST)
    received = bytearray()
    async for piece in pieces(call.request, max_bytes=SHARD_BYTES_AT_MOST):
        received += piece
    return bytes(received)


async def _register(call: Call, store: XetStore, grant: XetGrant, shard: bytes, progress: Progress) -> bool:
    def work() -> bool:
        with call.hub.database.reading() as connection:
            repository = catalogue.by_id(connection, grant.repository_id)

        def check_size(connection: sa.Connection, files: Mapping[str, int]) -> None:
            call.hub.check_upload(connection, grant.caller, repository, files, replaces_chunks=True)

        payer = quotas.payer_of(grant.caller, repository)
        return store.register(
            grant,
            shard,
            when=call.hub.now(),
            payer=payer,
            session=_session(call, grant),
            check_size=check_size,
            progress=progress,
        )

    return await to_thread.run_sync(work, limiter=_limiter())


async def _told(call: Call, store: XetStore, grant: XetGrant, shard: bytes) -> AsyncIterator[bytes]:
    """The lines of the reply: how far the check is, again and again, and how it ended."""
    now_at: tuple[int, int] = (0, 0)
    told_at, num_silent = (-1, -1), 0

    def note(done: int, total: int) -> None:
        nonlocal now_at
        now_at = (done, total)

    work = asyncio.ensure_future(_register(call, store, grant, shard, note))
    while not (await asyncio.wait({work}, timeout=_LINE_EVERY_SECONDS))[0]:
        num_silent += 1
        if now_at != told_at or num_silent >= _REPEAT_AFTER_LINES:
            told_at, num_silent = now_at, 0
            yield _line(type="validating", verified=now_at[0], total=now_at[1])
    error = work.exception()
    if error is None:
        yield _line(type="committing", stage="syncing")
        yield _line(type="result", result=int(work.result()))
    elif isinstance(error, Exception):
        reply = reply_to(error)
        message = json.loads(bytes(reply.body))["error"]
        yield _line(type="error", message=message, retryable=reply.status_code == 503)


def _line(**said: Any) -> bytes:
    return json.dumps(said).encode() + b"\n"


def _limiter() -> CapacityLimiter:
    # A limiter belongs to an event loop, so each has its own.
    loop = asyncio.get_running_loop()
    if not hasattr(loop, "ayni_shards"):
        loop.ayni_shards = CapacityLimiter(SHARDS_AT_ONCE)  # type: ignore[attr-defined]
    limiter: CapacityLimiter = loop.ayni_shards  # type: ignore[attr-defined]
    return limiter


def _reconstruct(call: Call, *, version: Literal[1, 2]) -> Response:
    store, grant, file_hash = _store(call), _grant(call), _hash(call)

    def link_to(xorb: bytes, first: int, last: int) -> str:
        link = XorbLink(
            xorb=xorb,
            start=first,
            stop=last + 1,
            repository_id=grant.repository_id,
            credential=grant.caller.credential,
        )
        return call.url(f"{CAS}/links/{tokens.issue_link(call.hub.tickets, link, now=call.hub.now())}")

    window = _window(call.request.headers.get("range"))
    try:
        answer = store.reconstruction(grant, file_hash, window, link_to, version=version)
    except RangeNotSatisfiableError as error:
        return error_reply(416, str(error), headers={"Content-Range": f"bytes */{error.size_bytes}"})
    return JSONResponse(answer)


def _window(asked: str | None) -> tuple[int, int] | None:
    """[start, stop) of one range; None without one, or with what is none and to be ignored."""
    found = _RANGE.fullmatch(asked.strip()) if asked is not None else None
    if found is None:
        return None
    first, last = found.groups()
    window = (int(first), int(last) + 1 if last else 1 << 62)
    return window if window[0] < window[1] else None


_API = "/api/{kind}/{repo}"
_HASH = "{prefix_of_hash}/{hash}"


def _cas(method: str, pattern: str, handler: Any, *, writes: bool = False) -> Route:
    # Whether the caller may was decided when the token was made; a link is its own permission.
    return Route(
        method=method,
        pattern=CAS + pattern,
        action="content.propose" if writes else "content.read",
        subject="ticket",
        body="stream" if writes else "whole",
        handler=handler,
    )


ROUTES = (
    Route(method="GET", pattern=f"{_API}/xet-read-token/{{rev}}", action="content.read", handler=read_token),
    Route(
        method="GET",
        pattern=f"{_API}/xet-write-token/{{rev}}",
        action="content.write",
        proposed_action="content.propose",
        handler=write_token,
    ),
    _cas("GET", f"/v1/chunks/{_HASH}", find_chunk),
    _cas("POST", f"/v1/xorbs/{_HASH}", receive_xorb, writes=True),
    _cas("POST", "/v1/shards", receive_shard, writes=True),
    _cas("POST", "/v2/shards", receive_shard_with_progress, writes=True),
    _cas("GET", "/v1/reconstructions/{hash}", reconstruct_1),
    _cas("GET", "/v2/reconstructions/{hash}", reconstruct),
    _cas("GET", "/links/{ticket}", send_xorb),
)
