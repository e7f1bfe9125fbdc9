"""Lineage as a picture: what a repository comes from on the left, what comes from it on the right.

Columns are distances, so that lines go one way. The same is on the page as tables; who cannot see the picture
misses nothing.

Not covered: graphs of more than `MOST_NODES`; they have their tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ayni.hub.lineage import Graph
from ayni.reports.svg import svg_figure, svg_text

MOST_NODES = 30
MOST_CHILDREN = 8
# As many as the style sheet has widths for.
MOST_COLUMNS = 8
WIDTH, HEIGHT = 190.0, 46.0
GAP_X, GAP_Y = 70.0, 14.0
LONGEST_LABEL = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class LineagePlot:
    """The picture and its number of columns, by which a page knows how wide it is."""

    drawn: Markup
    num_columns: int


def lineage_plot(graph: Graph, children: Sequence[tuple[str, str]]) -> LineagePlot | None:
    """The picture; None where there is nothing to draw, or too much."""
    shown = children[:MOST_CHILDREN]
    if len(graph.nodes) > MOST_NODES or len(graph.nodes) + len(shown) < 2:
        return None
    columns = _columns(graph)
    num_left = max(columns.values())
    num_columns = num_left + 1 + bool(shown)
    if num_columns > MOST_COLUMNS:
        return None
    places: dict[int, tuple[float, float]] = {}
    tallest = max(len(shown), *(list(columns.values()).count(each) for each in range(num_left + 1)))
    height = tallest * (HEIGHT + GAP_Y)
    for column in range(num_left + 1):
        members = [number for number, each in columns.items() if each == column]
        for row, number in enumerate(members):
            places[number] = (_x(num_left - column), _y(row, len(members), height))
    right = [(_x(num_left + 1), _y(row, len(shown), height)) for row in range(len(shown))]
    parts = [
        _line(places[parent], places[child], relation)
        for child, parent, relation in graph.edges
        if columns[parent] > columns[child]
    ]
    parts += [_line(places[0], place, how) for place, (_, how) in zip(right, shown, strict=True)]
    for number, node in enumerate(graph.nodes):
        css = "node here" if number == 0 else "node" if node.is_here else "node elsewhere"
        parts.append(
            _box(places[number], node.name, "data set" if node.kind == "dataset" else node.kind, css)
        )
    parts += [_box(place, name, "", "node") for place, (name, _) in zip(right, shown, strict=True)]
    drawn = svg_figure(
        parts,
        key="lineage-plot",
        title="Lineage",
        description="What this repository comes from on the left, what comes from it on the right. The "
        "tables say the same.",
        width=num_columns * WIDTH + (num_columns - 1) * GAP_X + 4,
        height=height,
    )
    return LineagePlot(drawn=drawn, num_columns=num_columns)


def _columns(graph: Graph) -> Mapping[int, int]:
    """How far each node is from the first, by the shortest way; nodes come in that order."""
    found = {0: 0}
    for child, parent, _ in graph.edges:
        found.setdefault(parent, found[child] + 1)
    return found


def _x(column: int) -> float:
    return 2 + column * (WIDTH + GAP_X)


def _y(row: int, count: int, height: float) -> float:
    return height * (row + 0.5) / count - HEIGHT / 2


def _line(start: tuple[float, float], end: tuple[float, float], label: str) -> Markup:
    x0, y0 = start[0] + WIDTH, start[1] + HEIGHT / 2
    x1, y1 = end[0], end[1] + HEIGHT / 2
    middle = (x0 + x1) / 2
    curve = Markup(
        '<path class="edge" d="M{:.0f} {:.0f}C{:.0f} {:.0f} {:.0f} {:.0f} {:.0f} {:.0f}"/>'
    ).format(x0, y0, middle, y0, middle, y1, x1, y1)
    return curve + svg_text(middle, (y0 + y1) / 2 - 4, label[:14], anchor="middle")


def _box(place: tuple[float, float], name: str, kind: str, css: str) -> Markup:
    x, y = place
    owner, _, short = name.rpartition("/")
    words = " ".join(each for each in (kind, f"of {owner}" if owner else "") if each)
    box = Markup(
        '<rect class="{}" x="{:.0f}" y="{:.0f}" width="{:.0f}" height="{:.0f}" rx="8">'
        "<title>{}</title></rect>"
    ).format(css, x, y, WIDTH, HEIGHT, name)
    title = svg_text(x + 12, y + 20, _cut(short), css="label inside")
    return box + title + svg_text(x + 12, y + 36, _cut(words), css="tick inside")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}\N{HORIZONTAL ELLIPSIS}"
