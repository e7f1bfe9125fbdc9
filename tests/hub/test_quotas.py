"""What a namespace holds is counted once for each content, against its own limit or the default."""

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection, entry
from tests.hub.member_rows import repository

from ayni.hub import catalogue, commits, quotas
from ayni.hub.callers import ANONYMOUS
from ayni.hub.commits import CommitRequest
from ayni.hub.quotas import QuotaExceededError
from ayni.hub.repository import Repository

__all__ = ["connection"]


def fill(connection: sa.Connection, name: str, *contents: bytes) -> Repository:
    made = repository(connection, name)
    changes = {f"file{number}": entry(content) for number, content in enumerate(contents)}
    commits.commit(connection, made, CommitRequest(changes=changes, message="add", author="ada", when=WHEN))
    return made


def test_each_content_counts_once_for_a_namespace(connection: sa.Connection) -> None:
    fill(connection, "Lab/one", b"x" * 100, b"y" * 10)
    fill(connection, "lab/two", b"x" * 100, b"z")
    fill(connection, "laboratory/three", b"w" * 1000)

    assert quotas.used_bytes(connection, "LAB") == 111
    assert quotas.used_bytes(connection, "nobody") == 0


def test_what_was_deleted_does_not_count(connection: sa.Connection) -> None:
    made = fill(connection, "lab/one", b"x" * 100)
    catalogue.delete(connection, made, when=WHEN)

    assert quotas.used_bytes(connection, "lab") == 0


def test_the_last_byte_that_fits_is_taken_and_the_next_is_not(connection: sa.Connection) -> None:
    made = fill(connection, "lab/one", b"x" * 100)
    quotas.set_limit(connection, "Lab", 150)

    quotas.check_upload(connection, ANONYMOUS, made, 50)
    with pytest.raises(QuotaExceededError, match="holds 100 bytes and may hold 150; 51 more") as caught:
        quotas.check_upload(connection, ANONYMOUS, made, 51)
    assert (caught.value.used_bytes, caught.value.more_bytes, caught.value.max_bytes) == (100, 51, 150)


def test_without_a_limit_everything_fits(connection: sa.Connection) -> None:
    assert quotas.limit_of(connection, "lab") is None
    quotas.check(connection, "lab", 10**15)


def test_a_limit_of_its_own_wins_over_the_default(connection: sa.Connection) -> None:
    quotas.set_limit(connection, quotas.DEFAULT, 10)
    quotas.set_limit(connection, "big", 1000)
    quotas.set_limit(connection, "free", None)

    assert [quotas.limit_of(connection, name) for name in ("lab", "Big", "free")] == [10, 1000, None]
    quotas.drop_limit(connection, "big")
    assert quotas.limit_of(connection, "big") == 10


def test_a_limit_below_nothing_is_refused(connection: sa.Connection) -> None:
    with pytest.raises(ValueError, match="-1 bytes"):
        quotas.set_limit(connection, "lab", -1)
