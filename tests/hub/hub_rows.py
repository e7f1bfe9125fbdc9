"""Entries of files and an open transaction, for tests of the hub's rows."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from ayni.database import Database
from ayni.hub.git_objects import FILE_MODE, TreeEntry, blob_sha1
from ayni.signing import sha256_hex

WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture
def connection(any_database: Database) -> Iterator[sa.Connection]:
    with any_database.transaction() as opened:
        yield opened


def entry(content: bytes, name: str = "file") -> TreeEntry:
    return TreeEntry(
        name=name,
        mode=FILE_MODE,
        git_sha1=blob_sha1(content),
        sha256=sha256_hex(content),
        size_bytes=len(content),
    )
