"""What was found in files is kept by their content, and commits are held against it.

A file is scanned once for each form that its name may mean; the row is found again by the SHA-256. Scanning
takes time, so `look_ahead` is called before the transaction of a commit; what it has not seen is looked at
within it, so that no commit passes unseen.

    before    cards that contradict themselves, secrets, and files that the policy does not take are refused
    after     nothing: rows of scans are about content, not about repositories

Not covered: scanning again when the scanner learns more (rows name their scanner's version, and the newest
counts), and content that came before there was a scanner.
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import sqlalchemy as sa

from ayni.database import Database, metadata
from ayni.errors import UserError
from ayni.hub import revisions
from ayni.hub.card_checks import MAX_CARD_BYTES, check_card_text
from ayni.hub.card_index import CARD_FILE
from ayni.hub.commits import BeforeCommit, CommitRequest
from ayni.hub.content import ContentStore
from ayni.hub.content_scan import SCANNER_VERSION, Kind, Scan, scan_file
from ayni.hub.git_objects import TreeEntry
from ayni.hub.pickles import VERDICTS, Finding
from ayni.hub.ranged_file import RangedFile
from ayni.hub.repository import Kind as RepositoryKind
from ayni.hub.repository import Repository
from ayni.hub.secret_scan import MAX_SCANNED_BYTES, check_secrets
from ayni.hub.weights_policy import Policy, check_policy

# More than that is no text that people write; and secrets are looked for in texts.
MAX_TEXT_BYTES = MAX_SCANNED_BYTES

scans_table = sa.Table(
    "hub_scans",
    metadata,
    sa.Column("sha256", sa.String, primary_key=True),
    sa.Column("scanner_version", sa.Integer, primary_key=True),
    # Some forms are known by their name alone, so the same bytes may be judged in two ways.
    sa.Column("suffix", sa.String, primary_key=True),
    sa.Column("verdict", sa.String, nullable=False),
    sa.Column("scan", sa.String, nullable=False),
)

PolicyOf = Callable[[sa.Connection, Repository], Policy]
"""(connection, repository) -> which files it takes."""


class CardMistakeError(UserError):
    """The README of a commit contradicts itself, or says what no reader can use."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        self.errors = errors
        super().__init__(f"Nothing was committed, the card needs mending. {' '.join(errors)}")


def scan_files(
    connection: sa.Connection, content: ContentStore, files: Mapping[str, TreeEntry]
) -> dict[str, Scan]:
    """What is in files, by path; those that were not scanned before are scanned now.

    Args:
        connection: to write the rows of new scans.
        content: where the bytes are.
        files: entries by path.
    """
    found = known_scans(connection, files)
    for path, entry in files.items():
        if entry.sha256 is None or path in found:
            continue
        # The same content may stand under two paths.
        known = known_scan(connection, entry.sha256, path)
        if known is None:
            known = scan_file(open_ranged(content, entry), path)
            _keep(connection, entry.sha256, path, known)
        found[path] = known
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """Files, as (path, SHA-256), whose cards and secrets were checked already."""

    files: frozenset[tuple[str, str]] = frozenset()

    def without(self, files: Mapping[str, TreeEntry]) -> dict[str, TreeEntry]:
        """Those that are still to be checked."""
        return {path: each for path, each in files.items() if (path, str(each.sha256)) not in self.files}


# A hostile file takes seconds of one core. Others' requests go on while the rest of such files waits.
_SCANNING = threading.BoundedSemaphore(2)

NOTHING_LOOKED_AT = Looked()


def look_ahead(
    database: Database,
    content: ContentStore,
    kind: RepositoryKind,
    name: str,
    files: Mapping[str, TreeEntry],
) -> Looked:
    """Check the cards and secrets of a commit and scan its files, outside of its transaction.

    Every scan is kept for itself, also when the commit is refused afterwards.

    Raises:
        CardMistakeError, SecretInCommitError: as within the commit.
    """
    check_commit_card(content, kind, name, files)
    for path, entry in files.items():
        check_secrets(_texts(content, {path: entry}))
    with database.reading() as connection:
        known = known_scans(connection, files)
    for path, entry in files.items():
        if path in known or entry.sha256 is None:
            continue
        with _SCANNING:
            scan = scan_file(open_ranged(content, entry), path)
        database.run(partial(_keep, sha256=entry.sha256, path=path, scan=scan))
    return Looked(files=frozenset((path, str(entry.sha256)) for path, entry in files.items()))


def known_scan(connection: sa.Connection, sha256: str, path: str) -> Scan | None:
    """What this version of the scanner found before; None when it has not looked."""
    columns = scans_table.c
    text = connection.scalar(
        sa.select(columns.scan).where(
            columns.sha256 == sha256,
            columns.scanner_version == SCANNER_VERSION,
            columns.suffix == _suffix(path),
        )
    )
    return None if text is None else _from_json(json.loads(text))


