import hashlib
import struct
from datetime import UTC, datetime

import pytest

pytest.importorskip("blake3")
pytest.importorskip("lz4.frame")

from hypothesis import given
from hypothesis import strategies as st
from tests.hub.xet.xet_files import claim_of, make_xorb

from ayni.hub.xet.hashes import from_text, keyed, to_text
from ayni.hub.xet.shards import (
    ShardFormatError,
    pack_terms,
    read_claims,
    unpack_terms,
    write_answer,
    write_upload,
)

HELLO = make_xorb([b"hello"])
TWO = make_xorb([b"one" * 100, b"two" * 100, b"three" * 100])
UPLOAD = write_upload([claim_of(b"hello", (HELLO, 0, 1))], [HELLO.index])


def changed(offset: int, new: bytes) -> bytes:
    return UPLOAD[:offset] + new + UPLOAD[offset + len(new) :]


def test_the_shard_of_hello_is_what_hf_xet_uploads_byte_for_byte() -> None:
    assert len(UPLOAD) == 432
    assert (
        hashlib.sha256(UPLOAD).hexdigest()
        == "a4b02ee12c23e51cbdfa2cb33d060be0e1c2ac98feb5bd721ec97533c387ddb1"
    )


def test_claims_come_back_from_an_upload() -> None:
    claims = [
        claim_of(b"one" * 100 + b"three" * 100 + b"hello", (TWO, 0, 1), (TWO, 2, 3), (HELLO, 0, 1)),
        claim_of(b"hello", (HELLO, 0, 1)),
    ]

    assert list(read_claims(write_upload(claims, [HELLO.index, TWO.index]))) == claims
    assert claims[0].num_bytes == 805


def test_tables_and_a_footer_after_the_sections_are_not_read() -> None:
    assert list(read_claims(UPLOAD + bytes(1000))) == list(read_claims(UPLOAD))


def test_a_sha256_is_stored_in_the_order_of_other_hashes_and_read_as_hex() -> None:
    assert UPLOAD[48 * 4 : 48 * 4 + 16].hex() == "0ea3b05fba4df22c9ee2b9c52a3be826"
    assert next(read_claims(UPLOAD)).sha256 == hashlib.sha256(b"hello").hexdigest()


@pytest.mark.parametrize(
    "shard",
    [
        b"",
        UPLOAD[:47],
        UPLOAD[:100],
        UPLOAD[: 5 * 48],
        UPLOAD[:-1],
        changed(0, b"X"),
        changed(32, b"\x03"),
        changed(48 + 32, struct.pack("<I", 1 << 31)),
        changed(48 + 32, struct.pack("<I", 1 << 30)),
        changed(48 + 36, struct.pack("<I", 0)),
        changed(48 + 36, struct.pack("<I", 2)),
        changed(48 + 36, struct.pack("<I", 0xFFFFFFFF)),
        changed(48, bytes(32)),
        changed(2 * 48 + 36, struct.pack("<3I", 5, 1, 1)),
        changed(2 * 48 + 36, struct.pack("<3I", 5, 2, 1)),
        changed(2 * 48 + 36, struct.pack("<3I", 0, 0, 1)),
        changed(6 * 48 + 36, struct.pack("<I", 0xFFFFFFFF)),
    ],
)
def test_what_is_no_shard_is_refused(shard: bytes) -> None:
    with pytest.raises(ShardFormatError):
        list(read_claims(shard))


@given(st.integers(0, len(UPLOAD) - 1), st.binary(min_size=1, max_size=48))
def test_any_damage_is_read_or_refused(offset: int, new: bytes) -> None:
    try:
        list(read_claims(changed(offset, new)))
    except ShardFormatError:
        return


def test_the_answer_about_hello_has_the_bytes_of_the_vectors() -> None:
    key = bytes(range(32))
    created, expires = (datetime.fromtimestamp(1_800_000_000 + more, UTC) for more in (0, 3600))

    answer = write_answer([(HELLO.name, HELLO.index)], key=key, created_at=created, expires_at=expires)

    assert len(answer) == 440
    assert (
        hashlib.sha256(answer).hexdigest()
        == "b3defafbcc7e469b67eaa45cf30db43385e9920d2fd1c04e12fc03d60ba31754"
    )


def test_an_answer_shows_no_hash_of_a_chunk() -> None:
    key = bytes(range(32))
    now = datetime.now(UTC)

    answer = write_answer([(TWO.name, TWO.index)], key=key, created_at=now, expires_at=now)

    for number in range(3):
        own = TWO.index.hashes(number, number + 1)
        assert own not in answer
        assert keyed(key, own) in answer
    assert TWO.name in answer


def test_hello_keyed_is_that_of_the_vectors() -> None:
    own = from_text("9076ba12d998050b9c95c8bf770f943e6cad55c7490a82b76cf1582a2a05c2c2")

    assert (
        to_text(keyed(bytes(range(32)), own))
        == "807c4f424c506281c5cdd47e7e4514ec7c886dfe8e775a817cf04ef58418fa3b"
    )


def test_terms_come_back_from_their_bytes() -> None:
    terms = claim_of(b"one" * 100 + b"hello", (TWO, 0, 1), (HELLO, 0, 1)).terms

    assert unpack_terms(pack_terms(terms)) == terms
