"""Every commit is in the log, whatever way it came; and a mirror notices what was changed or left out."""

import copy
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection, entry

from ayni.hub import catalogue, commit_log, commits, duplication, purge, revisions
from ayni.hub.callers import ANONYMOUS
from ayni.hub.commit_log import commit_log_table
from ayni.hub.commit_log_mirror import BrokenCommitLogError, CommitLogMirror, check_repository
from ayni.hub.commits import CommitRequest
from ayni.hub.permissions import visible
from ayni.hub.repository import Repository, Visibility
from ayni.hub.tables import commits_table, refs_table
from ayni.signing import SigningKey, load_or_create_key, sha256_hex

__all__ = ["connection"]


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return load_or_create_key(tmp_path / "key.pem")


def make(connection: sa.Connection, name: str = "me/x", visibility: Visibility = "public") -> Repository:
    return catalogue.create(connection, "model", name, visibility=visibility, when=WHEN)


def commit(connection: sa.Connection, here: Repository, content: bytes, ref: str = revisions.MAIN) -> str:
    seconds = connection.scalar(sa.select(sa.func.count()).select_from(commits_table)) or 0
    request = CommitRequest(
        changes={"a": entry(content)},
        message="x",
        author="ada",
        when=WHEN + timedelta(seconds=seconds),
        ref=ref,
    )
    return commits.commit(connection, here, request).revision


def openings(connection: sa.Connection) -> list[dict[str, Any]]:
    found = commit_log.entries(connection, after=0, limit=1000, visible=sa.true())
    return [dict(each.opening or {}) for each in found]


def test_every_way_to_write_a_commit_leaves_an_entry(connection: sa.Connection) -> None:
    here = make(connection)
    first, second = commit(connection, here, b"1"), commit(connection, here, b"2")
    squashed = commits.squash(connection, here, revisions.MAIN, message="x", author="me", when=WHEN)
    copied = duplication.duplicate(connection, here, "me/copy", visibility="public", when=WHEN)
    third = commit(connection, here, b"3")
    purge.remove_content(connection, here, {sha256_hex(b"3")})

    said = openings(connection)

    happened = [(each["how"], each["revision"]) for each in said[:3]]
    assert happened == [("commit", first), ("commit", second), ("squash", squashed)]
    duplicates = [each for each in said if each["how"] == "duplicate"]
    assert {each["revision"] for each in duplicates} == {first, second, squashed}
    assert {each["repository"] for each in duplicates} == {copied.id}
    assert ("commit", third) in [(each["how"], each["revision"]) for each in said]
    rows = connection.execute(sa.select(commits_table.c.repository_id, commits_table.c.revision)).all()
    assert {(row[0], row[1]) for row in rows} <= {(each["repository"], each["revision"]) for each in said}
    assert said[-1]["how"] == "rewrite"


def test_a_request_that_is_repeated_leaves_one_entry(connection: sa.Connection) -> None:
    here = make(connection)
    commit(connection, here, b"1")
    commit(connection, here, b"1")

    assert len(openings(connection)) == 1


def test_who_may_not_see_a_repository_learns_nothing_of_it(connection: sa.Connection) -> None:
    secret, gone = make(connection, "me/secret", "private"), make(connection, "me/gone")
    revision = commit(connection, secret, b"1")
    commit(connection, gone, b"2")
    catalogue.delete(connection, gone, when=WHEN)

    shown = commit_log.entries(connection, after=0, limit=9, visible=visible(ANONYMOUS))

    assert [each.opening for each in shown] == [None, None]
    assert revision not in json.dumps([each.to_json() for each in shown])
    # Two commits of the same content have nothing in common that could be compared.
    assert len({each.commitment for each in shown}) == 2


class Followed:
    """A hub's log, a member's mirror of it, and what the hub would show."""

    def __init__(self, connection: sa.Connection, key: SigningKey, folder: Path) -> None:
        self.connection, self.key = connection, key
        self.here = make(connection)
        self.path = folder / "mirror.jsonl"
        self.page_size = 2

    def fetch(self, after: int) -> dict[str, Any]:
        found = commit_log.entries(self.connection, after=after, limit=self.page_size, visible=sa.true())
        head = commit_log.head(self.connection, self.key, now=WHEN)
        return {"entries": [each.to_json() for each in found], "head": head}

    def follow(self, fetch: Callable[[int], dict[str, Any]] | None = None) -> int:
        mirror = CommitLogMirror(self.path)
        return mirror.follow(fetch or self.fetch, expected_public_key=self.key.public_key).num_new

    def commit(self, *contents: bytes, ref: str = revisions.MAIN) -> None:
        for content in contents:
            commit(self.connection, self.here, content, ref)
            commit_log.sign_newest(self.connection, self.key, now=WHEN)

    def problems(self) -> list[str]:
        refs = revisions.list_refs(self.connection, self.here.id)
        return check_repository(CommitLogMirror(self.path).entries(), self.here.id, refs)


@pytest.fixture
def followed(connection: sa.Connection, key: SigningKey, tmp_path: Path) -> Followed:
    return Followed(connection, key, tmp_path)


def test_a_member_follows_the_log(followed: Followed) -> None:
    assert followed.follow() == 0
    followed.commit(b"1", b"2", b"3", b"4", b"5")

    assert followed.follow() == 5 and followed.follow() == 0
    followed.commit(b"6")
    assert followed.follow() == 1
    assert followed.problems() == []


def changed(name: str, value: Any) -> Callable[[list[dict[str, Any]]], None]:
    def change(entries: list[dict[str, Any]]) -> None:
        entries[1][name] = value

    return change


