"""What comes from what: edges from a repository to its base models and data, kept up to date by commits.

Edges are read from the card of `main` at each commit that changes it. They hold names, since a base may lie
on another hub or be gone; a name that leads to a repository here is followed, through renames as well.

    card of me/digits-int8:   base_model: me/digits, base_model_relation: quantized
    edge:                     me/digits-int8 -> quantized -> model me/digits

A reader sees only nodes that they may see: a hidden repository ends the walk, and is shown by the name that
the card of its child gives it, and nothing more.

Not covered: edges between revisions, and what a run used without saying so in its card.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ayni.database import metadata
from ayni.hub import card_index, revisions
from ayni.hub.card_index import CARD_FILE
from ayni.hub.commits import AfterCommit, CommitRequest, Committed
from ayni.hub.content import ContentStore
from ayni.hub.inheritance import Parent
from ayni.hub.repository import Kind, Repository
from ayni.hub.tables import names_table, repositories_table

MAX_EDGES = 200
MAX_NODES = 500
MAX_NAME_LENGTH = 200
DATA = "data"
BASE = "base"

edges_table = sa.Table(
    "hub_edges",
    metadata,
    sa.Column("repository_id", sa.Integer, primary_key=True),
    sa.Column("parent_kind", sa.String, primary_key=True),
    # Lower case, as in hub_names; parent_name is as the card spells it.
    sa.Column("parent_key", sa.String, primary_key=True),
    sa.Column("parent_name", sa.String, nullable=False),
    sa.Column("relation", sa.String, nullable=False),
    sa.Index("ix_hub_edges_parent", "parent_kind", "parent_key"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A repository comes from this; `relation` is data, base, or what base_model_relation says."""

    kind: Kind
    name: str
    relation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A repository in a graph.

    Attributes:
        kind: model or dataset.
        name: as it is called now, or as a card calls it where it is not here.
        is_here: whether it is on this hub and the reader may see it.
        licences: what its tags say.
    """

    kind: Kind
    name: str
    is_here: bool
    licences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """All that a repository comes from.

    Attributes:
        nodes: itself first, then by distance.
        edges: (number of the child's node, number of the parent's node, relation).
        is_whole: False when there is more than MAX_NODES.
    """

    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int, str], ...]
    is_whole: bool = True

    def ancestors(self) -> list[Parent]:
        """Every node but the first, as the check of licences wants them."""
        return [
            Parent(
                name=each.name, relation="data" if each.kind == "dataset" else "base", licences=each.licences
            )
            for each in self.nodes[1:]
        ]


def edges_of(card: Mapping[str, Any]) -> list[Edge]:
    """What a card says that its repository comes from, each once."""
    relation = card.get("base_model_relation")
    how = relation if isinstance(relation, str) and 0 < len(relation) <= 40 else BASE
    found: dict[tuple[str, str], Edge] = {}
    for name in _names(card.get("base_model")):
        found.setdefault(("model", name.lower()), Edge(kind="model", name=name, relation=how))
    for name in _names(card.get("datasets")):
        found.setdefault(("dataset", name.lower()), Edge(kind="dataset", name=name, relation=DATA))
    return list(found.values())[:MAX_EDGES]


def put_edges(connection: sa.Connection, repository_id: int, edges: Iterable[Edge]) -> None:
    """Put edges in the place of those that were there."""
    connection.execute(edges_table.delete().where(edges_table.c.repository_id == repository_id))
    rows = [
        {
            "repository_id": repository_id,
            "parent_kind": each.kind,
            "parent_key": each.name.lower(),
            "parent_name": each.name,
            "relation": each.relation,
        }
        for each in edges
    ]
    if rows:
        connection.execute(edges_table.insert(), rows)


def following(content: ContentStore) -> AfterCommit:
    """What keeps edges up to date, for `CommitHooks.after`."""

    def follow(
        connection: sa.Connection, repository: Repository, request: CommitRequest, committed: Committed
    ) -> None:
        if request.ref != revisions.MAIN or CARD_FILE not in request.changes:
            return
        made = revisions.read_commit(connection, repository.id, committed.revision)
        assert made is not None
        card = card_index.read_card(content, revisions.find_entry(connection, made.tree, CARD_FILE))
        put_edges(connection, repository.id, edges_of(card))

    return follow


def graph(connection: sa.Connection, repository: Repository, *, visible: sa.ColumnElement[bool]) -> Graph:
    """All that a repository comes from, as far as the reader may see. Cost: three queries for each level.

    Args:
        connection: to read from.
        repository: where to begin.
        visible: `permissions.visible(caller)`.
    """
    nodes: list[Node] = []
    numbers: dict[object, int] = {}
    edges: list[tuple[int, int, str]] = []
    level = {repository.id: _add(nodes, numbers, repository.id, _here(connection, repository))}
    while level and len(nodes) < MAX_NODES:
        found = list(_parents(connection, list(level)))
        here = _resolve(connection, [(kind, key) for _, kind, key, _, _ in found], visible)
        below: dict[int, int] = {}
        for child, kind, key, name, relation in found:
            row = here.get((kind, key))
            identity: object = (kind, key) if row is None else row.id
            if identity not in numbers:
                if len(nodes) >= MAX_NODES:
                    return Graph(nodes=tuple(nodes), edges=tuple(edges), is_whole=False)
                node = row.node if row is not None else Node(kind=kind, name=name, is_here=False)
                number = _add(nodes, numbers, identity, node)
                if row is not None:
                    below[row.id] = number
            edges.append((level[child], numbers[identity], relation))
        level = below
    return Graph(nodes=tuple(nodes), edges=tuple(edges), is_whole=not level)


def children(
    connection: sa.Connection, repository: Repository, *, visible: sa.ColumnElement[bool], limit: int = 100
) -> list[tuple[str, str]]:
    """Names of repositories that come from this one, under any name that it had, with their relation."""
    keys = sa.select(names_table.c.key).where(names_table.c.repository_id == repository.id)
    columns = edges_table.c
    query = (
        sa.select(repositories_table.c.name, columns.relation)
        .join(repositories_table, repositories_table.c.id == columns.repository_id)
        .where(columns.parent_kind == repository.kind, columns.parent_key.in_(keys))
        .where(repositories_table.c.deleted_at.is_(None), visible)
        .order_by(repositories_table.c.name)
        .limit(limit)
    )
    return [(row.name, row.relation) for row in connection.execute(query)]


@dataclass(frozen=True, slots=True)
class _Here:
    id: int
    node: Node


def _here(connection: sa.Connection, repository: Repository) -> Node:
    licences = _licences(connection, [repository.id]).get(repository.id, ())
    return Node(kind=repository.kind, name=repository.name, is_here=True, licences=licences)


def _add(nodes: list[Node], numbers: dict[object, int], identity: object, node: Node) -> int:
    numbers[identity] = len(nodes)
    nodes.append(node)
    return numbers[identity]


def _parents(connection: sa.Connection, ids: Sequence[int]) -> Iterator[tuple[int, Kind, str, str, str]]:
    columns = edges_table.c
    for start in range(0, len(ids), revisions.MAX_VARIABLES):
        query = sa.select(edges_table).where(
            columns.repository_id.in_(ids[start : start + revisions.MAX_VARIABLES])
        )
        for row in connection.execute(
            query.order_by(columns.repository_id, columns.parent_kind, columns.parent_key)
        ):
            yield row.repository_id, row.parent_kind, row.parent_key, row.parent_name, row.relation


def _resolve(
    connection: sa.Connection, wanted: Sequence[tuple[Kind, str]], visible: sa.ColumnElement[bool]
) -> dict[tuple[str, str], _Here]:
    found: dict[tuple[str, str], tuple[int, Kind, str]] = {}
    columns, repositories = names_table.c, repositories_table.c
    keys = sorted({key for _, key in wanted})
    for start in range(0, len(keys), revisions.MAX_VARIABLES):
        query = (
            sa.select(columns.kind, columns.key, repositories.id, repositories.name)
            .join(repositories_table, repositories.id == columns.repository_id)
            .where(columns.key.in_(keys[start : start + revisions.MAX_VARIABLES]))
            .where(repositories.deleted_at.is_(None), visible)
        )
        for row in connection.execute(query):
            found[row.kind, row.key] = (row.id, row.kind, row.name)
    licences = _licences(connection, sorted({number for number, _, _ in found.values()}))
    return {
        place: _Here(number, Node(kind=kind, name=name, is_here=True, licences=licences.get(number, ())))
        for place, (number, kind, name) in found.items()
    }


def _licences(connection: sa.Connection, ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for start in range(0, len(ids), revisions.MAX_VARIABLES):
        for number, tags in card_index.tags(connection, ids[start : start + revisions.MAX_VARIABLES]).items():
            licences = (each.removeprefix("license:") for each in tags if each.startswith("license:"))
            found[number] = tuple(licences)
    return found


def _names(value: Any) -> Iterator[str]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, str) and 0 < len(each.strip()) <= MAX_NAME_LENGTH:
            yield each.strip()
