"""What admins of a repository may change of it as a whole: who sees it, who gets in, its name, its end.

The same rules as for the API (`ayni.server.routes.repositories`): the old name leads to the new one for ever,
and neither it nor that of a deleted repository is given again. Deleting asks for the name to be typed.

Not covered: roles in one repository, squashing and duplicating, which clients and `/api/v1` do.
"""

from typing import get_args

from starlette.responses import Response

from ayni.hub import catalogue
from ayni.hub.names import RepositoryNameError
from ayni.hub.repository import Gated, NameTakenError, RepositoryGoneError, Visibility
from ayni.server.descriptions import page_path
from ayni.server.errors import RefusedRequestError
from ayni.server.routing import Route
from ayni.server.web.repository_frame import frame
from ayni.server.web.visit import Visit

LONGEST_NAME = 300
VISIBILITIES: dict[Visibility, str] = {"public": "Everybody", "private": "Members with a role in it"}
GATES: dict[Gated, str] = {
    "no": "No: who sees it reads it",
    "auto": "Ask, and be let in at once",
    "manual": "Ask, and wait for an answer",
}
assert set(VISIBILITIES) == set(get_args(Visibility)) and set(GATES) == set(get_args(Gated))


def show(visit: Visit) -> Response:
    """`GET /{repo}/settings`."""
    return _page(visit)


def change(visit: Visit) -> Response:
    """`POST /{repo}/settings`."""
    visibility = next((each for each in VISIBILITIES if each == visit.field_text("visibility")), None)
    gated = next((each for each in GATES if each == visit.field_text("gated")), None)
    if visibility is None or gated is None:
        raise RefusedRequestError(400, "The form does not say who may see the repository, or read it.")
    with visit.hub.database.transaction() as connection:
        changed = catalogue.change(connection, visit.repository, visibility=visibility, gated=gated)
        visit.call.note(connection, "repository.settings", changed, visibility=visibility, gated=gated)
    return visit.go(f"{page_path(changed.kind, changed.name)}/settings?done=changed")


def move(visit: Visit) -> Response:
    """`POST /{repo}/settings/move`."""
    repository, name = visit.repository, visit.field_text("to", longest=LONGEST_NAME)
    owner, _, own_name = name.partition("/")
    if not owner or not own_name:
        return _page(visit, move_problem="Write the new name as OWNER/NAME.", status=400)
    visit.call.require("repository.move", repository)
    if not visit.may("repository.create", namespace=owner):
        return _page(visit, move_problem=f"You may not make repositories of {owner}.", status=403)
    try:
        with visit.hub.database.transaction() as connection:
            moved = catalogue.move(connection, repository, name, when=visit.hub.now())
            visit.hub.check_upload(connection, visit.caller, moved, 0)
            visit.call.note(connection, "repository.move", repository, to=moved.name)
    except (NameTakenError, RepositoryGoneError, RepositoryNameError) as error:
        return _page(visit, move_problem=str(error), status=409)
    return visit.go(f"{page_path(moved.kind, moved.name)}/settings?done=moved")


def delete(visit: Visit) -> Response:
    """`POST /{repo}/settings/delete`."""
    repository = visit.repository
    if visit.field_text("name", longest=LONGEST_NAME) != repository.name:
        problem = f"Nothing was deleted: what was typed is not {repository.name}."
        return _page(visit, delete_problem=problem, status=400)
    visit.call.require("repository.delete", repository)
    with visit.hub.database.transaction() as connection:
        catalogue.delete(connection, repository, when=visit.hub.now())
        visit.call.note(connection, "repository.delete", repository)
    return visit.go(f"/{repository.name.partition('/')[0]}")


def _page(visit: Visit, *, status: int = 200, move_problem: str = "", delete_problem: str = "") -> Response:
    said = {"changed": "The settings were changed.", "moved": "Moved. The old name leads here."}
    return visit.show(
        "settings.html.j2",
        status=status,
        **frame(visit, "settings"),
        visibilities=VISIBILITIES,
        gates=GATES,
        done=said.get(visit.query("done"), ""),
        to=visit.field_text("to", longest=LONGEST_NAME) or visit.repository.name,
        move_problem=move_problem,
        delete_problem=delete_problem,
    )


_PAGE = "/{prefix}{page}/settings"

ROUTES = (
    Route(method="GET", pattern=_PAGE, action="repository.settings", handler=show),
    Route(method="POST", pattern=_PAGE, action="repository.settings", handler=change),
    Route(method="POST", pattern=f"{_PAGE}/move", action="repository.move", handler=move),
    Route(method="POST", pattern=f"{_PAGE}/delete", action="repository.delete", handler=delete),
)