def known_scans(connection: sa.Connection, files: Mapping[str, TreeEntry]) -> dict[str, Scan]:
    """What was found in files before, by path; nothing is scanned. Cost: a query for some hundred files."""
    columns = scans_table.c
    digests = sorted({each.sha256 for each in files.values() if each.sha256 is not None})
    rows: dict[tuple[str, str], str] = {}
    for start in range(0, len(digests), revisions.MAX_VARIABLES):
        part = digests[start : start + revisions.MAX_VARIABLES]
        query = sa.select(columns.sha256, columns.suffix, columns.scan).where(
            columns.sha256.in_(part), columns.scanner_version == SCANNER_VERSION
        )
        rows.update({(row.sha256, row.suffix): row.scan for row in connection.execute(query)})
    found = {path: rows.get((str(entry.sha256), _suffix(path))) for path, entry in files.items()}
    return {path: _from_json(json.loads(text)) for path, text in found.items() if text is not None}


def guarding(content: ContentStore, policy_of: PolicyOf, looked: Looked = NOTHING_LOOKED_AT) -> BeforeCommit:
    """What holds commits against policy, cards and secrets, for `CommitHooks.before`."""

    def guard(connection: sa.Connection, repository: Repository, request: CommitRequest) -> None:
        files = {path: entry for path, entry in request.changes.items() if entry is not None}
        unseen = looked.without(files)
        check_commit_card(content, repository.kind, repository.name, unseen)
        for path, entry in unseen.items():
            check_secrets(_texts(content, {path: entry}))
        check_policy(scan_files(connection, content, files), policy_of(connection, repository))

    return guard


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """The same for commits that are made in this process: it can look before the transaction begins."""

    database: Database
    content: ContentStore
    policy_of: PolicyOf

    def __call__(self, connection: sa.Connection, repository: Repository, request: CommitRequest) -> None:
        """Look within the transaction, at all that nobody looked at before."""
        guarding(self.content, self.policy_of)(connection, repository, request)

    def ahead(self, kind: RepositoryKind, name: str, files: Mapping[str, TreeEntry]) -> BeforeCommit:
        """Look now; only the policy is left for the transaction.

        Raises:
            CardMistakeError, SecretInCommitError: as within the commit.
        """
        looked = look_ahead(self.database, self.content, kind, name, files)
        return guarding(self.content, self.policy_of, looked)


def check_commit_card(
    content: ContentStore, kind: RepositoryKind, name: str, files: Mapping[str, TreeEntry]
) -> tuple[str, ...]:
    """Refuse a README that cannot be true; return warnings.

    Raises:
        CardMistakeError: what is wrong with it.
    """
    entry = files.get(CARD_FILE)
    if entry is None or entry.sha256 is None:
        return ()
    start = b"".join(content.read(entry.sha256, 0, MAX_CARD_BYTES + 1))
    found = check_card_text(start.decode(errors="replace"), kind, repository=name)
    if found.errors:
        raise CardMistakeError(found.errors)
    return found.warnings


def open_ranged(content: ContentStore, entry: TreeEntry) -> RangedFile:
    """A stored file that readers of archives can search."""
    sha256 = str(entry.sha256)
    return RangedFile(
        lambda start, stop: b"".join(content.read(sha256, start, stop)), size_bytes=entry.size_bytes or 0
    )


def _texts(content: ContentStore, files: Mapping[str, TreeEntry]) -> dict[str, bytes]:
    """Files that git keeps as they are; those of LFS are weights and data."""
    return {
        path: b"".join(content.read(entry.sha256, 0, MAX_TEXT_BYTES))
        for path, entry in files.items()
        if entry.sha256 is not None and not entry.is_lfs and entry.size_bytes
    }


def _suffix(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.rpartition(".")[2].lower()[:20] if "." in name else ""


def _keep(connection: sa.Connection, sha256: str, path: str, scan: Scan) -> None:
    # Somebody else may have scanned the same content meanwhile.
    if known_scan(connection, sha256, path) is not None:
        return
    connection.execute(
        scans_table.insert().values(
            sha256=sha256,
            scanner_version=SCANNER_VERSION,
            suffix=_suffix(path),
            verdict=scan.verdict,
            scan=json.dumps(to_json(scan)),
        )
    )


def to_json(scan: Scan) -> dict[str, Any]:
    """A scan as JSON values."""
    return {
        "kind": scan.kind,
        "verdict": scan.verdict,
        "holds_pickle": scan.holds_pickle,
        "findings": [
            {"verdict": each.verdict, "what": each.what, "inside": each.inside} for each in scan.findings
        ],
        "archive_problems": list(scan.archive_problems),
        "parameters": dict(scan.parameters),
    }


def _from_json(value: dict[str, Any]) -> Scan:
    assert value["kind"] in get_args(Kind)
    assert value["verdict"] in VERDICTS
    return Scan(
        kind=value["kind"],
        findings=tuple(Finding(**each) for each in value["findings"]),
        holds_pickle=value["holds_pickle"],
        archive_problems=tuple(value["archive_problems"]),
        parameters=value["parameters"],
    )
