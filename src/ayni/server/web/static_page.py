"""The style sheet, the script and the icon: under addresses that change with their content.

Not covered: anything that members upload; that is under `raw`.
"""

from starlette.responses import Response

from ayni.server.errors import RefusedRequestError
from ayni.server.routing import Route
from ayni.server.web.rendering import static_files
from ayni.server.web.visit import Visit

_FOR_EVER = "public, max-age=31536000, immutable"
_FOR_NOW = "public, max-age=60"


def show_file(visit: Visit) -> Response:
    """`GET /static/{name}`."""
    found = static_files().get(visit.part("name"))
    if found is None:
        raise RefusedRequestError(404, "The pages have no such file.")
    headers = {
        "Cache-Control": _FOR_EVER if visit.query("v") == found.version else _FOR_NOW,
        "ETag": f'"{found.version}"',
        "Vary": "Accept-Encoding",
    }
    asked = visit.call.request.headers
    if asked.get("if-none-match", "").removeprefix("W/").strip('"') == found.version:
        return Response(status_code=304, headers=headers)
    if "gzip" in asked.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(found.compressed, headers=headers, media_type=found.media_type)
    return Response(found.content, headers=headers, media_type=found.media_type)


ROUTES = (Route(method="GET", pattern="/static/{name}", action="public", subject="none", handler=show_file),)
