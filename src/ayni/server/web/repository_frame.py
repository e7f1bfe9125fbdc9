"""What all pages of a repository show around their own part: name, badges and the way to the other parts.

Not covered: the parts.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ayni.hub import evaluations, revisions
from ayni.hub.git_objects import Commit, TreeEntry
from ayni.hub.repository import Kind
from ayni.server.descriptions import page_path, quoted
from ayni.server.web.visit import Visit

KIND_WORDS: dict[Kind, str] = {"model": "Model", "dataset": "Data set", "space": "Space"}


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """A revision that a page is about.

    Attributes:
        asked: as the address has it: a branch, a tag or an id.
        revision: its id.
        commit: behind it.
        is_main: whether it is the newest of main.
    """

    asked: str
    revision: str
    commit: Commit
    is_main: bool


def frame(visit: Visit, tab: str) -> dict[str, Any]:
    """The values that `repository.html.j2` needs."""
    repository = visit.repository
    page = page_path(repository.kind, repository.name)
    tabs = [
        ("card", page, "Card"),
        ("files", f"{page}/tree/main", "Files"),
        ("history", f"{page}/commits/main", "History"),
        ("lineage", f"{page}/lineage", "Lineage"),
        ("receipts", f"{page}/receipts", "Receipts"),
        ("discussions", f"{page}/discussions", "Discussions"),
    ]
    if repository.gated != "no" and visit.may("access.answer", repository):
        tabs.append(("access", f"{page}/access", "Requests"))
    if visit.may("repository.settings", repository):
        tabs.append(("settings", f"{page}/settings", "Settings"))
    return {
        "repository": repository,
        "page": page,
        "kind_word": KIND_WORDS[repository.kind],
        "tabs": tabs,
        "tab": tab,
        "may_read": visit.may("content.read", repository),
    }


def at(connection: sa.Connection, visit: Visit) -> At:
    """The revision of the address.

    Raises:
        RevisionNotFoundError: there is none.
    """
    asked = visit.part("rev", "main")
    revision = revisions.resolve(connection, visit.repository, asked)
    commit = revisions.read_commit(connection, visit.repository.id, revision)
    assert commit is not None
    newest = revisions.head(connection, visit.repository.id)
    return At(asked=asked, revision=revision, commit=commit, is_main=revision == newest)


def newest(connection: sa.Connection, visit: Visit) -> At | None:
    """The newest revision of main; None in a repository without commits."""
    revision = revisions.head(connection, visit.repository.id)
    if revision is None:
        return None
    commit = revisions.read_commit(connection, visit.repository.id, revision)
    assert commit is not None
    return At(asked="main", revision=revision, commit=commit, is_main=True)


def known_keys(connection: sa.Connection, visit: Visit) -> dict[str, str]:
    """Whose keys are known here: what members showed to be theirs, and what the operator vouches for."""
    return {**dict(evaluations.run_keys(connection)), **visit.hub.known_keys}


def file_address(page: str, kind: str, revision: str, path: str) -> str:
    """The address of a file or folder; slashes of its path stay."""
    parts = "/".join(quoted(part) for part in path.split("/"))
    return f"{page}/{kind}/{quoted(revision)}" + (f"/{parts}" if path else "")


def read_text(visit: Visit, entry: TreeEntry, *, most_bytes: int) -> tuple[str, bool]:
    """The beginning of a file as text, and whether there is more."""
    assert entry.sha256 is not None
    content = b"".join(visit.hub.content.read(entry.sha256, 0, min(most_bytes, entry.size_bytes or 0)))
    return content.decode(errors="replace"), (entry.size_bytes or 0) > most_bytes
