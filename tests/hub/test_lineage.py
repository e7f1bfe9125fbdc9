from typing import Any

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection

from ayni.hub import catalogue, lineage
from ayni.hub.card_index import tags_table
from ayni.hub.inheritance import inheritance
from ayni.hub.lineage import Edge, edges_of
from ayni.hub.repository import Repository
from ayni.hub.tables import repositories_table

__all__ = ["connection"]

ALL = sa.true()
PUBLIC = repositories_table.c.visibility == "public"


def make(connection: sa.Connection, name: str, licence: str = "mit", **given: Any) -> Repository:
    given = {"kind": "model", "visibility": "public", "parents": [], **given}
    made = catalogue.create(connection, given["kind"], name, visibility=given["visibility"], when=WHEN)
    connection.execute(tags_table.insert().values(repository_id=made.id, tag=f"license:{licence}"))
    lineage.put_edges(
        connection, made.id, [Edge(kind="model", name=each, relation="base") for each in given["parents"]]
    )
    return made


def names(graph: lineage.Graph) -> list[tuple[str, bool]]:
    return [(each.name, each.is_here) for each in graph.nodes]


@pytest.mark.parametrize(
    ("card", "edges"),
    [
        ({}, []),
        ({"base_model": "a/b"}, [("model", "a/b", "base")]),
        (
            {"base_model": ["a/b", "A/B", "c"], "base_model_relation": "merge"},
            [("model", "a/b", "merge"), ("model", "c", "merge")],
        ),
        (
            {"base_model": "a/b", "datasets": ["d", 3, ""]},
            [("model", "a/b", "base"), ("dataset", "d", "data")],
        ),
        ({"base_model": {"x": 1}, "base_model_relation": [1]}, []),
    ],
)
def test_a_card_says_what_its_repository_comes_from(
    card: dict[str, Any], edges: list[tuple[str, str, str]]
) -> None:
    assert [(each.kind, each.name, each.relation) for each in edges_of(card)] == edges


def test_a_graph_holds_all_ancestors_and_names_that_are_not_here(connection: sa.Connection) -> None:
    make(connection, "me/root", "gpl-3.0", parents=["far/away"])
    make(connection, "me/base", parents=["ME/Root"])
    model = make(connection, "me/model", parents=["me/base", "me/root"])

    graph = lineage.graph(connection, model, visible=ALL)

    assert names(graph) == [("me/model", True), ("me/base", True), ("me/root", True), ("far/away", False)]
    assert sorted(graph.edges) == [(0, 1, "base"), (0, 2, "base"), (1, 2, "base"), (2, 3, "base")]
    assert not inheritance(["mit"], graph.ancestors()).is_allowed


def test_a_circle_ends(connection: sa.Connection) -> None:
    one = make(connection, "me/one", parents=["me/two"])
    make(connection, "me/two", parents=["me/one"])

    graph = lineage.graph(connection, one, visible=ALL)

    assert names(graph) == [("me/one", True), ("me/two", True)]
    assert sorted(graph.edges) == [(0, 1, "base"), (1, 0, "base")]


def test_a_hidden_base_ends_the_walk_and_tells_nothing(connection: sa.Connection) -> None:
    make(connection, "me/secret-root")
    make(connection, "me/hidden", "gpl-3.0", visibility="private", parents=["me/secret-root"])
    model = make(connection, "me/model", parents=["me/hidden"])

    graph = lineage.graph(connection, model, visible=PUBLIC)

    assert names(graph) == [("me/model", True), ("me/hidden", False)]
    assert graph.nodes[1].licences == ()


def test_a_renamed_base_is_followed_and_has_its_children(connection: sa.Connection) -> None:
    base = make(connection, "me/old")
    model = make(connection, "me/model", parents=["me/old"])
    make(connection, "me/private", visibility="private", parents=["me/old"])
    base = catalogue.move(connection, base, "me/new", when=WHEN)

    assert names(lineage.graph(connection, model, visible=ALL))[1] == ("me/new", True)
    assert lineage.children(connection, base, visible=PUBLIC) == [("me/model", "base")]
    assert len(lineage.children(connection, base, visible=ALL)) == 2


def test_a_deleted_base_is_not_here(connection: sa.Connection) -> None:
    base = make(connection, "me/base")
    model = make(connection, "me/model", parents=["me/base"])
    catalogue.delete(connection, base, when=WHEN)

    assert names(lineage.graph(connection, model, visible=ALL))[1] == ("me/base", False)


def test_new_edges_take_the_place_of_the_old_ones(connection: sa.Connection) -> None:
    model = make(connection, "me/model", parents=["a/b"])

    lineage.put_edges(connection, model.id, [Edge(kind="dataset", name="c/d", relation="data")])

    assert names(lineage.graph(connection, model, visible=ALL))[1:] == [("c/d", False)]


def test_a_graph_that_is_too_large_says_so(
    connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage, "MAX_NODES", 3)
    model = make(connection, "me/model", parents=["a/1", "a/2", "a/3"])

    graph = lineage.graph(connection, model, visible=ALL)

    assert (len(graph.nodes), graph.is_whole) == (3, False)
