"""Branches, tags, commits, and a history made one commit."""

import pydantic
import sqlalchemy as sa
from starlette.responses import JSONResponse, Response

from ayni.hub import commits, revisions
from ayni.hub.revisions import BRANCHES, MAIN, PULL_REQUESTS, TAGS, RevisionNotFoundError
from ayni.server.call import Call, Text
from ayni.server.descriptions import commit_json, ref_json
from ayni.server.errors import RefusedRequestError
from ayni.server.paging import next_link, page_size, read_cursor
from ayni.server.routing import Route

PAGE, LARGEST_PAGE = 50, 1_000


class NewBranch(pydantic.BaseModel):
    """Where a branch begins; the newest of main without it."""

    startingPoint: Text | None = None  # noqa: N815 - the clients' word


class NewTag(pydantic.BaseModel):
    """What a tag is called. Its message is not kept."""

    tag: Text
    message: str | None = None


class Squash(pydantic.BaseModel):
    """What the one commit says."""

    message: Text = "Squash the history"


def list_refs(call: Call) -> Response:
    """`GET .../refs`."""
    with call.hub.database.reading() as connection:
        found = revisions.list_refs(connection, call.repository.id)

    def those(prefix: str) -> list[dict[str, str]]:
        return [ref_json(ref, at) for ref, at in found.items() if ref.startswith(prefix)]

    said = {"branches": those(BRANCHES), "tags": those(TAGS), "converts": []}
    if call.flag("include_prs"):
        said["pullRequests"] = those(PULL_REQUESTS)
    return JSONResponse(said)


def create_branch(call: Call) -> Response:
    """`POST .../branch/{name}`."""
    asked = call.body(NewBranch)
    with call.hub.database.transaction() as connection:
        start = revisions.resolve(connection, call.repository, asked.startingPoint)
        revisions.add_ref(connection, call.repository.id, f"{BRANCHES}{call.parts['name']}", start)
    return JSONResponse({})


def delete_branch(call: Call) -> Response:
    """`DELETE .../branch/{name}`; its commits stay."""
    if call.parts["name"] == "main":
        raise RefusedRequestError(403, "main cannot be deleted: every repository has it.")
    with call.hub.database.transaction() as connection:
        _remove(connection, call, f"{BRANCHES}{call.parts['name']}")
    return JSONResponse({})


def create_tag(call: Call) -> Response:
    """`POST .../tag/{rev}`."""
    asked = call.body(NewTag)
    with call.hub.database.transaction() as connection:
        at = revisions.resolve(connection, call.repository, call.parts["rev"])
        revisions.add_ref(connection, call.repository.id, f"{TAGS}{asked.tag}", at)
    return JSONResponse({})


def delete_tag(call: Call) -> Response:
    """`DELETE .../tag/{name}`."""
    with call.hub.database.transaction() as connection:
        _remove(connection, call, f"{TAGS}{call.parts['name']}")
    return JSONResponse({})


def list_commits(call: Call) -> Response:
    """`GET .../commits/{rev}`, newest first."""
    limit = page_size(call, default=PAGE, largest=LARGEST_PAGE)
    start = read_cursor(call)
    is_formatted = "formatted" in call.request.query_params.getlist("expand[]")
    with call.hub.database.reading() as connection:
        revision = revisions.resolve(connection, call.repository, call.parts["rev"])
        if isinstance(start, str):
            revision = revisions.resolve(connection, call.repository, start)
        found = list(revisions.history(connection, call.repository.id, start=revision, limit=limit + 1))
    said = [commit_json(each) for each in found[:limit]]
    if is_formatted:
        for each in said:
            each["formatted"] = {"title": each["title"], "message": each["message"]}
    cursor = found[limit].revision if len(found) > limit else None
    return JSONResponse(said, headers=next_link(call, cursor))


def squash(call: Call) -> Response:
    """`POST .../super-squash/{branch}`."""
    asked = call.body(Squash)
    branch = call.parts["name"]
    with call.hub.database.transaction() as connection:
        ref = MAIN if branch == "main" else f"{BRANCHES}{branch}"
        before = revisions.head(connection, call.repository.id, ref)
        made = commits.squash(
            connection,
            call.repository,
            ref,
            message=asked.message,
            author=call.author,
            when=call.hub.now(),
        )
        call.note(connection, "history.squash", call.repository, ref=ref, before=before, after=made)
    return JSONResponse({"commitOid": made})


def _remove(connection: sa.Connection, call: Call, ref: str) -> None:
    repository, at = call.repository, revisions.head(connection, call.repository.id, ref)
    if not revisions.remove_ref(connection, repository.id, ref):
        name = ref.removeprefix(BRANCHES).removeprefix(TAGS)
        known = list(revisions.list_refs(connection, repository.id).values())
        raise RevisionNotFoundError(repository.name, name, known, 0)
    # With the revision, so that what was lost can be found again.
    call.note(connection, "ref.delete", repository, ref=ref, revision=at)


_API = "/api/{kind}/{repo}"

ROUTES = (
    Route(method="GET", pattern=f"{_API}/refs", action="repository.see", handler=list_refs),
    Route(method="POST", pattern=_API + "/branch/{name}", action="content.write", handler=create_branch),
    Route(method="DELETE", pattern=_API + "/branch/{name}", action="content.write", handler=delete_branch),
    Route(method="POST", pattern=_API + "/tag/{rev}", action="content.write", handler=create_tag),
    Route(method="DELETE", pattern=_API + "/tag/{name}", action="content.write", handler=delete_tag),
    Route(method="GET", pattern=_API + "/commits/{rev}", action="repository.see", handler=list_commits),
    Route(method="POST", pattern=_API + "/super-squash/{name}", action="content.rewrite", handler=squash),
)
