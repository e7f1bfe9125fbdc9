"""What operators of the hub need of `/api/v1`: tokens of others, and which files an organisation takes.

Not covered: garbage collection and checks; those are commands on the hub's own machine.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from ayni.hub import audit, members, policies, tokens
from ayni.hub.history_copy import reachable_history, to_json
from ayni.hub.weights_policy import POLICIES, Policy
from ayni.server.admission import Admission, Admitted
from ayni.server.members_api import HubAdmin, Name, NamespaceAdmin, Number, token_json

RepositoryReader = Annotated[Admission, Depends(Admitted("content.read", "repository"))]

router = APIRouter(prefix="/api/v1", tags=["operations"])


class NewPolicy(BaseModel):
    """Which files a namespace takes."""

    policy: Policy


@router.get("/users/{name}/tokens", summary="Tokens of a user")
def list_tokens_of(admission: HubAdmin, name: Name) -> list[dict[str, Any]]:
    """Without their text."""
    with admission.hub.database.reading() as connection:
        user = members.get(connection, name, "user")
        return [token_json(each) for each in tokens.of_user(connection, user.id)]


@router.delete("/users/{name}/tokens/{number}", status_code=204, summary="Revoke a token of a user")
def revoke_token_of(admission: HubAdmin, name: Name, number: Number) -> None:
    """At once and for ever."""
    now = admission.hub.now()
    with admission.hub.database.transaction() as connection:
        user = members.get(connection, name, "user")
        tokens.revoke(connection, user.id, number, now=now)
        audit.note(connection, admission.caller, "token.revoke", user.name, now=now, number=number)


@router.get("/organisations/{namespace}/members", summary="Who is in an organisation")
def list_members(admission: NamespaceAdmin, namespace: Name) -> list[dict[str, Any]]:
    """By name, each with its role."""
    with admission.hub.database.reading() as connection:
        organisation = members.get(connection, namespace, "organisation")
        found = members.members_of(connection, organisation)
    return [{"user": user.name, "role": role} for user, role in found]


@router.get("/repositories/{kind}/{owner}/{name}/history", summary="Every commit, for mirrors")
def read_history(admission: RepositoryReader) -> dict[str, Any]:
    """Parents first, with all that the id of a commit is made of."""
    with admission.hub.database.reading() as connection:
        found = reachable_history(connection, admission.repository.id)
    return {"commits": [to_json(each) for each in found]}


@router.get("/policies/{namespace}", summary="Which files a namespace takes")
def show_policy(admission: NamespaceAdmin, namespace: Name) -> dict[str, Any]:
    """And which policies there are."""
    with admission.hub.database.reading() as connection:
        found = policies.policy_in(connection, namespace)
    return {"namespace": namespace, "policy": found, "policies": list(POLICIES)}


@router.put("/policies/{namespace}", status_code=204, summary="Choose which files a namespace takes")
def set_policy(admission: NamespaceAdmin, namespace: Name, asked: NewPolicy) -> None:
    """Counts from the next commit on."""
    now = admission.hub.now()
    with admission.hub.database.transaction() as connection:
        found = members.get(connection, namespace)
        policies.set_policy(connection, found.name, asked.policy)
        audit.note(connection, admission.caller, "policy.set", found.name, now=now, policy=asked.policy)
