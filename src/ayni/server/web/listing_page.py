"""The front page, and the lists of models, data sets and spaces with search, filters, order and pages.

Filters are the tags of what the visitor may see, those that most repositories have first; they are found by
the same index as in the API.

Not covered: search in the text of cards.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from starlette.responses import Response

from ayni.hub import card_index, catalogue
from ayni.hub.card_index import tags_table
from ayni.hub.catalogue import Sort
from ayni.hub.permissions import visible
from ayni.hub.repository import API_NAMES, KINDS, Kind, Repository
from ayni.hub.tables import repositories_table
from ayni.server.descriptions import API_KINDS, page_path
from ayni.server.errors import RefusedRequestError
from ayni.server.routing import Route
from ayni.server.web.visit import Visit, with_query

PAGE = 30
NEWEST = 5
MOST_CHOICES = 60
MOST_SHOWN_TAGS = 5
LONGEST_QUERY = 200
PLURALS: dict[Kind, str] = {"model": "Models", "dataset": "Data sets", "space": "Spaces"}
SORTS: dict[str, tuple[str, Sort]] = {
    "updated": ("Changed last", "updated_at"),
    "created": ("Made last", "created_at"),
    "downloads": ("Most downloads", "num_downloads"),
    "likes": ("Most likes", "num_likes"),
    "name": ("Name", "name"),
}
_LICENCE = "license:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One repository in a list."""

    repository: Repository
    path: str
    licence: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One value of a filter, and how many repositories have it."""

    value: str
    label: str
    count: int


def show_front(visit: Visit) -> Response:
    """`GET /`: what was changed last, of each kind."""
    sections = []
    with visit.hub.database.reading() as connection:
        for kind in KINDS:
            page = catalogue.page(connection, kind, visible=visible(visit.caller), limit=NEWEST)
            sections.append((kind, PLURALS[kind], items(connection, page.repositories)))
    return visit.show("front.html.j2", sections=sections, kinds=API_KINDS)


def show_list(visit: Visit) -> Response:
    """`GET /models`, `/datasets` and `/spaces`."""
    kind = API_NAMES[visit.path.strip("/").partition("/")[0]]
    search, owner = _word(visit, "search"), _word(visit, "author")
    wanted = {name: _word(visit, name) for name in ("license", "tag")}
    sort = visit.query("sort") or "updated"
    if sort not in SORTS:
        raise RefusedRequestError(400, f"sort={sort!r} is not known; it is one of {', '.join(SORTS)}.")
    column = SORTS[sort][1]
    tags = [value if name == "tag" else _LICENCE + value for name, value in wanted.items() if value]
    conditions = [visible(visit.caller), *card_index.has_tags(repositories_table.c.id, tags)]
    with visit.hub.database.reading() as connection:
        page = catalogue.page(
            connection,
            kind,
            visible=sa.and_(*conditions),
            search=search,
            namespace=owner or None,
            sort=column,
            is_descending=column != "name",
            limit=PAGE,
            cursor=_cursor(visit, column),
        )
        found = items(connection, page.repositories)
        licences, others = _choices(connection, kind, visible(visit.caller))
    more = None
    if page.cursor is not None:
        asked = {"search": search, "author": owner, **wanted, "sort": sort, "cursor": _to_text(page.cursor)}
        more = with_query(visit.path, **asked)
    return visit.show(
        "list.html.j2",
        kind=kind,
        title=PLURALS[kind],
        items=found,
        more=more,
        is_first=not visit.query("cursor"),
        search=search,
        owner=owner,
        wanted=wanted,
        sort=sort,
        sorts=[(name, label) for name, (label, _) in SORTS.items()],
        licences=licences,
        tags=others,
    )


def items(connection: sa.Connection, repositories: Sequence[Repository]) -> list[Item]:
    """Repositories as a list shows them, with their tags."""
    tags = card_index.tags(connection, [each.id for each in repositories])
    return [_item(each, tags.get(each.id, [])) for each in repositories]


def _item(repository: Repository, tags: Sequence[str]) -> Item:
    licences = [each.removeprefix(_LICENCE) for each in tags if each.startswith(_LICENCE)]
    return Item(
        repository=repository,
        path=page_path(repository.kind, repository.name),
        licence=", ".join(licences),
        tags=tuple(each for each in tags if ":" not in each)[:MOST_SHOWN_TAGS],
    )


def _choices(
    connection: sa.Connection, kind: Kind, may_see: sa.ColumnElement[bool]
) -> tuple[list[Choice], list[Choice]]:
    """Licences, and all other tags, that most repositories have."""
    columns = repositories_table.c
    number = sa.func.count()
    is_licence = tags_table.c.tag.startswith(_LICENCE)

    def most(condition: sa.ColumnElement[bool]) -> list[Choice]:
        query = (
            sa.select(tags_table.c.tag, number)
            .join(repositories_table, columns.id == tags_table.c.repository_id)
            .where(columns.kind == kind, columns.deleted_at.is_(None), may_see, condition)
            .group_by(tags_table.c.tag)
            .order_by(number.desc(), tags_table.c.tag)
            .limit(MOST_CHOICES)
        )
        rows = connection.execute(query).all()
        return [Choice(value=row[0], label=row[0].removeprefix(_LICENCE), count=row[1]) for row in rows]

    licences = [Choice(value=each.label, label=each.label, count=each.count) for each in most(is_licence)]
    return licences, most(sa.not_(tags_table.c.tag.contains(":")))


def _word(visit: Visit, name: str) -> str:
    return visit.query(name).strip()[:LONGEST_QUERY]


def _to_text(cursor: tuple[Any, int]) -> str:
    return base64.urlsafe_b64encode(json.dumps(cursor).encode()).rstrip(b"=").decode()


def _cursor(visit: Visit, column: Sort) -> tuple[Any, int] | None:
    text = visit.query("cursor")
    if not text:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        value, number = found
    except (ValueError, TypeError, binascii.Error, RecursionError):
        value = number = None
    is_number = column in ("num_downloads", "num_likes")
    is_value = type(value) is int and abs(value) < 1 << 31 if is_number else isinstance(value, str)
    if not is_value or "\0" in str(value) or type(number) is not int or abs(number) >= 1 << 31:
        raise RefusedRequestError(400, "This page of the list is none of this hub. Begin at the first one.")
    return value, number


ROUTES = (
    Route(method="GET", pattern="/", action="repository.list", subject="none", handler=show_front),
    *(
        Route(method="GET", pattern=f"/{plural}", action="repository.list", subject="none", handler=show_list)
        for plural in API_NAMES
    ),
)
