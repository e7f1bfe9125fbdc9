"""Large files by the git-lfs protocol: `batch` hands out signed links, bytes go to them, a commit names them.

    PUT  /lfs/<ticket>               a whole file; clients send no token there: the link is the permission
    PUT  /lfs/<ticket>               a part, answered with an ETag
    POST /lfs/<ticket>               all parts are there
    GET  /lfs/<ticket>               a download by git-lfs

Bytes are hashed as they come; only what has the announced SHA-256 and size is ever visible.

Not covered: locks of git-lfs.

Source: git-lfs, docs/api/batch.md; the multipart adapter as clients of the Hugging Face Hub speak it.
"""

from datetime import timedelta
from typing import Any, Literal

import pydantic
import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from ayni.hub import quotas, uploads
from ayni.hub.permissions import Action, readable
from ayni.hub.tables import repository_objects_table
from ayni.hub.tickets import BadTicketError, ExpiredTicketError
from ayni.hub.uploads import SINGLE_UP_TO_BYTES, Upload
from ayni.objects import Stored
from ayni.server.bodies import pieces
from ayni.server.call import Call
from ayni.server.content_reply import content_reply
from ayni.server.descriptions import page_path
from ayni.server.errors import RefusedRequestError
from ayni.server.routing import Route

MAX_OBJECTS = 1_000
LARGEST_FILE_BYTES = 5 << 40
# Each part is a signed link of half a kilobyte in the reply.
MAX_PARTS_AT_ONCE = 10_000
LINKS_LAST = timedelta(hours=12)
LFS_JSON = "application/vnd.git-lfs+json"
SINGLE, PART, COMPLETE, READ = "lfs-single", "lfs-part", "lfs-complete", "lfs-read"


class LfsObject(pydantic.BaseModel):
    """One file."""

    oid: str = pydantic.Field(pattern="^[0-9a-f]{64}$")
    size: int = pydantic.Field(ge=0, le=LARGEST_FILE_BYTES)


class Batch(pydantic.BaseModel):
    """What is to be sent or fetched, and how the client can."""

    operation: Literal["upload", "download"]
    objects: list[LfsObject] = pydantic.Field(max_length=MAX_OBJECTS)
    transfers: list[str] = ["basic"]
    hash_algo: str = "sha256"


def batch(call: Call) -> Response:
    """`POST .../info/lfs/objects/batch`."""
    asked = call.body(Batch)
    if asked.hash_algo != "sha256":
        raise RefusedRequestError(409, f"Objects are named by SHA-256 here, not by {asked.hash_algo}.")
    if asked.operation == "download":
        return _lfs_reply(_downloads(call, asked.objects))
    call.require("content.propose", call.repository)
    digests = [each.oid for each in asked.objects]
    takes_parts = "multipart" in asked.transfers
    with call.hub.database.reading() as connection:
        known = uploads.known_sizes(connection, call.repository.id, digests, readable=readable(call.caller))
    missing = [each for each in asked.objects if not _is_there(call, each, known)]
    _refuse_too_many_parts(missing)
    sessions = _begun(call, missing) if missing else {}
    said = [
        _upload_actions(call, each, sessions[each.oid], takes_parts=takes_parts)
        if each.oid in sessions
        else {"oid": each.oid, "size": each.size}
        for each in asked.objects
    ]
    uses_parts = takes_parts and any(each.size > SINGLE_UP_TO_BYTES for each in missing)
    return _lfs_reply({"transfer": "multipart" if uses_parts else "basic", "objects": said})


def verify(call: Call) -> Response:
    """`POST .../info/lfs/verify`: whether the bytes came."""
    asked = call.body(LfsObject)
    with call.hub.database.reading() as connection:
        known = uploads.known_sizes(
            connection, call.repository.id, [asked.oid], readable=readable(call.caller)
        )
    if known.get(asked.oid) != asked.size:
        raise RefusedRequestError(404, f"The content {asked.oid[:12]}... of {asked.size} bytes is not here.")
    return _lfs_reply({"oid": asked.oid, "size": asked.size})


async def receive(call: Call) -> Response:
    """`PUT /lfs/{ticket}`: a file or a part of one."""
    claims = await run_in_threadpool(_claims, call, SINGLE, PART)
    if claims["purpose"] == SINGLE:
        await _receive_file(call, claims)
        return Response(status_code=200)
    etag = await _receive_part(call, claims)
    return Response(status_code=200, headers={"ETag": f'"{etag}"'})


