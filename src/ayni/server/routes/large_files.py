"""Which large files a repository has in all its history, taking some out for good, and some to another."""

from collections.abc import Mapping
from typing import Annotated

import pydantic
from starlette.responses import JSONResponse, Response

from ayni.hub import purge, quotas, revisions, uploads
from ayni.hub.git_objects import TreeEntry
from ayni.hub.repository import Kind
from ayni.hub.revisions import Recorded
from ayni.objects import Stored
from ayni.server.call import Call
from ayni.server.descriptions import time_text
from ayni.server.errors import RefusedRequestError
from ayni.server.routing import Route

MAX_DIGESTS = 1_000


class Deletions(pydantic.BaseModel):
    """Which contents, by SHA-256."""

    sha: list[Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")]] = pydantic.Field(
        max_length=MAX_DIGESTS
    )
    rewriteHistory: bool = True  # noqa: N815 - the clients' word


class Asked(pydantic.BaseModel):
    """What is to be done."""

    deletions: Deletions


class Target(pydantic.BaseModel):
    """A repository."""

    type: Kind
    name: str


class SharedFile(pydantic.BaseModel):
    """A content of this repository; clients name it in another way and say its path as well."""

    sha256: str


class Sharing(pydantic.BaseModel):
    """Which contents another repository is to have, without their bytes."""

    target: Target
    files: list[SharedFile] = pydantic.Field(max_length=MAX_DIGESTS)


def list_large_files(call: Call) -> Response:
    """`GET .../lfs-files`: each content once, under the path that it has in its newest commit."""
    found: dict[str, dict[str, object]] = {}
    with call.hub.database.reading() as connection:
        for ref, at in revisions.list_refs(connection, call.repository.id).items():
            for recorded in revisions.history(connection, call.repository.id, start=at):
                for path, entry in call.hub.trees.walk(connection, recorded.commit.tree):
                    if entry.is_lfs:
                        digest = str(entry.sha256)
                        found[digest] = _described(ref, recorded, path, entry, found.get(digest))
    return JSONResponse(list(found.values()))


def remove_large_files(call: Call) -> Response:
    """`POST .../lfs-files/batch`: the history is written again without them."""
    asked = call.body(Asked).deletions
    if not asked.rewriteHistory:
        raise RefusedRequestError(
            400, "A file is removed here from all revisions, or not at all. Ask with rewriteHistory true."
        )
    with call.hub.database.transaction() as connection:
        purge.remove_content(connection, call.repository, set(asked.sha))
        call.note(connection, "history.purge", call.repository, sha256=sorted(set(asked.sha)))
    return JSONResponse({})


def share_large_files(call: Call) -> Response:
    """`POST .../lfs-files/duplicate`: another repository may name contents of this one in its commits."""
    asked = call.body(Sharing)
    digests = list(dict.fromkeys(each.sha256 for each in asked.files))
    with call.hub.database.transaction() as connection:
        target = call.find(connection, asked.target.type, asked.target.name)
        call.require("content.propose", target)
        # Only what is in a commit of this very repository: that is what the caller was let in to.
        sizes = uploads.linked_sizes(connection, call.repository.id, digests)
        call.hub.check_upload(connection, call.caller, target, sizes)
        payer = quotas.payer_of(call.caller, target)
        for sha256, size_bytes in sizes.items():
            stored = Stored(sha256=sha256, size_bytes=size_bytes)
            uploads.note_received(connection, target.id, stored, when=call.hub.now(), payer=payer)
    failed = [
        {"sha256": sha256, "error": f"{call.repository.name} has no such content."}
        for sha256 in digests
        if sha256 not in sizes
    ]
    return JSONResponse({"success": sorted(sizes), "failed": failed})


def _described(
    ref: str, recorded: Recorded, path: str, entry: TreeEntry, newest: Mapping[str, object] | None
) -> dict[str, object]:
    # Histories are walked back in time, so that the last one seen is the first that had it.
    return {
        "fileOid": entry.sha256,
        "oid": entry.sha256,
        "filename": path if newest is None else newest["filename"],
        "ref": ref if newest is None else newest["ref"],
        "size": entry.size_bytes,
        "pushedAt": time_text(recorded.commit.when),
    }


_API = "/api/{kind}/{repo}"

ROUTES = (
    Route(method="GET", pattern=f"{_API}/lfs-files", action="repository.see", handler=list_large_files),
    Route(
        method="POST",
        pattern=f"{_API}/lfs-files/batch",
        action="content.rewrite",
        handler=remove_large_files,
    ),
    Route(
        method="POST",
        pattern=f"{_API}/lfs-files/duplicate",
        action="content.read",
        handler=share_large_files,
    ),
)
