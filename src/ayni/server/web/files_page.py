"""Folders of a revision with sizes and badges, and single files: what they are, and their text or picture.

    tree    a folder                                       whoever sees the repository
    blob    a file: its text, picture or tensors           whoever may read its files
    raw     its bytes, as `resolve` of the API sends them, for pictures and downloads of who is logged in

Not covered: editing, and files of tables as tables.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from starlette.responses import Response

from ayni.hub import last_commits, revisions
from ayni.hub.card_index import CARD_FILE
from ayni.hub.content_safety import known_scans
from ayni.hub.content_scan import Scan
from ayni.hub.git_objects import GITATTRIBUTES, TreeEntry
from ayni.hub.revisions import BRANCHES, TAGS, EntryNotFoundError, FolderPart
from ayni.hub.weights_policy import BADGES
from ayni.server.errors import RefusedRequestError
from ayni.server.routes.resolve import resolve
from ayni.server.routing import Route
from ayni.server.web.card_text import MOST_CHARACTERS, PICTURE_SUFFIXES, CardPlace, without_metadata
from ayni.server.web.repository_frame import At, at, file_address, frame, read_text
from ayni.server.web.visit import Visit

ENTRIES_ON_A_PAGE = 100
MOST_TEXT_BYTES = 200_000
LARGEST_PICTURE_BYTES = 10_000_000
MOST_REFS = 100
MOST_TENSORS = 500
MOST_HEADER_BYTES = 4 << 20
# Whose last commit is looked up; longer folders show none.
MOST_WITH_COMMITS = 100
_MEDIA_TYPES = {suffix: f"image/{'jpeg' if suffix == 'jpg' else suffix}" for suffix in PICTURE_SUFFIXES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A file or folder in a list."""

    name: str
    address: str
    is_folder: bool
    size_bytes: int | None
    badge: str
    is_bad: bool
    changed_by: str
    changed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of a safetensors file."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def show_folder(visit: Visit) -> Response:
    """`GET /{repo}/tree/{rev}/{path}`."""
    folder = visit.part("path").strip("/")
    number = _page_number(visit.query("p"))
    values = frame(visit, "files")
    with visit.hub.database.reading() as connection:
        here = at(connection, visit)
        tree = _folder(connection, visit, here, folder)
        start = (number - 1) * ENTRIES_ON_A_PAGE
        part = revisions.read_folder_part(connection, tree, start=start, limit=ENTRIES_ON_A_PAGE)
        if number > 1 and not part.entries:
            raise RefusedRequestError(404, f"This folder has no page {number}.")
        rows = _rows(connection, visit, here, folder, part, page=values["page"])
        refs = _refs(connection, visit)
    return visit.show(
        "files.html.j2",
        **values,
        here=here,
        folder=folder,
        crumbs=_crumbs(values["page"], here.asked, folder),
        rows=rows,
        num_entries=part.num_entries,
        num_bytes=part.num_bytes,
        number=number,
        num_pages=max(1, -(-part.num_entries // ENTRIES_ON_A_PAGE)),
        first_page=file_address(values["page"], "tree", here.asked, folder),
        refs=refs,
    )


def show_file(visit: Visit) -> Response:
    """`GET /{repo}/blob/{rev}/{path}`."""
    path = visit.part("path").strip("/")
    values = frame(visit, "files")
    with visit.hub.database.reading() as connection:
        here = at(connection, visit)
        entry = revisions.find_entry(connection, here.commit.tree, path)
        if entry is None or entry.is_folder:
            raise EntryNotFoundError(visit.repository.name, here.revision, path)
        scan = known_scans(connection, {path: entry}).get(path)
        ids = {path: entry.git_sha1}
        changed = last_commits.find(connection, visit.repository.id, here.revision, ids).get(path)
    shown = _shown(visit, entry, path, values["page"], here)
    return visit.show(
        "file.html.j2",
        **values,
        here=here,
        path=path,
        entry=entry,
        crumbs=_crumbs(values["page"], here.asked, path),
        raw=file_address(values["page"], "raw", here.asked, path),
        scan=scan,
        badge="" if scan is None else BADGES[scan.verdict],
        changed=changed,
        **shown,
    )


def send_file(visit: Visit) -> Response:
    """`GET /{repo}/raw/{rev}/{path}`: the bytes, as the API sends them."""
    reply = resolve(visit.call)
    suffix = visit.part("path").rpartition(".")[2].lower()
    if suffix in _MEDIA_TYPES and reply.status_code in (200, 206):
        # Nothing is guessed from content, so a picture must be called one.
        reply.headers["Content-Type"] = _MEDIA_TYPES[suffix]
    return reply


def _folder(connection: sa.Connection, visit: Visit, here: At, folder: str) -> str:
    if not folder:
        return here.commit.tree
    entry = revisions.find_entry(connection, here.commit.tree, folder)
    if entry is None or not entry.is_folder:
        raise EntryNotFoundError(visit.repository.name, here.revision, folder)
    return entry.git_sha1


def _page_number(text: str) -> int:
    if not text:
        return 1
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) == 0:
        raise RefusedRequestError(400, f"p={text[:20]!r} is no number of a page.")
    return int(text)


def _rows(
    connection: sa.Connection, visit: Visit, here: At, folder: str, part: FolderPart, *, page: str
) -> list[Row]:
    prefix = f"{folder}/" if folder else ""
    paths = {f"{prefix}{each.name}": each for each in part.entries}
    scans = known_scans(connection, {path: each for path, each in paths.items() if not each.is_folder})
    changes = {}
    if part.num_entries <= MOST_WITH_COMMITS:
        ids = {path: each.git_sha1 for path, each in paths.items()}
        changes = last_commits.find(connection, visit.repository.id, here.revision, ids)
    rows = []
    for path, entry in paths.items():
        scan, change = scans.get(path), changes.get(path)
        rows.append(
            Row(
                name=entry.name,
                address=file_address(page, "tree" if entry.is_folder else "blob", here.asked, path),
                is_folder=entry.is_folder,
                size_bytes=entry.size_bytes,
                badge=_badge(scan, entry),
                is_bad=scan is not None and scan.verdict not in ("none", "safe"),
                changed_by="" if change is None else change.commit.message.partition("\n")[0],
                changed_at=None if change is None else change.commit.when,
            )
        )
    return rows


def _badge(scan: Scan | None, entry: TreeEntry) -> str:
    if entry.is_folder or entry.name == GITATTRIBUTES:
        return ""
    return "not scanned" if scan is None else BADGES[scan.verdict]


def _refs(connection: sa.Connection, visit: Visit) -> list[tuple[str, str]]:
    """Branches and tags: what they are, and their names."""
    found = revisions.list_refs(connection, visit.repository.id)
    named = [("Branch", ref.removeprefix(BRANCHES)) for ref in found if ref.startswith(BRANCHES)]
    named += [("Tag", ref.removeprefix(TAGS)) for ref in found if ref.startswith(TAGS)]
    return named[:MOST_REFS]


def _crumbs(page: str, revision: str, path: str) -> list[tuple[str, str]]:
    """The folders above a path, and their addresses; the path itself comes last."""
    parts = path.split("/") if path else []
    above = ["/".join(parts[:length]) for length in range(len(parts) + 1)]
    return [(each.rpartition("/")[2], file_address(page, "tree", revision, each)) for each in above]


def _shown(visit: Visit, entry: TreeEntry, path: str, page: str, here: At) -> dict[str, Any]:
    """What of a file is shown: a text, a card, a picture or a list of tensors."""
    name = path.rpartition("/")[2]
    suffix = name.rpartition(".")[2].lower()
    found: dict[str, Any] = {
        "text": None,
        "is_cut": False,
        "card": None,
        "is_picture": False,
        "tensors": None,
    }
    if suffix in PICTURE_SUFFIXES:
        return found | {"is_picture": (entry.size_bytes or 0) <= LARGEST_PICTURE_BYTES}
    if suffix == "safetensors":
        return found | {"tensors": tensors_of(visit, entry)}
    text, is_cut = read_text(visit, entry, most_bytes=MOST_TEXT_BYTES)
    if "\0" in text or text.count("\N{REPLACEMENT CHARACTER}") > 1 + len(text) // 1000:
        return found
    if suffix == "md" and len(text) <= MOST_CHARACTERS and not is_cut:
        place = CardPlace(page=page, revision=here.asked, folder=path.rpartition("/")[0])
        body = without_metadata(text) if path == CARD_FILE else text
        found["card"] = visit.texts.html(str(entry.sha256), body, place)
    return found | {"text": text, "is_cut": is_cut}


def tensors_of(visit: Visit, entry: TreeEntry) -> list[Tensor] | None:
    """The tensors of a safetensors file, by its header alone; None where it cannot be read.

    Source: the format of huggingface/safetensors: 8 bytes of length, a header in JSON, the numbers.
    """
    assert entry.sha256 is not None
    size = int.from_bytes(b"".join(visit.hub.content.read(entry.sha256, 0, 8)), "little")
    if size > min(MOST_HEADER_BYTES, entry.size_bytes or 0):
        return None
    try:
        header = json.loads(b"".join(visit.hub.content.read(entry.sha256, 8, 8 + size)))
        return [
            Tensor(name=str(name), dtype=str(one["dtype"]), shape=tuple(int(each) for each in one["shape"]))
            for name, one in header.items()
            if name != "__metadata__"
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


_PAGE = "/{prefix}{page}"

ROUTES = (
    Route(method="GET", pattern=_PAGE + "/tree/{rev}", action="repository.see", handler=show_folder),
    Route(
        method="GET", pattern=_PAGE + "/tree/{rev}/{path...}", action="repository.see", handler=show_folder
    ),
    Route(method="GET", pattern=_PAGE + "/blob/{rev}/{path...}", action="content.read", handler=show_file),
    Route(method="GET", pattern=_PAGE + "/raw/{rev}/{path...}", action="content.read", handler=send_file),
)
