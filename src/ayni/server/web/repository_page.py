"""The page of a repository: its card, and beside it what is known about it, and how it is fetched.

What the card says is its author's; what stands beside it was found by the hub: signature, scans, sums of
receipts, lineage. A gated repository shows the form that asks for access in place of its files.

Not covered: running a space.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from starlette.responses import Response

from ayni.hub import access_requests, card_index, evaluations, likes, lineage, members
from ayni.hub.access_requests import AccessRequest, AccessRequestNotFoundError
from ayni.hub.card_index import CARD_FILE
from ayni.hub.config import CONFIG_FILE
from ayni.hub.content_safety import known_scans
from ayni.hub.git_objects import GITATTRIBUTES, TreeEntry
from ayni.hub.inheritance import inheritance
from ayni.hub.permissions import visible
from ayni.hub.pickles import Verdict
from ayni.hub.weights_policy import BADGES
from ayni.server.routing import Route
from ayni.server.web.access_page import gate_of
from ayni.server.web.card_text import MOST_CHARACTERS, CardPlace, without_metadata
from ayni.server.web.receipts_view import receipts_view
from ayni.server.web.repository_frame import frame, known_keys, newest, read_text
from ayni.server.web.signature_view import signature_view
from ayni.server.web.visit import Visit

# A scan is one row for each file; beyond this many the file's own page tells.
MOST_SCANNED_FILES = 2_000
MOST_CONFIG_BYTES = 1 << 16
MOST_RELATIVES = 8
MOST_RESULTS = 5
# From the best on.
EVIDENCE = ("verified", "signed", "none")
_FETCH = {
    "model": "hf download {name}",
    "dataset": "hf download {name} --repo-type dataset",
    "space": "hf download {name} --repo-type space",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanSummary:
    """What was found in the files together.

    Attributes:
        counts: files by verdict.
        worst: the worst verdict in words; empty where no file can run code.
        is_bad: whether that is more than tensors.
        num_unscanned: files that were not looked at.
    """

    counts: Mapping[Verdict, int]
    worst: str
    is_bad: bool
    num_unscanned: int


def show(visit: Visit) -> Response:
    """`GET /{repo}`."""
    repository, hub = visit.repository, visit.hub
    values = frame(visit, "card")
    with hub.database.reading() as connection:
        here = newest(connection, visit)
        files = {} if here is None else hub.trees.files(connection, here.commit.tree)
        tags = card_index.tags(connection, [repository.id]).get(repository.id, [])
        graph = lineage.graph(connection, repository, visible=visible(visit.caller))
        children = lineage.children(connection, repository, visible=visible(visit.caller))
        scans = scan_summary(connection, files)
        keys = known_keys(connection, visit)
        results = evaluations.of_repository(connection, repository.id)
        request = None if values["may_read"] else own_request(connection, visit)
        user = visit.caller.user
        has_liked = user is not None and likes.likes(connection, repository.id, user)
    may_read = values["may_read"]
    metadata = card_index.read_card(hub.content, files.get(CARD_FILE))
    return visit.show(
        "card.html.j2",
        **values,
        here=here,
        num_files=len(files),
        num_bytes=sum(each.size_bytes or 0 for each in files.values()),
        tags=[each for each in tags if ":" not in each],
        licences=[each.removeprefix("license:") for each in tags if each.startswith("license:")],
        parents=[(graph.nodes[parent], relation) for child, parent, relation in graph.edges if child == 0],
        children=children[:MOST_RELATIVES],
        num_children=len(children),
        judged=inheritance(graph.nodes[0].licences, graph.ancestors()),
        scans=scans,
        results=sorted(results, key=lambda each: EVIDENCE.index(each.evidence))[:MOST_RESULTS],
        num_results=len(results),
        signature=signature_view(hub.content, files, keys) if may_read else None,
        receipts=receipts_view(hub.content, files, keys) if may_read else None,
        card=_card(visit, values["page"], files.get(CARD_FILE)) if may_read else None,
        gate=None if may_read else gate_of(metadata),
        request=request,
        has_liked=has_liked,
        may_like=visit.may("discussion.write", repository),
        fetch=_FETCH[repository.kind].format(name=repository.name),
        load=f'ayni.load("{repository.name}")' if may_read and is_loadable(visit, files) else None,
        clone=f"git clone {hub.base_url}{values['page']}",
    )


def scan_summary(connection: sa.Connection, files: Mapping[str, TreeEntry]) -> ScanSummary | None:
    """What was found in files; None where there are too many for one page."""
    if len(files) > MOST_SCANNED_FILES:
        return None
    # The hub writes this one itself.
    given = {path: entry for path, entry in files.items() if path != GITATTRIBUTES}
    found = known_scans(connection, given)
    counts = Counter(scan.verdict for scan in found.values())
    order = [verdict for verdict in BADGES if counts[verdict]]
    worst = order[-1] if order else "none"
    return ScanSummary(
        counts=counts,
        worst=BADGES[worst],
        is_bad=worst not in ("none", "safe"),
        num_unscanned=len(given) - len(found),
    )


def is_loadable(visit: Visit, files: Mapping[str, TreeEntry]) -> bool:
    """Whether a model says how Ayni builds it again: only what a run published does."""
    entry = files.get(CONFIG_FILE)
    if visit.repository.kind != "model" or entry is None or (entry.size_bytes or 0) > MOST_CONFIG_BYTES:
        return False
    text, _ = read_text(visit, entry, most_bytes=MOST_CONFIG_BYTES)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and isinstance(found.get("ayni"), dict)


def own_request(connection: sa.Connection, visit: Visit) -> AccessRequest | None:
    """What the visitor asked for here; None for who did not, or is nobody."""
    user = None if visit.caller.user is None else members.find(connection, visit.caller.user)
    if user is None:
        return None
    try:
        return access_requests.find(connection, visit.repository, user_id=user.id)
    except AccessRequestNotFoundError:
        return None


def _card(visit: Visit, page: str, entry: TreeEntry | None) -> Any:
    if entry is None or entry.sha256 is None:
        return None
    text, _ = read_text(visit, entry, most_bytes=4 * MOST_CHARACTERS)
    return visit.texts.html(entry.sha256, without_metadata(text), CardPlace(page=page, revision="main"))


ROUTES = (Route(method="GET", pattern="/{prefix}{page}", action="repository.see", handler=show),)
