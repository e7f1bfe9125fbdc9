from tests.server.web.conftest import Place
from tests.server.web.visitors import rows, words

from ayni.hub.lineage import Graph, Node
from ayni.server.web.lineage_plot import MOST_NODES, lineage_plot


def card(**given: str) -> dict[str, bytes]:
    lines = "".join(f"{name}: {value}\n" for name, value in given.items())
    return {"README.md": f"---\n{lines}---\n# Card\n".encode()}


def test_lineage_shows_ancestors_children_and_what_their_licences_leave(place: Place) -> None:
    place.commit(place.make("sun", "dataset"), card(license="cc-by-sa-4.0"), kind="datasets")
    place.commit(place.make("base"), card(license="cc-by-sa-4.0", datasets="[lab/sun]"))
    place.commit(
        place.make("small"), card(license="mit", base_model="lab/base", base_model_relation="quantized")
    )

    page = place.visitor().page("/lab/small/lineage")

    assert rows(page) == [
        "lab/base model quantized lab/small cc-by-sa-4.0",
        "lab/sun data set data lab/base cc-by-sa-4.0",
    ]
    assert "The licence does not fit" in page
    assert 'href="/datasets/lab/sun"' in page
    assert "lab/small quantized" in words(place.visitor().page("/lab/base/lineage"))
    assert "The licence does not fit" in place.visitor().page("/lab/small")


def test_what_the_visitor_may_not_see_is_named_as_the_card_names_it_and_leads_nowhere(place: Place) -> None:
    place.commit("lab/private", card(license="mit", base_model="other/deep"))
    place.commit(place.make("child"), card(license="mit", base_model="lab/private"))

    seen = place.visitor().page("/lab/child/lineage")
    own = place.visitor("reader").page("/lab/child/lineage")

    assert "lab/private not here" in words(seen)
    assert 'href="/lab/private"' not in seen
    assert "other/deep" not in seen
    assert 'href="/lab/private"' in own
    assert "other/deep" in own


def test_names_from_cards_stay_text(place: Place) -> None:
    place.commit(place.make("child"), card(license="mit", datasets="['<b>x</b>']"))

    page = place.visitor().page("/lab/child/lineage")

    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert "<b>" not in page


def graph(num_nodes: int) -> Graph:
    nodes = tuple(Node(kind="model", name=f"lab/n{number}", is_here=True) for number in range(num_nodes))
    return Graph(nodes=nodes, edges=tuple((0, number, "base") for number in range(1, num_nodes)))


def test_the_picture_has_a_box_for_each_and_says_in_words_what_it_is() -> None:
    plot = lineage_plot(graph(3), [("lab/child", "quantized")])

    assert plot is not None
    assert plot.drawn.count("<rect") == 4
    assert plot.drawn.count('class="edge"') == 3
    assert plot.num_columns == 3
    assert "<desc" in plot.drawn


def test_nothing_or_too_much_is_not_drawn() -> None:
    assert lineage_plot(graph(1), []) is None
    assert lineage_plot(graph(MOST_NODES + 1), []) is None
    deep = Graph(nodes=graph(12).nodes, edges=tuple((number, number + 1, "base") for number in range(11)))
    assert lineage_plot(deep, []) is None


def test_a_circle_of_cards_is_drawn_without_end() -> None:
    circle = Graph(nodes=graph(2).nodes, edges=((0, 1, "base"), (1, 0, "base")))

    plot = lineage_plot(circle, [])

    assert plot is not None
    assert plot.drawn.count("<rect") == 2
