"""What a repository comes from, what was found in its files, who signed it, and its bill of materials.

    GET .../lineage               nodes and edges, as far as the caller may see, and what the licences leave
    GET .../content-scan/{rev}    what was found in each file
    GET .../ml-bom/{rev}          CycloneDX
    GET .../signature/{rev}       what model.sig covers; whose key it is, the reader must know

Not covered: energy in the bill of materials, which needs verified receipts.
"""

import sqlalchemy as sa
from starlette.responses import JSONResponse, Response

from ayni.hub import card_index, lineage, model_signatures, revisions
from ayni.hub.content_safety import known_scans, to_json
from ayni.hub.git_objects import Commit, TreeEntry
from ayni.hub.inheritance import inheritance
from ayni.hub.ml_bom import BomFile, BomParent, BomSubject, cyclonedx
from ayni.hub.model_signatures import SIGNATURE_FILE
from ayni.hub.permissions import visible
from ayni.hub.revisions import EntryNotFoundError
from ayni.hub.weights_policy import BADGES
from ayni.server.call import Call
from ayni.server.routing import Route


def show_lineage(call: Call) -> Response:
    """`GET .../lineage`."""
    with call.hub.database.reading() as connection:
        graph = lineage.graph(connection, call.repository, visible=visible(call.caller))
        children = lineage.children(connection, call.repository, visible=visible(call.caller))
    judged = inheritance(graph.nodes[0].licences, graph.ancestors())
    return JSONResponse(
        {
            "nodes": [
                {
                    "kind": each.kind,
                    "name": each.name,
                    "isHere": each.is_here,
                    "licences": list(each.licences),
                }
                for each in graph.nodes
            ],
            "edges": [
                {"child": child, "parent": parent, "relation": how} for child, parent, how in graph.edges
            ],
            "isWhole": graph.is_whole,
            "children": [{"name": name, "relation": how} for name, how in children],
            "licence": {
                "isAllowed": judged.is_allowed,
                "conflicts": list(judged.conflicts),
                "unknown": list(judged.unknown),
                "allowed": None if judged.allowed is None else list(judged.allowed),
            },
        }
    )


def show_scans(call: Call) -> Response:
    """`GET .../content-scan/{rev}`: files that were not scanned yet have no entry."""
    with call.hub.database.reading() as connection:
        _, _, files = _files_at(connection, call)
        scans = known_scans(connection, files)
    shown = {path: to_json(scan) | {"badge": BADGES[scan.verdict]} for path, scan in scans.items()}
    return JSONResponse({"files": shown, "notScanned": sorted(files.keys() - scans.keys())})


def show_bill(call: Call) -> Response:
    """`GET .../ml-bom/{rev}`."""
    with call.hub.database.reading() as connection:
        revision, made, files = _files_at(connection, call)
        scans = known_scans(connection, files)
        graph = lineage.graph(connection, call.repository, visible=visible(call.caller))
        card = card_index.read_card(call.hub.content, files.get(card_index.CARD_FILE))
    parents = [(graph.nodes[parent], how) for child, parent, how in graph.edges if child == 0]
    subject = BomSubject(
        repository=call.repository.name,
        revision=revision,
        committed_at=made.when,
        url=call.hub.base_url,
        card=card,
        files=[
            BomFile(
                path=path,
                sha256=str(entry.sha256),
                size_bytes=entry.size_bytes or 0,
                verdict=scans[path].verdict if path in scans else "",
            )
            for path, entry in sorted(files.items())
        ],
        parents=[
            BomParent(name=node.name, kind=node.kind, relation=how, licences=node.licences)
            for node, how in parents
        ],
    )
    return JSONResponse(cyclonedx(subject), media_type="application/vnd.cyclonedx+json")


def show_signature(call: Call) -> Response:
    """`GET .../signature/{rev}`: which files `model.sig` speaks for, by digests that are known already."""
    with call.hub.database.reading() as connection:
        revision, _, files = _files_at(connection, call)
    entry = files.get(SIGNATURE_FILE)
    if entry is None or entry.sha256 is None:
        raise EntryNotFoundError(call.repository.name, revision, SIGNATURE_FILE)
    content = b"".join(call.hub.content.read(entry.sha256, 0, model_signatures.MAX_BUNDLE_BYTES + 1))
    signed = model_signatures.read_bundle(content)
    found = model_signatures.coverage(signed, {path: str(each.sha256) for path, each in files.items()})
    return JSONResponse(
        {
            "name": signed.name,
            "keyHint": signed.key_hint,
            "isWhole": found.is_whole,
            "covered": list(found.covered),
            "changed": list(found.changed),
            "missing": list(found.missing),
            "unsigned": list(found.unsigned),
        }
    )


def _files_at(connection: sa.Connection, call: Call) -> tuple[str, Commit, dict[str, TreeEntry]]:
    revision = revisions.resolve(connection, call.repository, call.parts.get("rev"))
    made = revisions.read_commit(connection, call.repository.id, revision)
    assert made is not None
    return revision, made, revisions.read_files(connection, made.tree)


ROUTES = (
    Route(method="GET", pattern="/api/{kind}/{repo}/lineage", action="repository.see", handler=show_lineage),
    Route(
        method="GET",
        pattern="/api/{kind}/{repo}/content-scan/{rev}",
        action="repository.see",
        handler=show_scans,
    ),
    Route(
        method="GET", pattern="/api/{kind}/{repo}/ml-bom/{rev}", action="repository.see", handler=show_bill
    ),
    Route(
        method="GET",
        pattern="/api/{kind}/{repo}/signature/{rev}",
        action="repository.see",
        handler=show_signature,
    ),
)