def opened_otherwise(entries: list[dict[str, Any]]) -> None:
    entries[1]["opening"]["revision"] = "f" * 40


ATTACKS: dict[str, Callable[[list[dict[str, Any]]], None]] = {
    "changed": changed("commitment", "0" * 64),
    "renumbered": changed("sequence", 3),
    "linked elsewhere": changed("previous_hash", "0" * 64),
    "another hash": changed("hash", "0" * 64),
    "opened otherwise": opened_otherwise,
    "left out": lambda entries: entries.pop(1) and None,
    "cut off": lambda entries: entries.pop() and None,
    "doubled": lambda entries: entries.insert(1, copy.deepcopy(entries[1])),
    "another head": changed("signed_head", {"schema": "x"}),
    "the head of another": lambda entries: entries[1].update(signed_head=entries[0]["signed_head"]),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_mirror_takes_no_log_that_was_changed(followed: Followed, attack: str) -> None:
    followed.page_size = 100
    followed.commit(b"1", b"2", b"3")

    def attacked(after: int) -> dict[str, Any]:
        page = copy.deepcopy(followed.fetch(after))
        if after == 0:
            ATTACKS[attack](page["entries"])
        else:
            page["entries"] = []
        return page

    with pytest.raises(BrokenCommitLogError):
        followed.follow(attacked)

    assert not followed.path.exists()


def rehash(connection: sa.Connection) -> None:
    """What an attacker with the database would do: put the chain in order again, without the key."""
    previous = "0" * 64
    table = commit_log_table
    for number, row in enumerate(connection.execute(sa.select(table).order_by(table.c.sequence)).all(), 1):
        newest = commit_log.entry_hash(number, row.commitment, previous)
        values = {"sequence": number, "previous_hash": previous, "hash": newest}
        connection.execute(table.update().where(table.c.sequence == row.sequence).values(values))
        previous = newest


def test_an_entry_that_is_taken_out_later_is_missed_by_who_has_seen_it(followed: Followed) -> None:
    followed.commit(b"1", b"2", b"3")
    followed.follow()
    followed.connection.execute(commit_log_table.delete().where(commit_log_table.c.sequence == 2))
    rehash(followed.connection)
    followed.commit(b"4", b"5")

    with pytest.raises(BrokenCommitLogError, match="does not follow"):
        followed.follow()
    # And by who has not, as long as the heads that were signed on the way are there.
    followed.path.unlink()
    with pytest.raises(BrokenCommitLogError, match="another log was signed"):
        followed.follow()


def test_a_log_that_was_cut_is_noticed(followed: Followed) -> None:
    followed.commit(b"1", b"2", b"3")
    followed.follow()
    followed.connection.execute(commit_log_table.delete().where(commit_log_table.c.sequence == 3))

    with pytest.raises(BrokenCommitLogError, match="cut off or replaced"):
        followed.follow()


def test_a_log_that_another_key_signed_is_not_taken(followed: Followed, tmp_path: Path) -> None:
    followed.commit(b"1")
    other = load_or_create_key(tmp_path / "other.pem")

    with pytest.raises(BrokenCommitLogError, match="somebody else's record"):
        CommitLogMirror(followed.path).follow(followed.fetch, expected_public_key=other.public_key)


def test_a_mirror_that_was_changed_is_noticed(followed: Followed) -> None:
    followed.commit(b"1", b"2")
    followed.follow()
    first, second = followed.path.read_text().splitlines()
    followed.path.write_text(second + "\n" + first + "\n")

    with pytest.raises(BrokenCommitLogError):
        CommitLogMirror(followed.path).entries()


def test_a_ref_that_was_moved_without_an_entry_is_noticed(followed: Followed) -> None:
    followed.commit(b"1", b"2")
    followed.follow()
    older = openings(followed.connection)[0]["revision"]
    revisions.set_ref(followed.connection, followed.here.id, revisions.MAIN, older)

    assert "refs/heads/main is at" in followed.problems()[0]
    revisions.set_ref(followed.connection, followed.here.id, revisions.MAIN, "f" * 40)
    assert "no entry speaks of it" in followed.problems()[0]
    followed.connection.execute(refs_table.delete())
    assert "is at nothing" in followed.problems()[0]


def test_a_commit_without_an_entry_is_noticed(followed: Followed) -> None:
    followed.commit(b"1")
    hidden = commit(followed.connection, followed.here, b"2")
    followed.connection.execute(commit_log_table.delete().where(commit_log_table.c.sequence == 2))
    followed.commit(b"3")
    followed.follow()

    assert f"follows {hidden[:12]}, and no entry speaks of that one." in followed.problems()[0]


def test_what_is_lawful_raises_no_alarm(followed: Followed) -> None:
    connection, here = followed.connection, followed.here
    followed.commit(b"1", b"2")
    main = str(revisions.head(connection, here.id))
    revisions.add_ref(connection, here.id, "refs/heads/dev", main)
    followed.commit(b"7", ref="refs/heads/dev")
    revisions.remove_ref(connection, here.id, "refs/heads/dev")
    revisions.add_ref(connection, here.id, "refs/heads/dev", main)
    revisions.add_ref(connection, here.id, "refs/tags/v1", main)
    commits.squash(connection, here, revisions.MAIN, message="x", author="me", when=WHEN)
    purge.remove_content(connection, here, {sha256_hex(b"1")})
    followed.commit(b"3")

    followed.follow()

    assert followed.problems() == []
