"""A member's own copy of the hub's transparency log, and what it proves.

    kept        every entry that this member has ever been shown, one a line
    follow      what is new is added, after each entry was checked; what was kept must still fit

Proved by the chain: no entry was changed, left out, or put in between since it was first seen here. Proved by
openings and refs of a repository that this member may see: each entry says what the repository now has, no
commit of main came in without an entry, and no ref is anywhere that no entry speaks of.

Not covered: that the hub shows the same log to others; compare `newest` of signed heads with them.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayni.errors import AyniError
from ayni.files import explain_os_errors, read_json_lines, write_atomically
from ayni.hub.commit_log import HEAD_SCHEMA, commitment_of, entry_hash
from ayni.hub.revisions import MAIN, PULL_REQUESTS
from ayni.signing import FIRST_OF_CHAIN, BadSignatureError, verify_record

FetchPage = Callable[[int], Mapping[str, Any]]
"""(number of the last entry that is kept) -> `{"entries": [...], "head": {...}}`, as the route says it."""


class BrokenCommitLogError(AyniError):
    """The hub's log is not the one that it was, or does not fit what the hub has."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(
            f"The hub's log of commits cannot be trusted: {problem} Keep your copy, compare it with other "
            "members, and ask the hub's operator."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What following the log found: how many entries there are, how many are new, and the signed head."""

    num_entries: int
    num_new: int
    head: Mapping[str, Any]


class CommitLogMirror:
    """The copy in one file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def entries(self) -> list[dict[str, Any]]:
        """All entries that are kept.

        Raises:
            BrokenCommitLogError: the file was changed.
        """
        kept = read_json_lines(self._path) if self._path.exists() else []
        check_chain(kept)
        return kept

    def follow(self, fetch: FetchPage, *, expected_public_key: str) -> Followed:
        """Take what is new.

        Raises:
            BrokenCommitLogError: what is kept and what is shown now are not one log, or it is not signed by
                this key. Nothing of it is kept then.
        """
        kept = self.entries()
        num_before = len(kept)
        while True:
            page = fetch(len(kept))
            new = list(page["entries"])
            check_chain(new, after=kept[-1] if kept else None)
            kept += new
            head = page["head"]
            if not new or len(kept) >= int(head["sequence"]):
                break
        check_head(head, kept, expected_public_key=expected_public_key)
        self._write(kept)
        return Followed(num_entries=len(kept), num_new=len(kept) - num_before, head=head)

    def _write(self, kept: Sequence[Mapping[str, Any]]) -> None:
        lines = "".join(json.dumps(each, sort_keys=True) + "\n" for each in kept)
        with explain_os_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, lines.encode())


def check_chain(entries: Iterable[Mapping[str, Any]], *, after: Mapping[str, Any] | None = None) -> None:
    """Check that entries follow one another, and openings fit.

    Raises:
        BrokenCommitLogError: one does not.
    """
    sequence, previous = (0, FIRST_OF_CHAIN) if after is None else (after["sequence"], after["hash"])
    for entry in entries:
        sequence += 1
        if entry.get("sequence") != sequence or entry.get("previous_hash") != previous:
            raise BrokenCommitLogError(f"Entry {sequence} does not follow the one before.")
        commitment = str(entry.get("commitment"))
        if entry_hash(sequence, commitment, previous) != entry.get("hash"):
            raise BrokenCommitLogError(f"Entry {sequence} was changed.")
        opening = entry.get("opening")
        if opening is not None and commitment_of(opening) != commitment:
            raise BrokenCommitLogError(f"Entry {sequence} was made for something else than is shown.")
        previous = str(entry["hash"])


def check_head(
    head: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], *, expected_public_key: str
) -> None:
    """Check that the hub signed these entries, and no fewer; and every head that it signed on the way.

    Raises:
        BrokenCommitLogError: it did not.
    """
    signed = [(each["signed_head"], each) for each in entries if each.get("signed_head") is not None]
    newest = entries[-1] if entries else {"sequence": 0, "hash": FIRST_OF_CHAIN}
    for one, entry in (*signed, (head, newest)):
        try:
            verify_record(one, expected_public_key=expected_public_key)
        except BadSignatureError as error:
            raise BrokenCommitLogError(f"{error}") from error
        if one.get("schema") != HEAD_SCHEMA:
            raise BrokenCommitLogError("What was signed is no head of a log.")
        if (one.get("sequence"), one.get("newest")) != (entry["sequence"], entry["hash"]):
            raise BrokenCommitLogError(
                f"Up to entry {entry['sequence']} another log was signed, of {one.get('sequence')} entries: "
                "entries were cut off or replaced."
            )


def check_repository(
    entries: Iterable[Mapping[str, Any]], repository: int, refs: Mapping[str, str]
) -> list[str]:
    """What does not fit between the log and the refs that a repository has now; empty when all does.

    Args:
        entries: of the mirror.
        repository: its number.
        refs: full names and revisions, as the hub gives them with pull requests.
    """
    openings = list(_openings(entries, repository))
    logged = {each["revision"] for each in openings}
    problems = [
        f"{ref} is at {revision[:12]}, and no entry speaks of it."
        for ref, revision in sorted(refs.items())
        if revision not in logged
    ]
    problems += [
        f"{each['revision'][:12]} follows {each['parent'][:12]}, and no entry speaks of that one."
        for each in openings
        if each["parent"] is not None and each["parent"] not in logged
    ]
    for ref in sorted({each["ref"] for each in openings if _is_for_ever(each["ref"])}):
        newest = _newest(openings, ref)
        if newest is not None and refs.get(ref) != newest:
            problems.append(
                f"{ref} is at {refs.get(ref, 'nothing')[:12]}, and its newest entry says {newest[:12]}."
            )
    return problems


def _openings(entries: Iterable[Mapping[str, Any]], repository: int) -> Iterator[Mapping[str, Any]]:
    for entry in entries:
        opening = entry.get("opening")
        if opening is not None and opening["repository"] == repository:
            yield opening


def _is_for_ever(ref: str | None) -> bool:
    # Branches may be deleted and made anew elsewhere, without a commit.
    return ref == MAIN or (ref is not None and ref.startswith(PULL_REQUESTS))


def _newest(openings: Sequence[Mapping[str, Any]], ref: str) -> str | None:
    """Where the log has a ref; None when the history was rewritten since, which moves refs as well."""
    for each in reversed(openings):
        if each["how"] == "rewrite":
            return None
        if each["ref"] == ref:
            return str(each["revision"])
    return None
