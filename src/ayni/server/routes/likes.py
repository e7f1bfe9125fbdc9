"""Likes: give one, take it back, who likes a repository, and what somebody likes."""

from starlette.responses import JSONResponse, Response

from ayni.hub import likes
from ayni.hub.permissions import visible
from ayni.server.call import Call
from ayni.server.descriptions import time_text
from ayni.server.errors import RefusedRequestError
from ayni.server.paging import next_link, page_size, read_cursor
from ayni.server.routing import Route

PAGE, LARGEST_PAGE = 100, 1_000


def like(call: Call) -> Response:
    """`POST .../like`."""
    with call.hub.database.transaction() as connection:
        likes.like(connection, call.repository.id, call.author, when=call.hub.now())
    return JSONResponse({})


def unlike(call: Call) -> Response:
    """`DELETE .../like`."""
    with call.hub.database.transaction() as connection:
        likes.unlike(connection, call.repository.id, call.author)
    return JSONResponse({})


def list_likers(call: Call) -> Response:
    """`GET .../likers`."""
    limit, after = page_size(call, default=PAGE, largest=LARGEST_PAGE), read_cursor(call)
    if not isinstance(after, str | None):
        raise RefusedRequestError(400, "The cursor is none of this address. Begin at the first page.")
    with call.hub.database.reading() as connection:
        found = likes.likers(connection, call.repository.id, limit=limit + 1, after=after or "")
    shown = found[:limit]
    said = [
        {"user": each.user, "fullname": each.full_name, "avatarUrl": "", "type": "user"} for each in shown
    ]
    cursor = shown[-1].key if len(found) > limit else None
    return JSONResponse(said, headers=next_link(call, cursor))


def list_liked(call: Call) -> Response:
    """`GET /api/users/{name}/likes`, as far as the caller may see it."""
    limit, after = page_size(call, default=PAGE, largest=LARGEST_PAGE), read_cursor(call)
    if not isinstance(after, int | None):
        raise RefusedRequestError(400, "The cursor is none of this address. Begin at the first page.")
    with call.hub.database.reading() as connection:
        found = likes.liked_by(
            connection, call.parts["name"], visible=visible(call.caller), limit=limit + 1, after=after or 0
        )
    shown = found[:limit]
    said = [
        {"createdAt": time_text(each.liked_at), "repo": {"name": each.name, "type": each.kind}}
        for each in shown
    ]
    cursor = shown[-1].repository_id if len(found) > limit else None
    return JSONResponse(said, headers=next_link(call, cursor))


ROUTES = (
    Route(method="POST", pattern="/api/{kind}/{repo}/like", action="discussion.write", handler=like),
    Route(method="DELETE", pattern="/api/{kind}/{repo}/like", action="discussion.write", handler=unlike),
    Route(method="GET", pattern="/api/{kind}/{repo}/likers", action="repository.see", handler=list_likers),
    Route(
        method="GET",
        pattern="/api/users/{name}/likes",
        action="identity.read",
        subject="none",
        handler=list_liked,
    ),
)
