"""What a member or an organisation stores: `settings/repositories`, of what the caller may see."""

from starlette.responses import JSONResponse, Response

from ayni.hub import members, quotas
from ayni.hub.permissions import visible
from ayni.server.call import Call
from ayni.server.descriptions import time_text
from ayni.server.paging import next_link, page_size, read_cursor
from ayni.server.routing import Route

PAGE, LARGEST_PAGE = 1_000, 10_000


def list_own(call: Call) -> Response:
    """`GET /api/settings/repositories`: of the caller."""
    return _listed(call, call.author)


def list_of_organisation(call: Call) -> Response:
    """`GET /api/organizations/{name}/settings/repositories`."""
    with call.hub.database.reading() as connection:
        organisation = members.get(connection, call.parts["name"], "organisation")
    return _listed(call, organisation.name)


def _listed(call: Call, namespace: str) -> Response:
    limit, after = page_size(call, default=PAGE, largest=LARGEST_PAGE), read_cursor(call)
    with call.hub.database.reading() as connection:
        total = quotas.used_bytes(connection, namespace)
        found = quotas.used_by_repository(
            connection,
            namespace,
            visible=visible(call.caller),
            after=after if isinstance(after, int) else 0,
            limit=limit + 1,
        )
    said = [
        {
            "id": repository.name,
            "type": repository.kind,
            "updatedAt": time_text(repository.updated_at),
            "visibility": repository.visibility,
            "storage": num_bytes,
            "storagePercent": num_bytes / total if total else 0.0,
        }
        for repository, num_bytes in found[:limit]
    ]
    cursor = found[limit - 1][0].id if len(found) > limit else None
    return JSONResponse(said, headers=next_link(call, cursor))


ROUTES = tuple(
    Route(method="GET", pattern=pattern, action="identity.read", subject="none", handler=handler)
    for pattern, handler in (
        ("/api/settings/repositories", list_own),
        ("/api/organizations/{name}/settings/repositories", list_of_organisation),
    )
)
