"""Addresses of the Hugging Face Hub that this hub answers without having what is behind them.

Names without a namespace, which only the Hugging Face Hub has, are repositories that are not found. What this
hub does not do (spaces that run, jobs, collections, webhooks, buckets) is told as such, so that clients say
it and do not guess.
"""

import sqlalchemy as sa
from starlette.responses import JSONResponse, Response

from ayni.hub.card_index import tags_table
from ayni.hub.permissions import visible
from ayni.hub.tables import repositories_table
from ayni.server.call import Call
from ayni.server.errors import RefusedRequestError, not_found
from ayni.server.routing import Route

_TYPES = {
    "license": "license:",
    "dataset": "dataset:",
    "base_model": "base_model:",
    "task_categories": "task_categories:",
    "task_ids": "task_ids:",
    "size_categories": "size_categories:",
    "multilinguality": "multilinguality:",
    "language_creators": "language_creators:",
}


def answer_not_found(call: Call) -> Response:
    """A name without a namespace."""
    raise not_found(call.caller, call.parts["name"])


def answer_not_implemented(_call: Call) -> Response:
    """What this hub does not do."""
    raise RefusedRequestError(501, "This hub does not have this feature.", code="NotImplemented")


def list_tags(call: Call) -> Response:
    """`GET /api/{kind}-tags-by-type`: the tags of what the caller may see."""
    query = (
        sa.select(tags_table.c.tag)
        .distinct()
        .join(repositories_table, repositories_table.c.id == tags_table.c.repository_id)
        .where(
            repositories_table.c.kind == call.kind,
            repositories_table.c.deleted_at.is_(None),
            visible(call.caller),
        )
    )
    said: dict[str, list[dict[str, str]]] = {}
    with call.hub.database.reading() as connection:
        for tag in connection.scalars(query.order_by(tags_table.c.tag)):
            type_ = next((name for name, prefix in _TYPES.items() if tag.startswith(prefix)), "other")
            label = tag.removeprefix(_TYPES.get(type_, ""))
            said.setdefault(type_, []).append({"id": tag, "label": label, "type": type_})
    return JSONResponse(said)


_MISSING = (
    ("GET", "/api/collections"),
    ("POST", "/api/collections"),
    ("GET", "/api/collections/{rest...}"),
    ("GET", "/api/settings/webhooks"),
    ("POST", "/api/settings/webhooks"),
    ("GET", "/api/spaces/{repo}/runtime"),
    ("POST", "/api/spaces/{repo}/secrets"),
    ("POST", "/api/spaces/{repo}/variables"),
    ("POST", "/api/spaces/{repo}/hardware"),
    ("POST", "/api/spaces/{repo}/pause"),
    ("POST", "/api/spaces/{repo}/restart"),
    ("GET", "/api/buckets/{rest...}"),
    ("POST", "/api/buckets/{rest...}"),
    ("GET", "/api/jobs/{rest...}"),
    ("POST", "/api/jobs/{rest...}"),
    ("GET", "/api/papers/{rest...}"),
    ("GET", "/api/daily_papers"),
)

ROUTES = (
    Route(
        method="GET",
        pattern="/api/{kind}-tags-by-type",
        action="repository.list",
        subject="none",
        handler=list_tags,
    ),
    *(
        Route(method=method, pattern=pattern, action="public", subject="none", handler=answer_not_implemented)
        for method, pattern in _MISSING
    ),
    *(
        Route(method=method, pattern=pattern, action="public", subject="none", handler=answer_not_found)
        for method, pattern in (
            ("GET", "/api/{kind}/{name}"),
            ("GET", "/{prefix}{name}/resolve/{rev}/{path...}"),
            ("HEAD", "/{prefix}{name}/resolve/{rev}/{path...}"),
        )
    ),
)
