"""A chunk store with two members' repositories, for tests of what it keeps."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.hub.xet.xet_files import Xorb

from ayni.database import Database
from ayni.hub import catalogue
from ayni.hub.callers import Caller
from ayni.hub.repository import Repository
from ayni.hub.xet.shards import FileClaim, write_upload
from ayni.hub.xet.store import XetStore
from ayni.hub.xet.tokens import XetGrant
from ayni.objects import ObjectStore

WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ADA, BEN = Caller(user="ada"), Caller(user="ben")


@dataclass(frozen=True)
class Shelf:
    """A store; `secret` is Ada's private repository, `public` and `other` are Ada's and Ben's."""

    xet: XetStore
    objects: ObjectStore
    public: Repository
    secret: Repository
    other: Repository

    def ada(self, repository: Repository | None = None) -> XetGrant:
        return XetGrant(caller=ADA, repository_id=(repository or self.public).id, may_write=True)

    def ben(self) -> XetGrant:
        return XetGrant(caller=BEN, repository_id=self.other.id, may_write=True)

    def receive(self, grant: XetGrant, xorb: Xorb) -> bool:
        with self.xet.upload(grant, xorb.name) as upload:
            upload.write(xorb.body)
            return upload.finish(when=WHEN)

    def register(self, grant: XetGrant, *claims: FileClaim) -> bool:
        return self.xet.register(grant, write_upload(claims, []), when=WHEN)


@pytest.fixture
def shelf(tmp_path: Path, any_database: Database) -> Shelf:
    database = any_database
    with database.transaction() as connection:
        public, secret, other = (
            catalogue.create(connection, "model", name, visibility=visibility, when=WHEN)
            for name, visibility in (("ada/x", "public"), ("ada/y", "private"), ("ben/x", "public"))
        )
    xet = XetStore.over(database, ObjectStore(str(tmp_path / "xorbs")), secret=b"s" * 32)
    return Shelf(xet, ObjectStore(str(tmp_path / "objects")), public, secret, other)
