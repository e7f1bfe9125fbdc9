"""The hub's transparency log: its entries by pages and its signed head; a part of `/api/v1`.

Members keep a copy and check it with `ayni.hub.commit_log_mirror`. Where a repository may not be seen, its
entries have no opening.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from ayni.hub import commit_log
from ayni.hub.permissions import visible
from ayni.server.admission import Admission, Admitted
from ayni.server.errors import RefusedRequestError
from ayni.server.served_hub import ServedHub
from ayni.signing import SigningKey

LARGEST_PAGE = 1_000
_LARGEST_NUMBER = (1 << 31) - 1

Member = Annotated[Admission, Depends(Admitted("identity.read"))]
After = Annotated[int, Query(ge=0, le=_LARGEST_NUMBER)]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]

router = APIRouter(prefix="/api/v1", tags=["commit log"])


@router.get("/commit-log", summary="Entries after a number, and the signed head of the same moment")
def list_entries(admission: Member, after: After = 0, limit: Limit = LARGEST_PAGE) -> dict[str, Any]:
    """In order; ask again with the number of the last entry until it is that of the head."""
    hub = admission.hub
    key = _key(hub)
    with hub.database.reading() as connection:
        found = commit_log.entries(connection, after=after, limit=limit, visible=visible(admission.caller))
        head = commit_log.head(connection, key, now=hub.now())
    return {"entries": [each.to_json() for each in found], "head": head}


@router.get("/commit-log/head", summary="How long the log is and what its newest hash is, signed")
def show_head(admission: Member) -> dict[str, Any]:
    """Compare it with what other members were shown."""
    hub = admission.hub
    key = _key(hub)
    with hub.database.reading() as connection:
        return commit_log.head(connection, key, now=hub.now())


def _key(hub: ServedHub) -> SigningKey:
    if hub.log_key is None:
        raise RefusedRequestError(
            501, "This hub has no key to sign its log with. Ask its operator.", code="NotImplemented"
        )
    return hub.log_key
