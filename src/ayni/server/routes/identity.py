"""Who am I: `GET /api/whoami-v2`."""

from starlette.responses import JSONResponse, Response

from ayni.hub import members
from ayni.server.call import Call
from ayni.server.routing import Route


def whoami(call: Call) -> Response:
    """The caller, its organisations and its token, as the clients print them."""
    caller = call.caller
    with call.hub.database.reading() as connection:
        user = members.find(connection, caller.user or "")
        found = (
            {} if user is None else {each.key: each for each, _ in members.organisations_of(connection, user)}
        )
    organisations = [
        {
            "type": "org",
            "name": found[key].name if key in found else key,
            "fullname": found[key].full_name if key in found else key,
            "roleInOrg": role,
        }
        for key, role in sorted(caller.roles.items())
    ]
    token = {"displayName": caller.token or "token", "role": caller.scope}
    return JSONResponse(
        {
            "type": "user",
            "id": caller.user,
            "name": caller.user,
            "fullname": caller.user if user is None else user.full_name,
            "email": None if user is None else user.email,
            "isPro": False,
            "orgs": organisations,
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


ROUTES = (
    Route(method="GET", pattern="/api/whoami-v2", action="identity.read", subject="none", handler=whoami),
)
