"""What a repository comes from and what comes from it, as picture and tables, with the licences' verdict.

Not covered: what the visitor may not see; it stands there by the name that its child's card gives it.
"""

from starlette.responses import Response

from ayni.hub import lineage
from ayni.hub.inheritance import inheritance
from ayni.hub.permissions import visible
from ayni.server.routing import Route
from ayni.server.web.lineage_plot import lineage_plot
from ayni.server.web.repository_frame import frame
from ayni.server.web.visit import Visit


def show(visit: Visit) -> Response:
    """`GET /{repo}/lineage`."""
    with visit.hub.database.reading() as connection:
        graph = lineage.graph(connection, visit.repository, visible=visible(visit.caller))
        children = lineage.children(connection, visit.repository, visible=visible(visit.caller))
    return visit.show(
        "lineage.html.j2",
        **frame(visit, "lineage"),
        graph=graph,
        plot=lineage_plot(graph, children),
        rows=[(graph.nodes[parent], relation, graph.nodes[child]) for child, parent, relation in graph.edges],
        children=children,
        judged=inheritance(graph.nodes[0].licences, graph.ancestors()),
    )


ROUTES = (Route(method="GET", pattern="/{prefix}{page}/lineage", action="repository.see", handler=show),)
