"""The page of a user or an organisation: its repositories, and for members of the hub who is in it.

Who is nobody sees public repositories under a name and nothing of the people, as in the API. Without any, a
name that is somebody's looks like one that is nobody's.

Not covered: pictures of people.
"""

from starlette.responses import Response

from ayni.hub import catalogue, members
from ayni.hub.callers import Role
from ayni.hub.members import Namespace
from ayni.hub.permissions import visible
from ayni.hub.repository import KINDS
from ayni.server.descriptions import API_KINDS
from ayni.server.errors import RefusedRequestError
from ayni.server.routing import Route
from ayni.server.web.listing_page import PLURALS, items
from ayni.server.web.visit import Visit, with_query

PAGE = 20


def show(visit: Visit) -> Response:
    """`GET /{member}`."""
    name, may_see_people = visit.part("member"), visit.may("identity.read")
    with visit.hub.database.reading() as connection:
        namespace = members.find(connection, name)
        sections, spelled = [], name
        for kind in KINDS:
            page = catalogue.page(connection, kind, visible=visible(visit.caller), namespace=name, limit=PAGE)
            if page.repositories:
                spelled = page.repositories[0].namespace
                more = with_query(f"/{API_KINDS[kind]}", author=spelled) if page.cursor else None
                sections.append((kind, PLURALS[kind], items(connection, page.repositories), more))
        people: list[tuple[Namespace, Role]] = []
        organisations: list[tuple[Namespace, Role]] = []
        if namespace is not None and may_see_people:
            is_user = namespace.kind == "user"
            organisations = members.organisations_of(connection, namespace) if is_user else []
            people = [] if is_user else members.members_of(connection, namespace)
    if not sections and (namespace is None or not may_see_people):
        raise RefusedRequestError(404, "There is nobody of this name here, or nothing that you may see.")
    return visit.show(
        "member.html.j2",
        name=spelled if namespace is None else namespace.name,
        namespace=namespace if may_see_people else None,
        sections=sections,
        people=people,
        organisations=organisations,
        may_see_people=may_see_people,
    )


ROUTES = (Route(method="GET", pattern="/{member}", action="repository.list", subject="none", handler=show),)
