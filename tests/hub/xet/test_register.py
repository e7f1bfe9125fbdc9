"""Files are known when every part of their claim is true, and only to who may build on their chunks."""

import pytest

pytest.importorskip("blake3")
pytest.importorskip("lz4.frame")

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import sqlalchemy as sa
from tests.hub.xet.xet_files import claim_of, make_xorb
from tests.hub.xet.xet_store import ADA, WHEN, Shelf, shelf

from ayni.errors import UserError
from ayni.hub import catalogue, uploads
from ayni.hub.permissions import readable
from ayni.hub.xet import index, register
from ayni.hub.xet.register import FalseClaimError, ShardTooLargeError, UnknownXorbError
from ayni.hub.xet.shards import write_upload

__all__ = ["shelf"]

FIRST, SECOND = make_xorb([b"one" * 99, b"two" * 99, b"three" * 99]), make_xorb([b"four" * 99])
CONTENT = b"two" * 99 + b"three" * 99 + b"four" * 99 + b"two" * 99
CLAIM = claim_of(CONTENT, (FIRST, 1, 3), (SECOND, 0, 1), (FIRST, 1, 2))
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def receivable(shelf: Shelf, repository_id: int) -> dict[str, int]:
    with shelf.xet.database.reading() as connection:
        return uploads.known_sizes(connection, repository_id, [SHA256], readable=readable(ADA))


def test_a_true_claim_makes_a_file_that_a_commit_may_name(shelf: Shelf) -> None:
    shelf.receive(shelf.ada(), FIRST)
    shelf.receive(shelf.ada(), SECOND)

    assert shelf.register(shelf.ada(), CLAIM) is True
    assert shelf.register(shelf.ada(), CLAIM) is False

    assert receivable(shelf, shelf.public.id) == {SHA256: len(CONTENT)}
    assert receivable(shelf, shelf.secret.id) == {}
    assert b"".join(shelf.xet.contents(shelf.objects).read(SHA256)) == CONTENT


@pytest.mark.parametrize(
    "claim",
    [
        replace(CLAIM, file_hash=b"\x01" * 32),
        replace(CLAIM, sha256="0" * 64),
        replace(CLAIM, term_hashes=(b"\x01" * 32, *CLAIM.term_hashes[1:])),
        replace(CLAIM, terms=(replace(CLAIM.terms[0], num_bytes=1), *CLAIM.terms[1:])),
        replace(CLAIM, terms=(replace(CLAIM.terms[0], stop=4), *CLAIM.terms[1:])),
        replace(CLAIM, terms=CLAIM.terms[1:], term_hashes=CLAIM.term_hashes[1:]),
        replace(CLAIM, terms=CLAIM.terms[::-1], term_hashes=CLAIM.term_hashes[::-1]),
    ],
)
def test_a_claim_that_is_not_true_changes_nothing(shelf: Shelf, claim: object) -> None:
    shelf.receive(shelf.ada(), FIRST)
    shelf.receive(shelf.ada(), SECOND)
    good = claim_of(b"four" * 99, (SECOND, 0, 1))

    with pytest.raises(FalseClaimError):
        shelf.register(shelf.ada(), good, claim)  # type: ignore[arg-type]

    with shelf.xet.database.reading() as connection:
        assert index.find_file(connection, good.file_hash) is None


def test_the_sha256_of_a_file_that_is_known_is_compared_too(shelf: Shelf) -> None:
    shelf.receive(shelf.ada(), SECOND)
    claim = claim_of(b"four" * 99, (SECOND, 0, 1))
    shelf.register(shelf.ada(), claim)

    with pytest.raises(FalseClaimError, match="SHA-256"):
        shelf.register(shelf.ada(), replace(claim, sha256="0" * 64))


def test_chunks_that_were_not_uploaded_are_not_known(shelf: Shelf) -> None:
    shelf.receive(shelf.ada(), FIRST)

    with pytest.raises(UnknownXorbError, match="1 groups"):
        shelf.register(shelf.ada(), CLAIM)


def test_who_knows_all_hashes_of_a_private_file_does_not_get_it(shelf: Shelf) -> None:
    shelf.receive(shelf.ada(shelf.secret), FIRST)
    shelf.receive(shelf.ada(shelf.secret), SECOND)
    shelf.register(shelf.ada(shelf.secret), CLAIM)

    with pytest.raises(UnknownXorbError):
        shelf.register(shelf.ben(), CLAIM)

    assert receivable(shelf, shelf.other.id) == {}


def test_chunks_of_a_public_repository_may_be_built_on_until_it_is_private(shelf: Shelf) -> None:
    shelf.receive(shelf.ada(), SECOND)
    claim = claim_of(b"four" * 99, (SECOND, 0, 1))
    with shelf.xet.database.transaction() as connection:
        catalogue.change(connection, shelf.public, visibility="private")
    with pytest.raises(UnknownXorbError):
        shelf.register(shelf.ben(), claim)
    with shelf.xet.database.transaction() as connection:
        catalogue.change(connection, shelf.public, visibility="public")

    assert shelf.register(shelf.ben(), claim) is True


def test_what_a_member_uploaded_stays_usable_to_it_after_its_repository_is_deleted(shelf: Shelf) -> None:
    shelf.receive(shelf.ada(shelf.secret), SECOND)
    with shelf.xet.database.transaction() as connection:
        catalogue.delete(connection, shelf.secret, when=WHEN)

    assert shelf.register(shelf.ada(), claim_of(b"four" * 99, (SECOND, 0, 1))) is True


def test_an_empty_file_is_a_claim_without_terms(shelf: Shelf) -> None:
    assert shelf.register(shelf.ada(), claim_of(b"")) is False


def test_more_terms_than_one_shard_may_have_are_refused(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register, "TERMS_AT_MOST", 2)

    with pytest.raises(ShardTooLargeError):
        shelf.register(shelf.ada(), CLAIM)


def test_the_quota_is_asked_before_anything_is_read(shelf: Shelf) -> None:
    def refuse(_connection: sa.Connection, files: Mapping[str, int]) -> None:
        raise UserError(f"{sum(files.values())} bytes are too many")

    with pytest.raises(UserError, match=f"{len(CONTENT)} bytes"):
        shelf.xet.register(shelf.ada(), write_upload([CLAIM], []), when=WHEN, check_size=refuse)


def test_progress_counts_terms_of_all_files(shelf: Shelf) -> None:
    shelf.receive(shelf.ada(), FIRST)
    shelf.receive(shelf.ada(), SECOND)
    heard: list[tuple[int, int]] = []
    shard = write_upload([CLAIM, claim_of(b"four" * 99, (SECOND, 0, 1))], [])

    shelf.xet.register(shelf.ada(), shard, when=WHEN, progress=lambda *at: heard.append(at))

    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]
