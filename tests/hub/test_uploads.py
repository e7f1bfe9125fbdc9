"""Bytes that came may be committed by whom they came from; to know a digest is not enough."""

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection, entry

from ayni.hub import catalogue, commits, uploads
from ayni.hub.callers import ANONYMOUS, Caller
from ayni.hub.permissions import readable
from ayni.hub.repository import Repository
from ayni.hub.uploads import MASK_BYTES, UploadError
from ayni.objects import ContentMismatchError, ObjectStore, Stored
from ayni.signing import sha256_hex

__all__ = ["connection"]

MIB = 1 << 20
SECRET = b"ben's private weights"


@pytest.fixture
def repository(connection: sa.Connection) -> Repository:
    return catalogue.create(connection, "model", "ada/x", visibility="public", when=WHEN)


def test_content_of_a_private_repository_is_not_there_for_others(
    connection: sa.Connection, repository: Repository
) -> None:
    private = catalogue.create(connection, "model", "ben/y", visibility="private", when=WHEN)
    request = commits.CommitRequest(changes={"w": entry(SECRET)}, message="m", author="ben", when=WHEN)
    commits.commit(connection, private, request)
    digest = sha256_hex(SECRET)

    def known(caller: Caller) -> dict[str, int]:
        return uploads.known_sizes(connection, repository.id, [digest], readable=readable(caller))

    assert known(Caller(user="ada")) == {}
    assert known(ANONYMOUS) == {}
    assert known(Caller(user="ben")) == {digest: len(SECRET)}
    catalogue.delete(connection, private, when=WHEN)
    assert known(Caller(user="ben")) == {}


def test_content_that_was_received_is_there_for_that_repository_alone(
    connection: sa.Connection, repository: Repository
) -> None:
    other = catalogue.create(connection, "model", "ada/z", visibility="public", when=WHEN)
    stored = Stored(sha256="ab" * 32, size_bytes=7)
    uploads.note_received(connection, repository.id, stored, when=WHEN)
    uploads.note_received(connection, repository.id, stored, when=WHEN + timedelta(hours=1))

    def known(number: int) -> dict[str, int]:
        return uploads.known_sizes(connection, number, [stored.sha256], readable=sa.false())

    assert known(repository.id) == {stored.sha256: 7}
    assert known(other.id) == {}


@pytest.mark.parametrize(
    ("size_bytes", "part_bytes", "num_parts"),
    [
        (65 * MIB, 64 * MIB, 2),
        (128 * MIB, 64 * MIB, 2),
        (128 * MIB + 1, 64 * MIB, 3),
        (1000 * 64 * MIB + 1, 65 * MIB, 985),
        (5 << 40, 5243 * MIB, 1000),
    ],
)
def test_parts_cover_a_file_and_are_a_thousand_at_most(
    connection: sa.Connection, repository: Repository, size_bytes: int, part_bytes: int, num_parts: int
) -> None:
    upload = uploads.begin(connection, repository.id, sha256="ab" * 32, size_bytes=size_bytes, when=WHEN)

    assert (upload.part_bytes, upload.num_parts) == (part_bytes, num_parts)
    assert sum(upload.size_of(number) for number in range(1, num_parts + 1)) == size_bytes
    for number in (0, num_parts + 1):
        with pytest.raises(UploadError, match="no part"):
            upload.size_of(number)


@pytest.fixture
def send(connection: sa.Connection, tmp_path: Path) -> Callable[[uploads.Upload, int, bytes], str | None]:
    content = ObjectStore(str(tmp_path / "objects"))

    def send_part(upload: uploads.Upload, number: int, part: bytes) -> str | None:
        with content.writer() as writer:
            writer.write(uploads.mask())
            writer.write(part)
            return uploads.note_part(connection, upload, number, writer.finish())

    return send_part


@pytest.mark.slow
def test_parts_in_any_order_and_sent_twice_become_the_file(
    connection: sa.Connection,
    repository: Repository,
    send: Callable[[uploads.Upload, int, bytes], str | None],
    tmp_path: Path,
) -> None:
    content = ObjectStore(str(tmp_path / "objects"))
    whole = random.Random(1).randbytes(129 * MIB)
    digest = sha256_hex(whole)
    upload = uploads.begin(connection, repository.id, sha256=digest, size_bytes=len(whole), when=WHEN)
    parts = {number: whole[(number - 1) * 64 * MIB : number * 64 * MIB] for number in (3, 1, 2)}
    assert send(upload, 3, b"wrong" * 3) is None
    with pytest.raises(UploadError, match=r"2 of 3 parts are missing: 1, 2"):
        uploads.joined(content, upload, uploads.parts(connection, upload))
    replaced = [send(upload, number, part) for number, part in parts.items()]
    assert replaced[0] is not None and replaced[1:] == [None, None]

    again = uploads.begin(connection, repository.id, sha256=digest, size_bytes=len(whole), when=WHEN)
    assert again == upload
    stored = uploads.joined(content, upload, uploads.parts(connection, upload))
    uploads.complete(connection, upload, stored, when=WHEN)

    assert stored == Stored(sha256=digest, size_bytes=len(whole))
    assert content.has(digest)
    assert uploads.received_size(connection, repository.id, digest) == len(whole)
    with pytest.raises(UploadError, match="not known any more"):
        uploads.find(connection, upload.id)


def test_parts_that_make_another_file_leave_nothing(
    connection: sa.Connection,
    repository: Repository,
    send: Callable[[uploads.Upload, int, bytes], str | None],
    tmp_path: Path,
) -> None:
    content = ObjectStore(str(tmp_path / "objects"))
    upload = uploads.begin(connection, repository.id, sha256="ab" * 32, size_bytes=3, when=WHEN)
    send(upload, 1, b"abc")
    parts = uploads.parts(connection, upload)

    with pytest.raises(ContentMismatchError):
        uploads.joined(content, upload, parts)

    assert set(content.list()) == set(parts.values())


def test_a_part_is_never_the_same_object_as_a_file_with_its_bytes(
    connection: sa.Connection,
    repository: Repository,
    send: Callable[[uploads.Upload, int, bytes], str | None],
) -> None:
    upload = uploads.begin(connection, repository.id, sha256="ab" * 32, size_bytes=3, when=WHEN)
    send(upload, 1, b"abc")

    assert uploads.parts(connection, upload)[1] != sha256_hex(b"abc")
    assert len(uploads.mask()) == MASK_BYTES and uploads.mask() != uploads.mask()