def complete(call: Call) -> Response:
    """`POST /lfs/{ticket}`: make one object of all parts."""
    claims = _claims(call, COMPLETE)
    hub = call.hub
    with hub.database.reading() as connection:
        received = uploads.received_size(connection, claims["repository"], claims["oid"])
        if received is not None:  # the answer to an earlier request was lost
            return JSONResponse({"success": True})
        upload = uploads.find(connection, claims["upload"])
        parts = uploads.parts(connection, upload)
    stored = uploads.joined(hub.content, upload, parts)
    hub.database.run(
        lambda connection: uploads.complete(connection, upload, stored, when=hub.now(), payer=claims["payer"])
    )
    for sha256 in parts.values():
        hub.content.delete(sha256)
    return JSONResponse({"success": True})


def send(call: Call) -> Response:
    """`GET /lfs/{ticket}`."""
    claims = _claims(call, READ)
    return content_reply(call, claims["oid"], claims["size"], etag=claims["oid"], filename="object")


def _is_there(call: Call, asked: LfsObject, known: dict[str, int]) -> bool:
    # The row says that it came, the store that it is still there (a restored backup may lack it).
    return known.get(asked.oid) == asked.size and call.hub.content.size(asked.oid) == asked.size


def _refuse_too_many_parts(missing: list[LfsObject]) -> None:
    num_parts = sum(-(-each.size // uploads.part_bytes(each.size)) for each in missing)
    if num_parts > MAX_PARTS_AT_ONCE:
        raise RefusedRequestError(
            413, f"These files have {num_parts} parts; {MAX_PARTS_AT_ONCE} fit into one request. Send fewer."
        )


def _begun(call: Call, missing: list[LfsObject]) -> dict[str, Upload]:
    """A session for each file that is to come, by digest: from now on it counts for the quota."""
    payer = quotas.payer_of(call.caller, call.repository)

    def begin(connection: sa.Connection) -> dict[str, Upload]:
        sizes = {each.oid: each.size for each in missing}
        uploads.give_up_old(connection, when=call.hub.now())
        call.hub.check_upload(connection, call.caller, call.repository, sizes)
        return {
            oid: uploads.begin(
                connection, call.repository.id, sha256=oid, size_bytes=size, when=call.hub.now(), payer=payer
            )
            for oid, size in sizes.items()
        }

    return call.hub.database.run(begin)


def _upload_actions(call: Call, asked: LfsObject, upload: Upload, *, takes_parts: bool) -> dict[str, Any]:
    verify_at = call.url(f"{page_path(call.repository.kind, call.repository.name)}.git/info/lfs/verify")
    authorization = call.request.headers.get("authorization")
    verify_action: dict[str, Any] = {
        "href": verify_at,
        "header": {"Authorization": authorization} if authorization else {},
    }
    claims = _about(call, asked)
    if takes_parts and asked.size > SINGLE_UP_TO_BYTES:
        send_to: dict[str, Any] = _part_links(call, upload, claims)
    else:
        send_to = {"href": _link(call, SINGLE, claims), "header": {}}
    send_to["expires_in"] = verify_action["expires_in"] = int(LINKS_LAST.total_seconds())
    return {
        "oid": asked.oid,
        "size": asked.size,
        "authenticated": True,
        "actions": {"upload": send_to, "verify": verify_action},
    }


def _part_links(call: Call, upload: Upload, claims: dict[str, Any]) -> dict[str, Any]:
    claims = {**claims, "upload": upload.id}
    header = {"chunk_size": str(upload.part_bytes)}
    for number in range(1, upload.num_parts + 1):
        header[f"{number:05d}"] = _link(call, PART, {**claims, "number": number})
    sent: dict[str, Any] = {"href": _link(call, COMPLETE, claims), "header": header}
    return sent


def _downloads(call: Call, asked: list[LfsObject]) -> dict[str, Any]:
    columns = repository_objects_table.c
    query = sa.select(columns.sha256, columns.size_bytes).where(
        columns.repository_id == call.repository.id, columns.sha256.in_([each.oid for each in asked])
    )
    with call.hub.database.reading() as connection:
        sizes = {row.sha256: row.size_bytes for row in connection.execute(query)}
    said: list[dict[str, Any]] = []
    for each in asked:
        one: dict[str, Any] = {"oid": each.oid, "size": each.size}
        if sizes.get(each.oid) == each.size:
            link = _link(call, READ, _about(call, each))
            one |= {"authenticated": True, "actions": {"download": {"href": link, "header": {}}}}
        else:
            error: dict[str, Any] = {"code": 404, "message": "This repository has no such content."}
            one["error"] = error
        said.append(one)
    return {"transfer": "basic", "objects": said}


async def _receive_file(call: Call, claims: dict[str, Any]) -> None:
    stored = await _store(call, claims["size"], expected_sha256=claims["oid"])

    def note(connection: sa.Connection) -> None:
        uploads.note_received(
            connection, claims["repository"], stored, when=call.hub.now(), payer=claims["payer"]
        )

    await run_in_threadpool(call.hub.database.run, note)


async def _receive_part(call: Call, claims: dict[str, Any]) -> str:
    hub = call.hub

    def begin() -> Upload:
        with hub.database.reading() as connection:
            return uploads.find(connection, claims["upload"])

    upload = await run_in_threadpool(begin)
    number: int = claims["number"]
    stored = await _store(call, upload.size_of(number), beginning=uploads.mask())

    def note() -> None:
        with hub.database.transaction() as connection:
            uploads.find(connection, upload.id)  # it may have been completed meanwhile
            before = uploads.note_part(connection, upload, number, stored)
        if before is not None:
            hub.content.delete(before)

    await run_in_threadpool(note)
    return stored.sha256


async def _store(
    call: Call, num_bytes: int, *, expected_sha256: str | None = None, beginning: bytes = b""
) -> Stored:
    """Store a body of a known size.

    Raises:
        RefusedRequestError: it has another size.
        ContentMismatchError: it has another SHA-256.
    """
    announced = call.request.headers.get("content-length")
    if announced is not None and announced != str(num_bytes):
        raise RefusedRequestError(400, f"{announced} bytes were announced here, {num_bytes} before.")
    num_received = 0
    with call.hub.content.writer() as writer:
        if beginning:
            writer.write(beginning)
        async for piece in pieces(call.request, max_bytes=num_bytes):
            await run_in_threadpool(writer.write, piece)
            num_received += len(piece)
        if num_received != num_bytes:
            raise RefusedRequestError(400, f"{num_received} bytes came, {num_bytes} were announced.")
        return await run_in_threadpool(writer.finish, expected_sha256)


def _link(call: Call, purpose: str, claims: dict[str, Any]) -> str:
    said = {**claims, "purpose": purpose}
    return call.url(f"/lfs/{call.hub.tickets.issue(purpose, said, now=call.hub.now(), lifetime=LINKS_LAST)}")


def _about(call: Call, asked: LfsObject) -> dict[str, Any]:
    """What a ticket says: also by which token it was asked for, which may be revoked before it ends."""
    return {
        "repository": call.repository.id,
        "oid": asked.oid,
        "size": asked.size,
        "by": call.caller.credential,
        "payer": quotas.payer_of(call.caller, call.repository),
    }


def _claims(call: Call, *purposes: str) -> dict[str, Any]:
    """What the ticket of the path says, if it is for one of these purposes and its token still good."""
    claims = _read_ticket(call, *purposes)
    action: Action = "content.read" if purposes == (READ,) else "content.propose"
    call.admit_link(action, claims["repository"], claims["by"])
    return claims


def _read_ticket(call: Call, *purposes: str) -> dict[str, Any]:
    *others, last = purposes
    for purpose in others:
        try:
            return call.hub.tickets.read(purpose, call.parts["ticket"], now=call.hub.now())
        except ExpiredTicketError:
            raise
        except BadTicketError:
            continue
    return call.hub.tickets.read(last, call.parts["ticket"], now=call.hub.now())


def _lfs_reply(said: dict[str, Any]) -> Response:
    return JSONResponse(said, media_type=LFS_JSON)


_LFS = "/{prefix}{repo}.git/info/lfs"

ROUTES = (
    Route(method="POST", pattern=f"{_LFS}/objects/batch", action="content.read", handler=batch),
    Route(method="POST", pattern=f"{_LFS}/verify", action="content.propose", handler=verify),
    Route(
        method="PUT",
        pattern="/lfs/{ticket}",
        action="content.propose",
        subject="ticket",
        body="stream",
        handler=receive,
    ),
    Route(
        method="POST", pattern="/lfs/{ticket}", action="content.propose", subject="ticket", handler=complete
    ),
    Route(method="GET", pattern="/lfs/{ticket}", action="content.read", subject="ticket", handler=send),
)
