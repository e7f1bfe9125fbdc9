"""Repositories described: one by its name, many by search, filters and order.

Not covered: filters by hardware and by inference, which no repository fits.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from starlette.responses import JSONResponse, Response

from ayni.hub import card_index, catalogue, evaluations, parameter_counts, revisions
from ayni.hub.catalogue import Sort
from ayni.hub.git_objects import TreeEntry
from ayni.hub.permissions import allowed, visible
from ayni.hub.repository import Repository
from ayni.hub.tables import repositories_table, repository_objects_table
from ayni.server.call import Call
from ayni.server.descriptions import sibling_json, time_text
from ayni.server.errors import RefusedRequestError
from ayni.server.paging import next_link, page_size, read_cursor
from ayni.server.routing import Route
from ayni.server.web.receipts_view import FOLDER, receipts_json, receipts_view

PAGE, LARGEST_PAGE = 100, 1_000
# Each is a condition, and databases nest only so many.
MAX_WORDS, MAX_FILTERS = 20, 50
MAX_CONFIG_BYTES = 1 << 20
MAX_ARCHITECTURES, MAX_NAME_LENGTH = 20, 200

SORTS: Mapping[str, Sort] = {
    "createdAt": "created_at",
    "created_at": "created_at",
    "lastModified": "updated_at",
    "last_modified": "updated_at",
    "downloads": "num_downloads",
    "likes": "num_likes",
    # Nothing here counts what is in fashion; likes come nearest.
    "trendingScore": "num_likes",
    "trending_score": "num_likes",
    "name": "name",
}
# Query parameters whose values are tags with a prefix.
_TAG_FILTERS = {
    "filter": "",
    "pipeline_tag": "",
    "library": "",
    "language": "",
    "license": "license:",
    "task_categories": "task_categories:",
    "task_ids": "task_ids:",
    "size_categories": "size_categories:",
    "multilinguality": "multilinguality:",
    "language_creators": "language_creators:",
}
_NEVER = ("apps", "inference", "inference_provider")


def show(call: Call) -> Response:
    """`GET /api/{kind}/{repo}` and `.../revision/{rev}`."""
    repository = call.repository
    with call.hub.database.reading() as connection:
        revision = _revision(connection, call)
        tags = card_index.tags(connection, [repository.id]).get(repository.id, [])
        said = _summary(repository, tags) | {"disabled": False}
        files: dict[str, TreeEntry] = {}
        if revision is not None:
            commit = revisions.read_commit(connection, repository.id, revision)
            assert commit is not None
            files = call.hub.trees.files(connection, commit.tree)
        said |= {"sha": revision, "usedStorage": _used_bytes(connection, repository)}
        if repository.kind == "model":
            said["evalResults"] = _eval_results(connection, repository)
        if counts := parameter_counts.counts_of(connection, files):
            said["safetensors"] = _safetensors(counts)
        said |= _receipts(call, files)
        for part in call.hub.info_parts:
            said |= part(connection, repository, revision)
    with_blobs = call.flag("blobs")
    said["siblings"] = [sibling_json(path, each, with_blobs=with_blobs) for path, each in files.items()]
    said = _card_parts(call, files) | said
    return JSONResponse(_only_expanded(call, said))


def list_repositories(call: Call) -> Response:
    """`GET /api/{kind}`."""
    query = call.request.query_params
    limit = page_size(call, default=PAGE, largest=LARGEST_PAGE)
    sort = SORTS.get(query.get("sort", "lastModified"))
    if sort is None:
        raise RefusedRequestError(
            400, f"sort={query['sort']!r} is not known; it is one of {', '.join(SORTS)}."
        )
    cursor = read_cursor(call)
    if cursor is not None and not _is_cursor(cursor, sort):
        raise RefusedRequestError(400, "The cursor is none of this listing. Begin at the first page.")
    if len(query.get("search", "").split()) > MAX_WORDS:
        raise RefusedRequestError(400, f"A search has {MAX_WORDS} words at most.")
    conditions = [visible(call.caller), *_filters(call)]
    with call.hub.database.reading() as connection:
        page = catalogue.page(
            connection,
            call.kind,
            visible=sa.and_(*conditions),
            search=query.get("search", ""),
            namespace=query.get("author"),
            sort=sort,
            is_descending=query.get("direction", "-1") == "-1",
            limit=limit,
            cursor=None if cursor is None else (cursor[0], cursor[1]),
        )
        said = _described(connection, call, page.repositories)
    return JSONResponse(said, headers=next_link(call, page.cursor))


def _filters(call: Call) -> list[sa.ColumnElement[bool]]:
    query, columns = call.request.query_params, repositories_table.c
    wanted = [
        # Clients send some tags with their prefix already.
        value if not prefix or value.startswith(prefix) else f"{prefix}{value}"
        for name, prefix in _TAG_FILTERS.items()
        for value in query.getlist(name)
    ]
    if len(wanted) > MAX_FILTERS:
        raise RefusedRequestError(400, f"{len(wanted)} filters are more than {MAX_FILTERS}.")
    conditions = card_index.has_tags(columns.id, wanted)
    if (gated := query.get("gated")) is not None:
        is_open = columns.gated == "no"
        conditions.append(sa.not_(is_open) if gated in ("true", "True", "1") else is_open)
    if bounds := query.get("num_parameters"):
        try:
            conditions.append(parameter_counts.within(columns.id, bounds))
        except ValueError as error:
            raise RefusedRequestError(400, f"num_parameters: {error}.") from error
    if any(query.get(name) for name in _NEVER):
        conditions.append(sa.false())
    return conditions


def _described(
    connection: sa.Connection, call: Call, repositories: Sequence[Repository]
) -> list[dict[str, Any]]:
    query = call.request.query_params
    is_full = call.flag("full")
    asked = set(query.getlist("expand") + query.getlist("expand[]"))
    with_card = is_full or call.flag("cardData") or bool(asked & {"cardData", "model-index"})
    with_files = is_full or call.flag("config") or bool(asked & {"siblings", "config", "safetensors"})
    numbers = [each.id for each in repositories]
    tags = card_index.tags(connection, numbers)
    counts = parameter_counts.read(connection, numbers) if "safetensors" in asked else {}
    said = []
    for repository in repositories:
        one = _summary(repository, tags.get(repository.id, []))
        if repository.id in counts:
            one["safetensors"] = _safetensors(counts[repository.id])
        if with_card or with_files or "sha" in asked:
            one |= _file_parts(connection, call, repository, with_files=with_files)
        if "evalResults" in asked:
            one["evalResults"] = _eval_results(connection, repository)
        for part in call.hub.info_parts:
            one |= part(connection, repository, one.get("sha"))
        said.append(_only_expanded(call, one))
    return said


def _eval_results(connection: sa.Connection, repository: Repository) -> list[dict[str, Any]]:
    """What `.eval_results` of main says, and whether a member stands for it."""
    return [
        {
            "filename": each.filename,
            "verified": each.evidence == "verified",
            "data": dict(each.claim),
        }
        for each in evaluations.of_repository(connection, repository.id)
        if each.filename.startswith(f"{evaluations.EVAL_RESULTS}/")
    ]


def _file_parts(
    connection: sa.Connection, call: Call, repository: Repository, *, with_files: bool
) -> dict[str, Any]:
    revision = revisions.head(connection, repository.id)
    commit = None if revision is None else revisions.read_commit(connection, repository.id, revision)
    if commit is None:
        return {"sha": None}
    if with_files:
        files = call.hub.trees.files(connection, commit.tree)
    else:
        card = revisions.find_entry(connection, commit.tree, card_index.CARD_FILE)
        files = {} if card is None else {card_index.CARD_FILE: card}
    said = _card_parts(call, files) | {"sha": revision}
    if with_files:
        said["siblings"] = [sibling_json(path, each, with_blobs=False) for path, each in files.items()]
    return said


def _card_parts(call: Call, files: Mapping[str, TreeEntry]) -> dict[str, Any]:
    """What README.md and config.json say."""
    card = card_index.read_card(call.hub.content, files.get(card_index.CARD_FILE))
    said: dict[str, Any] = {"cardData": card}
    if "model-index" in card:
        said["model-index"] = card["model-index"]
    config = files.get("config.json")
    if config is not None and config.sha256 is not None and (config.size_bytes or 0) <= MAX_CONFIG_BYTES:
        said["config"] = _config(b"".join(call.hub.content.read(config.sha256)))
    return said


def _safetensors(counts: Mapping[str, int]) -> dict[str, Any]:
    return {"parameters": dict(counts), "total": sum(counts.values())}


def _receipts(call: Call, files: Mapping[str, TreeEntry]) -> dict[str, Any]:
    """Whether the receipts of a repository hold, for who may read them; nothing where there are none."""
    if not any(path.startswith(FOLDER) for path in files):
        return {}
    if allowed(call.caller, "content.read", call.repository) != "yes":
        return {}
    found = receipts_view(call.hub.content, files, call.hub.known_keys)
    return {} if found.state == "none" else {"receipts": receipts_json(found)}


def _config(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    # Only what a configuration of a model has there: a reply must be JSON whatever a member wrote.
    said: dict[str, Any] = {}
    if isinstance(found.get("model_type"), str):
        said["model_type"] = _clean(found["model_type"])
    if isinstance(found.get("architectures"), list):
        names = [each for each in found["architectures"] if isinstance(each, str)]
        said["architectures"] = [_clean(each) for each in names[:MAX_ARCHITECTURES]]
    return said


def _clean(text: str) -> str:
    """A text that can be sent: half a character, which JSON may hold as an escape, is none."""
    return text[:MAX_NAME_LENGTH].encode(errors="replace").decode()


def _summary(repository: Repository, tags: list[str]) -> dict[str, Any]:
    return {
        "_id": f"{repository.id:024x}",
        "id": repository.name,
        **({"modelId": repository.name} if repository.kind == "model" else {}),
        "author": repository.namespace,
        "private": repository.is_private,
        "gated": False if repository.gated == "no" else repository.gated,
        "createdAt": time_text(repository.created_at),
        "lastModified": time_text(repository.updated_at),
        "downloads": repository.num_downloads,
        "likes": repository.num_likes,
        "tags": tags,
    }


def _only_expanded(call: Call, said: dict[str, Any]) -> dict[str, Any]:
    query = call.request.query_params
    asked = query.getlist("expand") + query.getlist("expand[]")
    for key in ("pipeline_tag", "library_name"):
        if key not in said and (value := said.get("cardData", {}).get(key)) is not None:
            said[key] = value
    if not asked:
        return said
    return {key: value for key, value in said.items() if key in ("_id", "id", *asked)}


def _revision(connection: sa.Connection, call: Call) -> str | None:
    if "rev" in call.parts:
        return revisions.resolve(connection, call.repository, call.parts["rev"])
    return revisions.head(connection, call.repository.id)


def _used_bytes(connection: sa.Connection, repository: Repository) -> int:
    columns = repository_objects_table.c
    query = sa.select(sa.func.coalesce(sa.func.sum(columns.size_bytes), 0))
    return int(connection.scalar(query.where(columns.repository_id == repository.id)) or 0)


def _is_cursor(cursor: Any, sort: Sort) -> bool:
    kind = int if sort in ("num_downloads", "num_likes") else str
    return (
        isinstance(cursor, list)
        and len(cursor) == 2
        and isinstance(cursor[0], kind)
        and isinstance(cursor[1], int)
    )


ROUTES = (
    Route(
        method="GET",
        pattern="/api/{kind}",
        action="repository.list",
        subject="none",
        handler=list_repositories,
    ),
    Route(method="GET", pattern="/api/{kind}/{repo}", action="repository.see", handler=show),
    Route(method="GET", pattern="/api/{kind}/{repo}/revision/{rev}", action="repository.see", handler=show),
)
