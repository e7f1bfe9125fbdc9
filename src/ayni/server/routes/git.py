"""Read-only `git clone` and `git fetch` of a repository, over the smart HTTP protocol.

    GET  /owner/name[.git]/info/refs?service=git-upload-pack
    POST /owner/name[.git]/git-upload-pack

The password is a token; files kept by LFS come from the routes of `lfs`.
"""

import itertools
import logging
import zlib

from starlette.responses import Response, StreamingResponse

from ayni.hub import git_packs, git_upload, revisions
from ayni.hub.git_packs import History
from ayni.hub.git_upload import GitRequest, GitRequestError
from ayni.hub.revisions import MAIN
from ayni.server.call import Call
from ayni.server.errors import RefusedRequestError
from ayni.server.routing import Route

MAX_REQUEST_BYTES = 32 << 20
_NOT_KEPT = {"Cache-Control": "no-cache, max-age=0, must-revalidate", "Pragma": "no-cache"}
_LOG = logging.getLogger(__name__)


def advertise(call: Call) -> Response:
    """`GET .../info/refs`."""
    service = call.request.query_params.get("service")
    if service == "git-receive-pack":
        raise RefusedRequestError(
            403, "This hub takes commits through its API (hf upload, or create_commit), not by git push."
        )
    if service != git_upload.SERVICE:
        raise RefusedRequestError(400, "Only git 1.6.6 or newer can clone from here (smart HTTP).")
    with call.hub.database.reading() as connection:
        refs = revisions.list_refs(connection, call.repository.id)
    return Response(
        git_upload.advertisement(refs, MAIN),
        media_type=f"application/x-{git_upload.SERVICE}-advertisement",
        headers=_NOT_KEPT,
    )


def upload_pack(call: Call) -> Response:
    """`POST .../git-upload-pack`."""
    asked = git_upload.read_request(_plain_body(call))
    if not asked.wants:
        raise GitRequestError("nothing is wanted")
    with call.hub.database.reading() as connection:
        refs = set(revisions.list_refs(connection, call.repository.id).values())
        if unknown := [each for each in asked.wants if each not in refs]:
            raise GitRequestError(f"no ref is at {unknown[0]}")
        history = History.of(connection, call.repository.id)
        common = [each for each in asked.haves if each in history.commits]
        wanted = history.reached(asked.wants, depth=asked.depth)
        start = _shallow_answer(asked, history, wanted)
        if start == b"" or asked.haves or asked.is_done:
            # A client that only asked where the depth ends takes this for the answer to its next request.
            start += git_upload.acknowledgement(common[0] if common else None)
        media_type = f"application/x-{git_upload.SERVICE}-result"
        if not asked.is_done:
            return Response(start, media_type=media_type, headers=_NOT_KEPT)
        has = history.reached(common, ends=asked.shallow)
        lacks = [each for each in wanted if each not in has]
        listed = git_packs.list_objects(connection, history, lacks, common)
    pieces = git_packs.pack(listed, call.hub.content)
    if asked.has_bands:
        pieces = git_upload.banded(pieces, log=lambda error: _LOG.error("%s", error, exc_info=error))

    return StreamingResponse(itertools.chain([start], pieces), media_type=media_type, headers=_NOT_KEPT)


def _shallow_answer(asked: GitRequest, history: History, wanted: dict[str, int]) -> bytes:
    if asked.depth is None:
        return b""
    boundary = [
        each
        for each, distance in wanted.items()
        if distance == asked.depth and history.commits[each].parent is not None
    ]
    no_longer = [each for each in asked.shallow if each in wanted and each not in boundary]
    return git_upload.shallow_lines(boundary, no_longer)


def _plain_body(call: Call) -> bytes:
    if call.request.headers.get("content-encoding", "") not in ("gzip", "x-gzip"):
        return call.payload
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        body = stream.decompress(call.payload, MAX_REQUEST_BYTES)
    except zlib.error as error:
        raise GitRequestError("it is no gzip") from error
    if stream.unconsumed_tail or not stream.eof:
        raise GitRequestError(f"it is cut off, or larger than {MAX_REQUEST_BYTES} bytes")
    return body


ROUTES = tuple(
    route
    for suffix in (".git", "")
    for route in (
        Route(
            method="GET",
            pattern=f"/{{prefix}}{{repo}}{suffix}/info/refs",
            action="content.read",
            handler=advertise,
        ),
        Route(
            method="POST",
            pattern=f"/{{prefix}}{{repo}}{suffix}/git-upload-pack",
            action="content.read",
            handler=upload_pack,
        ),
    )
)
