"""The receipts of a repository: energy, carbon and money of each step, and whether they hold.

Not covered: the windows of the meter, which stay with the run.
"""

from starlette.responses import Response

from ayni.server.routing import Route
from ayni.server.web.receipts_view import receipts_view
from ayni.server.web.repository_frame import file_address, frame, known_keys, newest
from ayni.server.web.visit import Visit


def show(visit: Visit) -> Response:
    """`GET /{repo}/receipts`."""
    values = frame(visit, "receipts")
    with visit.hub.database.reading() as connection:
        here = newest(connection, visit)
        files = {} if here is None else visit.hub.trees.files(connection, here.commit.tree)
        keys = known_keys(connection, visit)
    found = receipts_view(visit.hub.content, files, keys)
    addresses = [file_address(values["page"], "blob", "main", path) for path in found.paths]
    return visit.show("receipts.html.j2", **values, receipts=found, addresses=addresses)


ROUTES = (Route(method="GET", pattern="/{prefix}{page}/receipts", action="content.read", handler=show),)
